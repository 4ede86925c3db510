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
}

/** Opens a printer for the columns or fields that the options ask for. */
export async function openPrinter(options: Options, output: LineOutput): Promise<Printer> {
  const form = options.json ? jsonLines(options, output) : columns(options, output);
  if (!options.resolve) return { ...form, settled: async () => {}, end() {} };
  const { add, settled, end } = nameLookup(await systemResolver(), services(), form.record);
  return { header: form.header, record: add, row: (row) => add(recordOf(row)), settled, end };
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
