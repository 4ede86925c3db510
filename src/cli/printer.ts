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
import { type ConnectRecord, type ConnectRow, fieldsShown, recordOf } from './record.ts';
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
  };
  const record = unlessComplete(form.record);
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
type Form = Pick<Printer, 'header' | 'record' | 'row'>;

function jsonLines(options: Options, output: LineOutput): Form {
  const fields = fieldsShown(options);
  const write = jsonWriter(fields);
  return {
    header() {},
    record(record) {
      output.show(jsonLine(record, fields));
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
  return {
    header,
    record(record) {
      const line = shown.line(record);
      if (isOutgrown()) header();
      output.show(line);
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
