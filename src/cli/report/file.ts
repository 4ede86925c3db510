/**
 * The file of a report. It is written at once at the end, and replaces an older report only if all of it
 * could be written.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import {
  asOutputError,
  cannotWriteTo,
  checkDirectory,
  type Destination,
  DestinationError,
  isWritableByMode,
  type Named,
  PRIVATE,
  pathOf,
  resolve,
  WRITING,
} from '../destination.ts';
import { type OutputError, writeWhole } from '../output.ts';
import { lockHolder } from '../recording/lock.ts';

const CONTENT = 'the report';
/** The longest part of the report's name in the name of its draft: names have up to 255 bytes. */
const MAX_STEM = 60;

/** A file, named pipe or /dev/null for one report. The caller closes it. */
export class ReportFile {
  readonly #path: string;
  readonly #destination: Destination;
  /** A named pipe, a device, or a file that only a link in /proc names: it is written directly. */
  #fd: number | undefined;

  /**
   * Checks that a report can be written to `path`. `input` is the recording that it is made of.
   * @throws {OutputError}
   */
  constructor(path: string, input?: { readonly dev: bigint; readonly ino: bigint }) {
    this.#path = path;
    this.#destination = resolve(path, CONTENT);
    try {
      const { file, directory } = this.#destination;
      if (file !== undefined) this.#check(file, input);
      if (file !== undefined && (directory === undefined || !fstatSync(file).isFile()))
        this.#fd = openSync(pathOf(file), WRITING);
      else checkDirectory(directory as number);
    } catch (error) {
      this.#destination.close();
      throw asOutputError(this.#named, error);
    }
  }

  /** Whether root can replace the file only with the capability CAP_DAC_OVERRIDE. */
  get needsOverride(): boolean {
    const { directory } = this.#destination;
    return this.#fd === undefined && directory !== undefined && !isWritableByMode(directory);
  }

  /** Writes the report. An older one remains if this fails. @throws {OutputError} */
  write(text: string): void {
    try {
      if (this.#fd === undefined) this.#replace(Buffer.from(text));
      else {
        if (fstatSync(this.#fd).isFile()) ftruncateSync(this.#fd);
        const fd = this.#fd;
        writeWhole((bytes) => writeSync(fd, bytes), text, Number.POSITIVE_INFINITY);
      }
    } catch (error) {
      throw asOutputError(this.#named, error);
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
    this.#destination.close();
  }

  #check(file: number, input: { readonly dev: bigint; readonly ino: bigint } | undefined): void {
    const stat = fstatSync(file, { bigint: true });
    if (input && stat.isFile() && stat.dev === input.dev && stat.ino === input.ino)
      throw new DestinationError(this.#error('it is the recording that is read; name another file').message);
    const holder = stat.isFile() ? lockHolder(stat) : undefined;
    if (holder !== undefined)
      throw this.#error(`a process is recording to it (pid ${holder}); name another file`);
  }

  #replace(bytes: Uint8Array): void {
    const { directory, name } = this.#destination;
    const stem = Buffer.from(name)
      .subarray(0, MAX_STEM)
      .toString('latin1')
      .replace(/[^\w.-]/g, '_');
    const draft = pathOf(directory as number, `.${stem}.${randomBytes(6).toString('hex')}.tmp`);
    const { O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
    const fd = openSync(draft, WRITING | O_CREAT | O_EXCL | O_NOFOLLOW, PRIVATE);
    try {
      try {
        fchmodSync(fd, PRIVATE); // regardless of the umask
        for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(draft, pathOf(directory as number, name));
    } catch (error) {
      unlinkSync(draft);
      throw error;
    }
    syncDirectory(directory as number);
  }

  get #named(): Named {
    return { content: CONTENT, path: this.#path };
  }

  #error(reason: string): OutputError {
    return cannotWriteTo(this.#named, reason);
  }
}

/** Makes the new name durable. Some file systems cannot; then it becomes durable later. */
function syncDirectory(directory: number): void {
  try {
    const fd = openSync(pathOf(directory), constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch {
    // the report itself is written
  }
}
