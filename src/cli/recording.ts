/**
 * Recordings: a first line that says where, when and how, and then a JSON line for each event, with all that is known of it.
 */
import { closeSync, constants, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import type { Settings } from './arguments.ts';
import { FORMAT, type Header, jsonLine } from './json.ts';
import { lineOutput, OutputError } from './output.ts';
import { type ConnectRecord, FIELDS, fieldsShown } from './record.ts';

/** What is read is no recording, or a damaged one. */
export class BadRecording extends Error {
  override readonly name = 'BadRecording';
}

/** The command that makes a recording: its version, and the words of its command line. */
export type Invocation = Pick<Header, 'version' | 'options'>;

/** A recording that is being written. Whoever opened it ends it. */
export interface Recording {
  /** Writes the first line. What was in the file before is gone then, and not sooner. */
  begin(where: Pick<Header, 'host' | 'kernel' | 'way' | 'started'>): void;
  add(record: ConnectRecord): void;
  /** Writes what waits, for half a second at most. @throws {OutputError} that counts what is missing, where writing has failed. */
  end(): Promise<void>;
  /** Events that could not be written. */
  readonly missing: number;
}

/**
 * A recording in a file, or in a pipe that somebody reads. `onFailure` is called once, when it can't be written any more.
 * @throws {OutputError} where the file can't be opened.
 */
export function openRecording(
  file: string,
  { who, outcome }: Pick<Settings, 'who' | 'outcome'>,
  { version, options }: Invocation,
  onFailure: () => void,
): Recording {
  const what = `the recording ${file}`;
  const fields = fieldsShown({ wall: true, who, outcome });
  const fd = open(file, what);
  let failure: Error | undefined;
  let events = 0;
  const output = lineOutput(
    (bytes) => writeSync(fd, bytes),
    (error) => {
      failure = error ?? new OutputError(`cannot write ${what}: its reader has gone`);
      onFailure();
    },
    what,
  );
  return {
    begin({ host, kernel, way, started }) {
      if (fstatSync(fd).isFile()) ftruncateSync(fd);
      const header: Header = {
        tsbpf: 'tcpconnlat',
        format: FORMAT,
        ...{ version, host, kernel, way, options, started },
        fields: fields.filter((field) => FIELDS[field] !== null),
      };
      output.write(`${JSON.stringify(header)}\n`);
    },
    add(record) {
      events += 1;
      output.write(jsonLine(record, fields));
    },
    async end() {
      await output.end();
      closeSync(fd);
      if (!failure) return;
      const lacks = this.missing > 0 ? `; ${this.missing} events are not in it` : '';
      throw new OutputError(`${failure.message}${lacks}`);
    },
    get missing() {
      return Math.min(output.dropped, events); // the first line may be missing too
    },
  };
}

/** Doesn't empty it yet, since tracing may turn out to be impossible. A pipe is not waited for, neither now nor when it is full. */
function open(file: string, what: string): number {
  const { O_WRONLY, O_CREAT, O_NONBLOCK, O_NOCTTY } = constants;
  try {
    return openSync(file, O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY);
  } catch (error) {
    throw new OutputError(`cannot write ${what}: ${(error as Error).message}`);
  }
}
