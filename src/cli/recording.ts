/**
 * Recordings: a first line that says where, when and how, and then a JSON line for each event, with all that is known of it.
 */
import { TsbpfError } from '../asm/error.ts';
import { printable } from '../asm/printable.ts';
import type { Options } from './arguments.ts';
import { FORMAT, type Header, headerLine, jsonLine } from './json.ts';
import { lineOutput, OutputError } from './output.ts';
import { type ConnectRecord, FIELDS, fieldsShown } from './record.ts';
import { RecordingFile, type Surroundings } from './recording/file.ts';

/** What is read is no recording, or a damaged one. */
export class RecordingError extends TsbpfError {
  override readonly name = 'RecordingError';
  override readonly code = 'ERR_RECORDING';
}

/** The command that makes a recording: its version, and the words of its command line. */
export type Invocation = Pick<Header, 'version' | 'options'>;

/** A recording that is being written. Whoever opened it ends it. */
export interface Recording {
  /**
   * Creates the file, or empties it, and writes the first line. Until then nothing about the file changes.
   * @throws {OutputError}
   */
  begin(where: Pick<Header, 'host' | 'kernel' | 'way' | 'started'>): void;
  add(record: ConnectRecord): void;
  /** Writes what waits, for half a second at most. @throws {OutputError} that counts what is missing, where writing has failed. */
  end(): Promise<void>;
  /** Events that could not be written. */
  readonly missing: number;
}

/** What a recording needs of the run. */
export interface RecordingContext extends Surroundings {
  /** Called once, when the recording cannot be written any more. */
  readonly onFailure: () => void;
}

/**
 * A recording in a file that is locked until it ends, or in a named pipe that another process reads.
 * @throws {OutputError} if `path` cannot be written.
 */
export function openRecording(
  path: string,
  { who, outcome }: Pick<Options, 'who' | 'outcome'>,
  { version, options }: Invocation,
  { onFailure, ...around }: RecordingContext,
): Recording {
  const what = `the recording ${printable(path)}`;
  const fields = fieldsShown({ wall: true, who, outcome });
  const file = new RecordingFile(path, around);
  let failure: Error | undefined;
  let events = 0;
  const fail = (error: Error = new OutputError(`cannot write ${what}: its reader has gone`)) => {
    if (failure) return;
    failure = error;
    onFailure();
  };
  file.watch(fail);
  const output = lineOutput((bytes) => file.write(bytes), fail, what);
  return {
    begin({ host, kernel, way, started }) {
      file.begin();
      const header: Header = {
        tsbpf: 'tcpconnlat',
        format: FORMAT,
        ...{ version, host, kernel, way, options, started },
        fields: fields.filter((field) => FIELDS[field] !== null),
      };
      output.write(headerLine(header));
    },
    add(record) {
      events += 1;
      output.write(jsonLine(record, fields));
    },
    async end() {
      await output.end();
      file.close();
      if (!failure) return;
      const lacks = this.missing > 0 ? `; ${this.missing} events are not in it` : '';
      throw new OutputError(`${failure.message}${lacks}`);
    },
    get missing() {
      return Math.min(output.dropped, events); // the first line may be missing too
    },
  };
}
