/**
 * Records as columns, in the format of bcc's tcpconnlat.
 */
import { formatAddress, writeAddress } from '../address.ts';
import { encodedObjects, encodedTexts, type LineBuffer } from '../line-buffer.ts';
import type { Caller } from '../record/caller.ts';
import { type ConnectRecord, type ConnectRow, type FieldOptions, hasResults } from '../record.ts';
import { cell } from '../text.ts';
import { threadNameCell, threadNameText } from '../thread-name.ts';
import { columnsOf, padded } from '../width.ts';

interface Column {
  readonly title: string;
  /** In columns of the terminal. */
  readonly width: number;
  /** The text of a record's cell. */
  readonly text: (record: ConnectRecord) => string;
  /** Appends the same text for a row, and returns its width. The text is printable. */
  readonly write: (line: LineBuffer, row: ConnectRow) => number;
  /** Whether a longer text widens the column for all later lines. */
  readonly grows?: true;
}

/** A column whose text depends only on the caller and its user. */
interface CallerColumn extends Omit<Column, 'text' | 'write'> {
  readonly text: (record: Caller & Pick<ConnectRecord, 'uid'>) => string;
  readonly write?: undefined;
}

/** The text of an absent value. */
const NONE = '-';
const NEWLINE = 0x0a;

const COMM_WIDTH = 12;
const commandCell = encodedTexts((comm) => threadNameCell(threadNameText(comm), COMM_WIDTH));

const TIME: Column = {
  title: 'TIME(s)',
  width: 8,
  text: ({ time_s }) => seconds(time_s),
  write: (line, { timeNs }) => writeSeconds(line, timeNs()),
};
const PID: Column = {
  title: 'PID',
  width: 7,
  text: ({ pid }) => String(pid),
  write: (line, { pid }) => line.decimal(pid),
};
const COMM: Column = {
  title: 'COMM',
  width: COMM_WIDTH,
  text: ({ comm }) => threadNameCell(comm, COMM_WIDTH),
  write: (line, { comm }) => line.encoded(commandCell(comm)),
};
const IP: Column = {
  title: 'IP',
  width: 2,
  text: ({ ip = NONE }) => String(ip),
  write: (line, { ip }) => line.decimal(ip),
};
const SADDR: Column = {
  title: 'SADDR',
  width: 16,
  text: ({ saddr = NONE }) => saddr,
  write: (line, { local }) => writeAddress(line, local),
  grows: true,
};
const LPORT: Column = {
  title: 'LPORT',
  width: 6,
  text: ({ lport = NONE }) => String(lport),
  write: (line, { lport }) => line.decimal(lport),
};
const DADDR: Column = {
  title: 'DADDR',
  width: 16,
  text: ({ daddr = NONE }) => daddr,
  write: (line, { remote }) => writeAddress(line, remote),
  grows: true,
};
const DPORT: Column = {
  title: 'DPORT',
  width: 5,
  text: ({ dport = NONE }) => String(dport),
  write: (line, { dport }) => line.decimal(dport),
};
const LAT: Column = {
  title: 'LAT(ms)',
  width: 9,
  text: ({ lat_ms }) => lat_ms.toFixed(2),
  write: (line, { latencyNs }) => line.fixed(latencyNs, 1e6, 2),
};
const RETR: Column = {
  title: 'RETR',
  width: 4,
  text: ({ retransmits }) => String(retransmits ?? NONE),
  write: (line, { retransmits }) =>
    retransmits === undefined ? line.ascii(NONE) : line.decimal(retransmits),
};
const RESULT: Column = {
  title: 'RESULT',
  width: 11,
  text: ({ result = NONE }) => result,
  write: (line, { result = NONE }) => line.ascii(result),
};
const WALL: Column = {
  title: 'TIME',
  width: 27,
  text: ({ time = NONE }) => time,
  write: (line, { time = NONE }) => line.ascii(time),
};
const UID: CallerColumn = { title: 'UID', width: 6, text: ({ uid = NONE }) => String(uid) };
const PARENT: CallerColumn = {
  title: 'PARENT',
  width: COMM_WIDTH,
  text: ({ parent = NONE }) => threadNameCell(parent, COMM_WIDTH),
};
const WORKLOAD: CallerColumn = { title: 'WORKLOAD', width: 20, text: workload, grows: true };
/** The last column, because paths are long. */
const EXE: CallerColumn = { title: 'EXE', width: 0, text: ({ exe = NONE }) => exe };
/** In the form of DESTINATION. */
const REQUESTED: Column = {
  title: 'REQUESTED',
  width: 21,
  text: ({ ip, requested_addr, requested_port }) =>
    requested_addr === undefined ? NONE : endpoint(ip, requested_addr, requested_port),
  write: (line, { ip, requested, requestedPort }) =>
    requested === undefined
      ? line.ascii(NONE)
      : line.ascii(endpoint(ip, formatAddress(requested), requestedPort)),
  grows: true,
};
/** Names are looked up for records; a row has none. */
const DESTINATION: Column = {
  title: 'DESTINATION',
  width: 0,
  text: destination,
  write: (line) => line.ascii(NONE),
};

