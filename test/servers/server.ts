/** Servers as child processes on the loopback device, with folders and ports of their own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { slowness } from '../harness.ts';

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve, reject) => server.once('listening', resolve).once('error', reject));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Calls `condition` until it returns something. Throws with `describe` after 20 s. */
export async function until<T>(
  what: string,
  condition: () => T | undefined | Promise<T | undefined>,
  describe = () => '',
): Promise<T> {
  let last: unknown;
  const end = performance.now() + 20_000 * slowness;
  while (performance.now() < end) {
    try {
      const found = await condition();
      if (found !== undefined && (found as unknown) !== false) return found;
    } catch (error) {
      last = error;
    }
    await sleep(50);
  }
  throw new Error(`waited for ${what}: ${last ?? ''}\n${describe()}`);
}

/** A running server. */
export class ServerProcess {
  readonly url: string;
  readonly pid: number;
  output = '';
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  private constructor(child: ChildProcess, port: number) {
    this.url = `http://127.0.0.1:${port}`;
    this.#child = child;
    this.pid = child.pid ?? 0; // if the program is missing, it is never ready
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output = (this.output + text).slice(-20_000);
      });
    this.#exited = new Promise((resolve) => child.once('close', resolve).once('error', resolve));
    process.once('exit', () => child.kill('SIGKILL'));
  }

  /** Starts a program and waits until `ready`, a path, answers with 200. */
  static async start(
    program: string,
    args: readonly string[],
    { port, ready }: { port: number; ready: string },
  ): Promise<ServerProcess> {
    const server = new ServerProcess(spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] }), port);
    try {
      await until(
        `${program} to be ready`,
        async () => (await fetch(server.url + ready)).ok || undefined,
        () => server.output,
      );
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  /** The JSON at a path. */
  async json<T>(path: string): Promise<T> {
    const response = await fetch(this.url + path);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  }

  /** The result of an instant query, in the API that Prometheus and VictoriaMetrics share. */
  async query(expression: string): Promise<readonly QueryResult[]> {
    const path = `/api/v1/query?query=${encodeURIComponent(expression)}`;
    const { data } = await this.json<{ data: { result: QueryResult[] } }>(path);
    return data.result;
  }

  /** The value of an expression that has one, as soon as it has. */
  value(expression: string): Promise<number> {
    return until(
      expression,
      async () => {
        const [first, second] = await this.query(expression);
        return first?.value && !second ? Number(first.value[1]) : undefined;
      },
      () => this.output,
    );
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 5000);
    await this.#exited;
    clearTimeout(timer);
  }
}

export interface QueryResult {
  readonly metric: Readonly<Record<string, string>>;
  readonly value?: readonly [time: number, text: string];
  readonly histogram?: unknown;
}

/** A folder that is deleted when the process exits. */
export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tsbpf-servers-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
