/**
 * Records as columns, in the format of bcc's tcpconnlat.
 */
import type { ConnectRecord, FieldOption } from '../record.ts';
import { cell } from '../text.ts';

interface Column {
  readonly title: string;
  readonly width: number;
  readonly text: (record: ConnectRecord) => string;
  /** Whether a longer text widens the column for all later lines. */
  readonly grows?: true;
}

/** The text of an absent value. */
const NONE = '-';

const TIME: Column = { title: 'TIME(s)', width: 8, text: ({ time_s }) => seconds(time_s) };
const PID: Column = { title: 'PID', width: 7, text: ({ pid }) => String(pid) };
const COMM: Column = { title: 'COMM', width: 12, text: ({ comm }) => Array.from(comm).slice(0, 12).join('') };
const IP: Column = { title: 'IP', width: 2, text: ({ ip }) => String(ip) };
const SADDR: Column = { title: 'SADDR', width: 16, text: ({ saddr }) => saddr, grows: true };
const LPORT: Column = { title: 'LPORT', width: 6, text: ({ lport }) => String(lport) };
const DADDR: Column = { title: 'DADDR', width: 16, text: ({ daddr }) => daddr, grows: true };
const DPORT: Column = { title: 'DPORT', width: 5, text: ({ dport }) => String(dport) };
const LAT: Column = { title: 'LAT(ms)', width: 9, text: ({ lat_ms }) => lat_ms.toFixed(2) };
const RETR: Column = { title: 'RETR', width: 4, text: ({ retransmits }) => String(retransmits ?? NONE) };
const RESULT: Column = { title: 'RESULT', width: 11, text: ({ result = NONE }) => result };
const WALL: Column = { title: 'TIME', width: 27, text: ({ time = NONE }) => time };
const UID: Column = { title: 'UID', width: 6, text: ({ uid = NONE }) => String(uid) };
/** Docker shows 12 characters too. */
const CONTAINER: Column = {
  title: 'CONTAINER',
  width: 12,
  text: ({ container = NONE }) => container.slice(0, 12),
};
/** Only as wide as its title if there are no pods. */
const POD: Column = { title: 'POD', width: 3, text: ({ pod = NONE }) => pod, grows: true };
const DESTINATION: Column = { title: 'DESTINATION', width: 0, text: destination };

/** Formats the header and the lines of one run. */
export interface Table {
  header(): string;
  line(record: ConnectRecord): string;
  /** Whether a column has grown since the header was last made. */
  readonly outgrown: boolean;
}

/** The options that add columns. */
export interface ColumnOptions extends Partial<Record<FieldOption, unknown>> {
  readonly timestamp: boolean;
  readonly lport: boolean;
}

/**
 * The table with the columns that the options ask for. `outcome`, `who` and `resolve` add columns at the end,
 * so the others keep their position.
 */
export function table(options: ColumnOptions): Table {
  const columns = [
    ...(options.timestamp ? [TIME] : []),
    ...(options.wall ? [WALL] : []),
    PID,
    COMM,
    IP,
    SADDR,
    ...(options.lport ? [LPORT] : []),
    DADDR,
    DPORT,
    LAT,
    ...(options.outcome ? [RETR, RESULT] : []),
    ...(options.who ? [UID, CONTAINER, POD] : []),
    ...(options.resolve ? [DESTINATION] : []),
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
      const texts = columns.map(({ text }) => cell(text(record)));
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

/**
 * The buffers of two CPUs are not read in the order of their events. A time just before the first one is
 * 0.000, not -0.000.
 */
function seconds(time: number): string {
  return time.toFixed(3).replace(/^-(?=[0.]+$)/, '');
}

/**
 * Host and service, `db1.example:postgresql`. A part without a name is numeric; without both, the column is
 * `-`.
 */
function destination({ host, service, ip, daddr, dport }: ConnectRecord): string {
  if (host === undefined && service === undefined) return NONE;
  return `${host ?? (ip === 6 ? `[${daddr}]` : daddr)}:${service ?? dport}`;
}
