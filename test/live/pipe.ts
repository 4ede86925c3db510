/** A pipe with both ends held by a test. */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export class Pipe {
  /** For a child process; blocking. */
  readonly writer: number;
  /** For the standard input of a child process; blocking. */
  readonly childReader: number;
  readonly #reader: number;
  #text = '';
  readonly #open: Set<number>;

  constructor() {
    const folder = mkdtempSync(join(tmpdir(), 'tsbpf-pipe-'));
    const path = join(folder, 'pipe');
    execFileSync('mkfifo', [path]);
    this.#reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    this.writer = openSync(path, constants.O_WRONLY);
    this.childReader = openSync(path, constants.O_RDONLY);
    this.#open = new Set([this.#reader, this.writer, this.childReader]);
    rmSync(folder, { recursive: true });
  }

  /** All output so far. */
  read(): string {
    const chunk = Buffer.alloc(65_536);
    for (;;) {
      try {
        const size = readSync(this.#reader, chunk);
        if (size === 0) return this.#text;
        this.#text += chunk.toString('latin1', 0, size);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
        return this.#text;
      }
    }
  }

  /** Fills the pipe, so that the next write blocks. */
  fill(): void {
    const filler = openSync(`/proc/self/fd/${this.writer}`, constants.O_WRONLY | constants.O_NONBLOCK);
    const page = Buffer.alloc(4096, 'x');
    try {
      for (;;) writeSync(filler, page);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    } finally {
      closeSync(filler);
    }
  }

  closeWriter(): void {
    this.#close(this.writer);
  }

  /** Closes both read ends of the test. */
  closeReader(): void {
    this.#close(this.#reader);
    this.#close(this.childReader);
  }

  close(): void {
    for (const fd of this.#open) this.#close(fd);
  }

  #close(fd: number): void {
    if (this.#open.delete(fd)) closeSync(fd);
  }
}

/** Whether a descriptor of a process is non-blocking; undefined before the process has started. */
export function isNonBlocking(pid: number, fd: number): boolean | undefined {
  try {
    const flags = /^flags:\t([0-7]+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1'))?.[1];
    return flags === undefined ? undefined : (Number.parseInt(flags, 8) & constants.O_NONBLOCK) !== 0;
  } catch {
    return undefined;
  }
}