/** Appends a part of a row's line. */
type Write = (line: LineBuffer, row: ConnectRow) => void;

/** Formats the header and the lines of one run. */
export interface Table {
  header(): string;
  line(record: ConnectRecord): string;
  /** Appends the line that `line` returns for the row's record. */
  write(line: LineBuffer, row: ConnectRow): void;
  /** Whether a column has grown since the header was last made. */
  readonly outgrown: boolean;
}

/** The options that add columns. */
export interface ColumnOptions extends FieldOptions {
  readonly timestamp: boolean;
  readonly lport: boolean;
}

/**
 * The table with the columns that the options ask for. Results, `requested`, `who` and `resolve` add columns
 * at the end, so the others keep their position.
 */
export function table(options: ColumnOptions): Table {
  const columns: readonly (Column | CallerColumn)[] = [
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
    ...(hasResults(options) ? [RETR, RESULT] : []),
    ...(options.requested ? [REQUESTED] : []),
    ...(options.who ? [UID, PARENT, WORKLOAD] : []),
    ...(options.resolve ? [DESTINATION] : []),
    ...(options.who ? [EXE] : []),
  ];
  const widths = columns.map(({ width }) => width);
  const last = columns.length - 1;
  /** How often a column has grown, and how often when the header was last made. */
  let growths = 0;
  let growthsInHeader = 0;
  const widen = (i: number, width: number) => {
    if (!columns[i]?.grows || width <= (widths[i] as number)) return;
    widths[i] = width;
    growths += 1;
  };
  const join = (texts: readonly string[]) =>
    `${texts.map((text, i) => (i < last ? padded(text, widths[i] as number) : text)).join(' ')}\n`;
  /** Writes a column, and the spaces after it. */
  const single = (i: number, write: Column['write']): Write => {
    return (line, row) => {
      const width = write(line, row);
      widen(i, width);
      if (i < last) line.spaces(Math.max((widths[i] as number) - width, 0) + 1);
    };
  };
  /** Writes columns from `from` up to `to` as one text, which is made once for each caller and user. */
  const together = (from: number, to: number): Write => {
    const form = (caller: Caller, uid?: number) => {
      const record = { ...caller, ...(uid !== undefined && { uid }) };
      let text = '';
      for (let i = from; i < to; i++) {
        const shown = cell((columns[i] as CallerColumn).text(record));
        widen(i, columnsOf(shown));
        text += i < last ? `${padded(shown, widths[i] as number)} ` : shown;
      }
      return text;
    };
    let [encoded, formedAt] = [encodedObjects(form), growths];
    return (line, { caller, uid }) => {
      if (formedAt !== growths) [encoded, formedAt] = [encodedObjects(form), growths];
      line.encoded(encoded(caller, uid));
    };
  };
  const parts: Write[] = [];
  for (let i = 0; i < columns.length; ) {
    const from = i++;
    const { write } = columns[from] as Column | CallerColumn;
    while (!write && i < columns.length && !columns[i]?.write) i++;
    parts.push(write ? single(from, write) : together(from, i));
  }
  return {
    header() {
      growthsInHeader = growths;
      return join(columns.map(({ title }) => title));
    },
    line(record) {
      const texts = columns.map(({ text }) => cell(text(record)));
      for (const [i, text] of texts.entries()) widen(i, columnsOf(text));
      return join(texts);
    },
    write(line, row) {
      for (const part of parts) part(line, row);
      line.byte(NEWLINE);
    },
    get outgrown() {
      return growths > growthsInHeader;
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

function writeSeconds(line: LineBuffer, ns: number): number {
  return ns >= 0 ? line.fixed(ns, 1e9, 3) : line.ascii(seconds(ns / 1e9));
}

/**
 * The pod and container, the container, or the unit. Of a container without a name it shows 12 characters, as
 * Docker does.
 */
function workload(caller: Caller): string {
  const { pod, pod_name, pod_namespace, container, unit, user_unit = unit ?? NONE } = caller;
  const { container_name = container?.slice(0, 12) } = caller;
  if (pod === undefined) return container_name ?? user_unit;
  const podName = pod_name === undefined ? pod : `${pod_namespace}/${pod_name}`;
  return container_name === undefined ? podName : `${podName}/${container_name}`;
}

/**
 * Host and service, `db1.example:postgresql`. A part without a name is numeric; without both, the column is
 * `-`.
 */
function destination({ host, service, ip, daddr, dport }: ConnectRecord): string {
  if (host === undefined && service === undefined) return NONE;
  return host === undefined ? endpoint(ip, daddr, service ?? dport) : `${host}:${service ?? dport}`;
}

function endpoint(
  ip: 4 | 6 | undefined,
  address: string | undefined,
  port: string | number | undefined,
): string {
  return `${ip === 6 ? `[${address}]` : address}:${port}`;
}
