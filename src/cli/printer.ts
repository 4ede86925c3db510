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
  const columns = table(options);
  const repeatsHeader = mayBeTerminal(1);
  const fields = fieldsShown(options);
  const print = options.json
    ? (record: ConnectRecord) => output.show(jsonLine(record, fields))
    : (record: ConnectRecord) => {
        const line = columns.line(record);
        // A terminal gets the header again when columns have grown; a pipe gets it once.
        if (repeatsHeader && columns.outgrown && isTerminal(1)) output.write(columns.header());
        output.show(line);
      };
  const writeJson = jsonWriter(fields);
  const row = options.json
    ? (row: ConnectRow) => {
        writeJson(output.newLine(), row);
        output.showLine();
      }
    : (row: ConnectRow) => {
        columns.write(output.newLine(), row);
        if (repeatsHeader && columns.outgrown && isTerminal(1)) {
          output.write(columns.header());
          columns.write(output.newLine(), row);
        }
        output.showLine();
      };
  const header = () => {
    if (!options.json) output.write(columns.header());
  };
  if (!options.resolve) return { header, record: print, row, settled: async () => {}, end() {} };
  const { add, settled, end } = nameLookup(await systemResolver(), services(), print);
  return { header, record: add, row: (row) => add(recordOf(row)), settled, end };
}
