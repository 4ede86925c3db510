/**
 * What shows records, as columns or as JSON lines.
 */
import type { Options } from './arguments.ts';
import { jsonLine } from './json.ts';
import type { LineOutput } from './output.ts';
import { type ConnectRecord, fieldsShown } from './record.ts';
import { table } from './show/columns.ts';
import { naming } from './show/naming.ts';
import { systemResolver } from './show/reverse-names.ts';
import { services } from './show/services.ts';
import { isTerminal, mayBeTerminal } from './terminal.ts';

/** What shows the records of one run. */
export interface Shower {
  header(): void;
  record(record: ConnectRecord): void;
  /** Waits until all records are handed to the output: those that wait for a name are not yet. */
  settled(): Promise<void>;
  /** Hands over all that wait for a name, without it. */
  end(): void;
}

/** Shows through `output` what the options ask for. */
export async function shower(options: Options, output: LineOutput): Promise<Shower> {
  const columns = table(options);
  const repeatsTitles = mayBeTerminal(1);
  const fields = fieldsShown(options);
  const show = options.json
    ? (record: ConnectRecord) => output.show(jsonLine(record, fields))
    : (record: ConnectRecord) => {
        const line = columns.line(record);
        // A terminal gets the titles again, above the wider columns; a pipe gets them once.
        if (repeatsTitles && columns.outgrown && isTerminal(1)) output.write(columns.header());
        output.show(line);
      };
  const header = () => {
    if (!options.json) output.write(columns.header());
  };
  if (!options.resolve) return { header, record: show, settled: async () => {}, end() {} };
  const { add, settled, end } = naming(await systemResolver(), services(), show);
  return { header, record: add, settled, end };
}
