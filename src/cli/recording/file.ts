/**
 * The file of a recording, from the check before tracing to the last byte.
 *
 * Nothing changes before `begin`: a run that cannot trace creates no file and keeps an older recording.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  ftruncateSync,
  lstatSync,
  openSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { printable } from '../../asm/printable.ts';
import { Errno, errnoName } from '../../loader/errno.ts';
import type { Closeable } from '../../loader/resources.ts';
import type { Syscalls } from '../../loader/syscalls.ts';
import { onHangUp } from '../descriptors.ts';
import {
  asOutputError,
  cannotWriteTo,
  checkDirectory,
  type Destination,
  type Named,
  PRIVATE,
  pathOf,
  resolve,
  WRITING,
} from '../destination.ts';
import type { OutputError } from '../output.ts';
import { lockHolder } from './lock.ts';

const CONTENT = 'the recording';

/** The parts of a run that the file uses. */
export interface Surroundings {
  readonly syscalls: Pick<Syscalls, 'flock' | 'pollShared'>;
  /** Prints a warning of one line. */
  readonly warn: (text: string) => void;
}

/** A file or named pipe for one recording. A file is locked. The caller closes it. */
export class RecordingFile {
  readonly #path: string;
  readonly #surroundings: Surroundings;
  #destination: Destination;
  /** The descriptor for writing; undefined while the file does not exist. */
  #fd: number | undefined;
  #isCreated = false;
  #hangUp: Closeable | undefined;

  /**
   * Checks that a recording can be written to `path`, and locks the file if it exists.
   * @throws {OutputError}
   */
  constructor(path: string, surroundings: Surroundings) {
    this.#path = path;
    this.#surroundings = surroundings;
    this.#destination = this.#claim();
  }

  /** Calls `onGone` once when the reader of a pipe exits, even if there is nothing to write. */
  watch(onGone: () => void): void {
    if (this.#fd !== undefined) this.#hangUp = onHangUp(this.#surroundings.syscalls, this.#fd, onGone);
  }

  /** Creates or truncates the file. @throws {OutputError} */
  begin(): void {
    try {
      if (this.#fd === undefined) this.#create();
      else if (fstatSync(this.#fd).isFile()) ftruncateSync(this.#fd);
      this.#makePrivate();
    } catch (error) {
      throw asOutputError(this.#named, error);
    }
  }

  /** Writes some of the bytes and returns how many; throws the errors of `fs.writeSync`. */
  write(bytes: Uint8Array): number {
    if (this.#fd === undefined) throw new RangeError('the recording has not begun');
    return writeSync(this.#fd, bytes);
  }

  /** Unlocks the file. Removes it if this object created it and it is still empty. */
  close(): void {
    this.#hangUp?.close();
    if (this.#fd !== undefined) {
      if (this.#isCreated && fstatSync(this.#fd).size === 0) this.#remove();
      closeSync(this.#fd);
    }
    this.#fd = undefined;
    this.#destination.close();
  }

  /** Resolves the path. Opens and locks an existing file, or checks that a new one can be created. */
  #claim(): Destination {
    for (;;) {
      const destination = resolve(this.#path, CONTENT);
      try {
        if (destination.file === undefined) {
          checkDirectory(destination.directory as number);
          return destination;
        }
        const fd = openSync(pathOf(destination.file), WRITING);
        this.#lock(fd);
        // A link in /proc may lead to a file without a name. Any other such file was removed just now: try
        // again.
        if (fstatSync(fd).nlink > 0 || destination.directory === undefined) {
          this.#fd = fd;
          return destination;
        }
        closeSync(fd);
        destination.close();
      } catch (error) {
        destination.close();
        throw asOutputError(this.#named, error);
      }
    }
  }

  /**
   * Locks a file; pipes and devices need no lock.
   * @throws {OutputError} if another process holds the lock; closes `fd` first.
   */
  #lock(fd: number): void {
    const stat = fstatSync(fd, { bigint: true });
    if (!stat.isFile()) return;
    const errno = -this.#surroundings.syscalls.flock(fd);
    if (errno === Errno.EAGAIN) {
      closeSync(fd);
      const holder = lockHolder(stat);
      const who = holder === undefined ? '' : ` (pid ${holder})`;
      throw this.#error(`another process is recording to it${who}; name another file`);
    }
    if (errno > 0)
      this.#surroundings.warn(
        `${printable(this.#path)} cannot be locked (${errnoName(errno)}): do not start another recording to it`,
      );
  }

  #create(): void {
    const { directory, name } = this.#destination;
    const path = pathOf(directory as number, name);
    try {
      const { O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
      const fd = openSync(path, WRITING | O_CREAT | O_EXCL | O_NOFOLLOW, PRIVATE);
      this.#lock(fd);
      this.#fd = fd;
      this.#isCreated = true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      // Another process was faster. It holds the lock, or it has not locked its new file yet.
      this.#destination.close();
      this.#destination = this.#claim();
      if (this.#fd === undefined || fstatSync(this.#fd).size > 0)
        throw this.#error('another process has just created it; name another file');
    }
  }

  /** Sets the mode to 0600, regardless of the umask and of the mode of an older recording. */
  #makePrivate(): void {
    const fd = this.#fd as number;
    const stat = fstatSync(fd);
    const mode = stat.mode & 0o777;
    const isPrivate = this.#isCreated ? mode === PRIVATE : (mode & 0o077) === 0;
    if (!stat.isFile() || isPrivate) return;
    const file = printable(this.#path);
    try {
      fchmodSync(fd, PRIVATE);
    } catch {
      // another user's file, or a file system without modes
    }
    const now = fstatSync(fd).mode & 0o777;
    if ((now & 0o077) !== 0)
      this.#surroundings.warn(
        `other users can read ${file}: its mode is ${octal(now)} and cannot be changed`,
      );
    else if (!this.#isCreated)
      this.#surroundings.warn(`the mode of ${file} was ${octal(mode)} and is now ${octal(now)}`);
  }

  #remove(): void {
    const { directory, name } = this.#destination;
    const path = pathOf(directory as number, name);
    try {
      if (lstatSync(path).ino === fstatSync(this.#fd as number).ino) unlinkSync(path);
    } catch {
      // already removed, or the directory is read-only by now
    }
  }

  get #named(): Named {
    return { content: CONTENT, path: this.#path };
  }

  #error(reason: string): OutputError {
    return cannotWriteTo(this.#named, reason);
  }
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}
