/** A child process that makes a number of system calls on request and reports the duration in ns. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

export class Worker {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: Interface;

  private constructor(file: string) {
    const path = fileURLToPath(new URL(file, import.meta.url));
    this.#child = spawn(process.execPath, [path], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout });
  }

  /** Starts a file of this folder and waits for its first line. */
  static async start(file: string): Promise<{ worker: Worker; first: string }> {
    const worker = new Worker(file);
    const [first] = await once(worker.#lines, 'line');
    return { worker, first };
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Sends a request and waits for the answer: the duration in seconds. */
  async work(line: string): Promise<number> {
    this.#child.stdin.write(`${line}\n`);
    const [ns] = await once(this.#lines, 'line');
    return Number(ns) / 1e9;
  }

  end(): void {
    this.#child.stdin.end();
  }
}
