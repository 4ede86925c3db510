/**
 * Prints records as columns or JSON lines.
 */
import type { Options } from './arguments.ts';
import { jsonLine, jsonWriter } from './json.ts';
import type { LineOutput } from './output.ts';
import { table } from './printer/columns.ts';
import { nameLookup } from './printer/name-lookup.ts';
import { systemResolver } from './printer/reverse-names.ts';
import { services } from './printer/services.ts';
import { type ConnectRecord, type ConnectRow, fieldsShown, PENDING, recordOf } from './record.ts';
import { isTerminal, mayBeTerminal } from './terminal.ts';

/** Prints the records of one run. */
export interface Printer {
  header(): void;
  record(record: ConnectRecord): void;
  /** Prints the record of a row, faster than `record`. */
  row(row: ConnectRow): void;
  /** Waits until every record has been passed to the output, including those that wait for a name. */
  settled(): Promise<void>;
  /** Prints the records that wait for a name, without it. */
  end(): void;
  /** Whether the output has as many connects as `--count` asks for. It gets no others. */
  readonly isComplete: boolean;
  /** The number of records that came after that, and were not printed. */
  readonly surplus: number;
  /** The number of records of connects in flight. `--count` does not count or limit them. */
  readonly pending: number;
}

/**
 * Opens a printer for the columns or fields that the options ask for. It calls `onComplete` once, when it
 * becomes complete.
 */
export async function openPrinter(
  options: Options,
  output: LineOutput,
  onComplete = () => {},
): Promise<Printer> {
  const form = options.json ? jsonLines(options, output) : columns(options, output);
  const { count = Number.POSITIVE_INFINITY } = options;
  let surplus = 0;
  let pending = 0;
  const unlessComplete =
    <T>(print: (record: T) => void) =>
    (record: T) => {
      if (output.added >= count) {
        surplus += 1;
        return;
      }
      print(record);
      if (output.added >= count) onComplete();
    };
  const limit = {
    get isComplete() {
      return output.added >= count;
    },
    get surplus() {
      return surplus;
    },
    get pending() {
      return pending;
    },
  };
  const ended = unlessComplete(form.record);
  const record = (record: ConnectRecord) => {
    if (record.result !== PENDING) return ended(record);
    pending += 1;
    form.pending(record);
  };
  const { header } = form;
  if (!options.resolve)
    return Object.assign(limit, {
      header,
      record,
      row: unlessComplete(form.row),
      async settled() {},
      end() {},
    });
  const { add, settled, end } = nameLookup(await systemResolver(), services(), record);
  return Object.assign(limit, {
    header,
    record: add,
    row: (row: ConnectRow) => add(recordOf(row)),
    settled,
    end,
  });
}

/** What prints records in one form, at once. */
interface Form extends Pick<Printer, 'header' | 'record' | 'row'> {
  /** Prints a record that does not count as shown. */
  pending(record: ConnectRecord): void;
}

function jsonLines(options: Options, output: LineOutput): Form {
  const fields = fieldsShown(options);
  const write = jsonWriter(fields);
  return {
    header() {},
    record(record) {
      output.show(jsonLine(record, fields));
    },
    pending(record) {
      output.write(jsonLine(record, fields));
    },
    row(row) {
      write(output.newLine(), row);
      output.showLine();
    },
  };
}

function columns(options: Options, output: LineOutput): Form {
  const shown = table(options);
  const mayRepeat = mayBeTerminal(1);
  /** A terminal gets the header again when columns have grown; a pipe gets it once. */
  const isOutgrown = () => mayRepeat && shown.outgrown && isTerminal(1);
  const header = () => output.write(shown.header());
  const lineOf = (record: ConnectRecord) => {
    const line = shown.line(record);
    if (isOutgrown()) header();
    return line;
  };
  return {
    header,
    record(record) {
      output.show(lineOf(record));
    },
    pending(record) {
      output.write(lineOf(record));
    },
    row(row) {
      shown.write(output.newLine(), row);
      if (isOutgrown()) {
        header();
        shown.write(output.newLine(), row);
      }
      output.showLine();
    },
  };
}
