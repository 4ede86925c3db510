/**
 * Records as columns, in bcc's formats.
 */
import type { ConnectRecord } from './record.ts';

interface Column {
  readonly title: string;
  readonly width: number;
  readonly text: (record: ConnectRecord) => string;
  /** Whether a longer text makes the column wider for all later lines, so that they stay in line. */
  readonly grows?: true;
}

const TIME: Column = { title: 'TIME(s)', width: 8, text: ({ time_s }) => seconds(time_s) };
const PID: Column = { title: 'PID', width: 7, text: ({ pid }) => String(pid) };
const COMM: Column = { title: 'COMM', width: 12, text: ({ comm }) => Array.from(comm).slice(0, 12).join('') };
const IP: Column = { title: 'IP', width: 2, text: ({ ip }) => String(ip) };
const SADDR: Column = { title: 'SADDR', width: 16, text: ({ saddr }) => saddr, grows: true };
const LPORT: Column = { title: 'LPORT', width: 6, text: ({ lport }) => String(lport) };
const DADDR: Column = { title: 'DADDR', width: 16, text: ({ daddr }) => daddr, grows: true };
const DPORT: Column = { title: 'DPORT', width: 5, text: ({ dport }) => String(dport) };
const LAT: Column = { title: 'LAT(ms)', width: 0, text: ({ lat_ms }) => lat_ms.toFixed(2) };
/** With something behind it. */
const LAT_BEFORE: Column = { ...LAT, width: 9 };
const RETR: Column = { title: 'RETR', width: 4, text: ({ retransmits }) => String(retransmits ?? '-') };
const RESULT: Column = { title: 'RESULT', width: 0, text: ({ result = '' }) => result };

/** The header and the lines of one run. */
export interface Table {
  header(): string;
  line(record: ConnectRecord): string;
  /** Whether a column has grown since the header was last made. */
  readonly outgrown: boolean;
}

/** The table with the columns that were asked for. */
export function table(shown: {
  readonly timestamp: boolean;
  readonly lport: boolean;
  readonly outcome?: unknown;
}): Table {
  const columns = [
    ...(shown.timestamp ? [TIME] : []),
    PID,
    COMM,
    IP,
    SADDR,
    ...(shown.lport ? [LPORT] : []),
    DADDR,
    DPORT,
    ...(shown.outcome ? [LAT_BEFORE, RETR, RESULT] : [LAT]),
  ];
  const widths = columns.map(({ width }) => width);
  let outgrown = false;
  const join = (texts: readonly string[]) =>
    `${texts
      .map((text, i) => text.padEnd(widths[i] ?? 0))
      .join(' ')
      .trimEnd()}\n`;
  return {
    header() {
      outgrown = false;
      return join(columns.map(({ title }) => title));
    },
    line(record) {
      const texts = columns.map(({ text }) => printable(text(record)));
      for (const [i, { grows }] of columns.entries()) {
        const length = texts[i]?.length ?? 0;
        if (!grows || length <= (widths[i] ?? 0)) continue;
        widths[i] = length;
        outgrown = true;
      }
      return join(texts);
    },
    get outgrown() {
      return outgrown;
    },
  };
}

/** Rings of two CPUs aren't read in the order of their events: what is just before the first shows as 0.000, not -0.000. */
function seconds(time: number): string {
  return time.toFixed(3).replace(/^-(?=[0.]+$)/, '');
}

/** A process may name itself anything, control characters of terminals too. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?');
}
