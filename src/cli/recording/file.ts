/**
 * The file of a recording, from the check before tracing to its last byte.
 *
 * Nothing changes before `begin`: a run that cannot trace leaves no new file, and an older recording as it was.
 */
import {
  accessSync,
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
import { OutputError } from '../output.ts';
import { onHangUp } from '../shared.ts';
import { systemReason } from '../text.ts';
import { cannotRecord, type Destination, pathOf, resolve } from './destination.ts';
import { lockHolder } from './lock.ts';

/** A recording holds who connected where: only its owner may read it. */
const PRIVATE = 0o600;
/** Makes a file without a name (`__O_TMPFILE`, include/uapi/asm-generic/fcntl.h). */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;
/** Neither waits for the reader of a pipe nor makes a terminal that of this process. */
const WRITING = constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

/** What the file of a recording needs. */
export interface Surroundings {
  readonly syscalls: Pick<Syscalls, 'flock' | 'pollShared'>;
  /** Gets a sentence for the operator. */
  readonly warn: (text: string) => void;
}

/** A file or pipe that is locked for one recording. The caller closes it. */
export class RecordingFile {
  readonly #path: string;
  readonly #around: Surroundings;
  #destination: Destination;
  /** Open for writing; undefined as long as the file does not exist. */
  #fd: number | undefined;
  #isCreated = false;
  #hangUp: Closeable | undefined;

  /**
   * Checks that a recording can be written to `path`, and locks the file if it exists.
   * @throws {OutputError}
   */
  constructor(path: string, around: Surroundings) {
    this.#path = path;
    this.#around = around;
    this.#destination = this.#claim();
  }

  /** Calls `onGone` once if the reader of a pipe exits, also when there is nothing to write. */
  watch(onGone: () => void): void {
    if (this.#fd !== undefined) this.#hangUp = onHangUp(this.#around.syscalls, this.#fd, onGone);
  }

  /** Creates the file, or empties it. @throws {OutputError} */
  begin(): void {
    try {
      if (this.#fd === undefined) this.#create();
      else if (fstatSync(this.#fd).isFile()) ftruncateSync(this.#fd);
      this.#makePrivate();
    } catch (error) {
      throw this.#explained(error);
    }
  }

  /** Writes some of the bytes and returns how many; throws as `fs.writeSync` does. */
  write(bytes: Uint8Array): number {
    if (this.#fd === undefined) throw new RangeError('the recording has not begun');
    return writeSync(this.#fd, bytes);
  }

  /** Unlocks the file. Removes one that was created here and is still empty. */
  close(): void {
    this.#hangUp?.close();
    if (this.#fd !== undefined) {
      if (this.#isCreated && fstatSync(this.#fd).size === 0) this.#remove();
      closeSync(this.#fd);
    }
    this.#fd = undefined;
    this.#destination.close();
  }

  /** Resolves the path. Opens and locks the file if it exists; else checks that it can be created. */
  #claim(): Destination {
    for (;;) {
      const destination = resolve(this.#path);
      try {
        if (destination.file === undefined) {
          checkDirectory(destination.directory as number);
          return destination;
        }
        const fd = openSync(pathOf(destination.file), WRITING);
        this.#lock(fd);
        // A link in /proc may lead to a file without a name; any other was removed just now, and is looked for again.
        if (fstatSync(fd).nlink > 0 || destination.directory === undefined) {
          this.#fd = fd;
          return destination;
        }
        closeSync(fd);
        destination.close();
      } catch (error) {
        destination.close();
        throw this.#explained(error);
      }
    }
  }

  /** Pipes and devices need no lock. @throws {OutputError} after closing the descriptor, if another process holds the lock. */
  #lock(fd: number): void {
    const stat = fstatSync(fd, { bigint: true });
    if (!stat.isFile()) return;
    const errno = -this.#around.syscalls.flock(fd);
    if (errno === Errno.EAGAIN) {
      closeSync(fd);
      const holder = lockHolder(stat);
      const who = holder === undefined ? '' : ` (pid ${holder})`;
      throw cannotRecord(this.#path, `another process is recording to it${who}; name another file`);
    }
    if (errno > 0)
      this.#around.warn(
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
      // Another process was faster. Either it holds the lock, or it has not locked its new file yet.
      this.#destination.close();
      this.#destination = this.#claim();
      if (this.#fd === undefined || fstatSync(this.#fd).size > 0)
        throw cannotRecord(this.#path, 'another process has just created it; name another file');
    }
  }

  /** Sets the mode to 0600, against the umask and the mode of an older recording. */
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
      // Another user's file, or a file system without modes.
    }
    const now = fstatSync(fd).mode & 0o777;
    if ((now & 0o077) !== 0)
      this.#around.warn(`other users can read ${file}: its mode is ${octal(now)} and cannot be changed`);
    else if (!this.#isCreated)
      this.#around.warn(`the mode of ${file} was ${octal(mode)} and is now ${octal(now)}`);
  }

  #remove(): void {
    const { directory, name } = this.#destination;
    const path = pathOf(directory as number, name);
    try {
      if (lstatSync(path).ino === fstatSync(this.#fd as number).ino) unlinkSync(path);
    } catch {
      // It is gone already, or the directory is read-only by now.
    }
  }

  #explained(error: unknown): OutputError {
    if (error instanceof OutputError) return error;
    const reason = systemReason(error);
    const hint = reason.startsWith('ENXIO') ? ' (no process reads this pipe)' : '';
    return cannotRecord(this.#path, `${reason}${hint}`);
  }
}

/**
 * Tries to make a file without a name, which leaves no trace. Not every file system has them: then the permissions decide, and `begin`
 * finds what they do not say.
 * @throws what `accessSync` does.
 */
function checkDirectory(directory: number): void {
  const path = pathOf(directory);
  try {
    closeSync(openSync(path, constants.O_WRONLY | O_TMPFILE, PRIVATE));
  } catch {
    accessSync(path, constants.W_OK | constants.X_OK);
  }
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}
