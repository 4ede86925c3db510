/**
 * Writes recordings: a first line with the origin (`Header`), and then one JSON line per event with every
 * known field.
 */
import { TsbpfError } from '../asm/error.ts';
import { printable } from '../asm/printable.ts';
import type { Options } from './arguments.ts';
import { FORMAT, type Header, headerLine, jsonLine, jsonWriter } from './json.ts';
import { lineOutput, OutputError } from './output.ts';
import { type ConnectRecord, type ConnectRow, FIELDS, fieldsShown } from './record.ts';
import { RecordingFile, type Surroundings } from './recording/file.ts';

/** A recording cannot be read: the file is missing, is not a recording, or is damaged. */
export class RecordingError extends TsbpfError {
  override readonly name = 'RecordingError';
  override readonly code = 'ERR_RECORDING';
}

/** The invocation of the command that makes a recording. */
export interface Invocation {
  readonly version: string;
  readonly args: readonly string[];
}

/** An open recording. The caller ends it. */
export interface Recording {
  /**
   * Creates or truncates the file and writes the first line. The file does not change before this call.
   * @throws {OutputError}
   */
  begin(origin: Pick<Header, 'host' | 'kernel' | 'way' | 'started'>): void;
  add(record: ConnectRecord): void;
  /** Adds the record of a row, faster than `add`. */
  addRow(row: ConnectRow): void;
  /**
   * Writes the buffered lines, for up to half a second.
   * @throws {OutputError} with the number of missing events if a write failed.
   */
  end(): Promise<void>;
  /** Events that could not be written. */
  readonly missing: number;
}

/** The parts of a run that a recording uses. */
export interface RecordingContext extends Surroundings {
  /** Called once if the recording cannot be written any more. */
  readonly onFailure: () => void;
}

/**
 * Opens a recording in a file, which stays locked until the recording ends, or in a named pipe that another
 * process reads.
 * @throws {OutputError} if `path` cannot be written.
 */
export function openRecording(
  path: string,
  {
    who,
    requested,
    outcome,
    pendingMs,
  }: Partial<Pick<Options, 'who' | 'requested' | 'outcome' | 'pendingMs'>>,
  { version, args }: Invocation,
  { onFailure, ...surroundings }: RecordingContext,
): Recording {
  const what = `the recording ${printable(path)}`;
  const fields = fieldsShown({ wall: true, who, requested, outcome, pendingMs });
  const file = new RecordingFile(path, surroundings);
  let failure: Error | undefined;
  let events = 0;
  const fail = (error: Error = new OutputError(`cannot write ${what}: its reader has exited`)) => {
    if (failure) return;
    failure = error;
    onFailure();
  };
  file.watch(fail);
  const output = lineOutput((bytes) => file.write(bytes), fail, what);
  const writeJson = jsonWriter(fields);
  return {
    begin({ host, kernel, way, started }) {
      file.begin();
      const header: Header = {
        tsbpf: 'tcpconnlat',
        format: FORMAT,
        ...{ version, host, kernel, way, options: args, started },
        fields: fields.filter((field) => FIELDS[field] !== null),
      };
      output.write(headerLine(header));
      output.flush(); // so that a killed command leaves no empty file
    },
    add(record) {
      events += 1;
      output.write(jsonLine(record, fields));
    },
    addRow(row) {
      events += 1;
      writeJson(output.newLine(), row);
      output.showLine();
    },
    async end() {
      await output.end();
      file.close();
      if (!failure) return;
      const missing = this.missing > 0 ? `; ${this.missing} events are missing from it` : '';
      throw new OutputError(`${failure.message}${missing}`);
    },
    get missing() {
      return Math.min(output.dropped, events); // the first line may be missing too
    },
  };
}
