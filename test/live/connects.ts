/** Creates connects for the live tests. */
import { type ChildProcess, fork } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import * as net from 'node:net';
import { extname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { slowness } from '../harness.ts';
import type { Answer, Call, Connected, Endpoint, Operations } from './sockets.ts';

/** Time limit for any expected event, ms. */
const PATIENCE_MS = 20_000 * slowness;

/** A file of this build, by its path relative to this file. */
export function built(path: string): string {
  return fileURLToPath(new URL(path + extname(import.meta.url), import.meta.url));
}

/** Why loopback has no IPv6, or false. */
export const noIPv6: string | false =
  existsSync('/proc/net/if_inet6') && /^0{31}1 .* lo$/m.test(readFileSync('/proc/net/if_inet6', 'utf8'))
    ? false
    : 'no IPv6 on loopback';

/** Why MPTCP sockets are unavailable, or false. */
export const noMptcp: string | false =
  existsSync('/proc/sys/net/mptcp/enabled') && readFileSync('/proc/sys/net/mptcp/enabled', 'utf8')[0] === '1'
    ? false
    : 'MPTCP is unavailable or disabled';

export const IPPROTO_MPTCP = 262;

/**
 * Waits until `condition` returns a truthy value, and returns it. `state` adds details to the error message.
 */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  state: () => string = () => '',
): Promise<NonNullable<T>> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > deadline) throw new Error(`not in ${PATIENCE_MS} ms: ${what}\n${state()}`);
    await sleep(10 * slowness); // slow machines also check more slowly
  }
}

export function exited(child: ChildProcess): Promise<{ code: number | null; signal: string | null }> {
  const { exitCode: code, signalCode: signal } = child;
  if (code !== null || signal !== null) return Promise.resolve({ code, signal });
  return new Promise((resolve) => {
    child.once('exit', (exitCode, signalCode) => resolve({ code: exitCode, signal: signalCode }));
  });
}

/** The name of a process's main thread. */
export function commOf(pid: number): string {
  return readFileSync(`/proc/${pid}/comm`, 'utf8').trimEnd();
}

/** A process that opens sockets on request, see sockets.ts. */
export class Peer {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #calls = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', (answer: Answer) => {
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
    child.once('exit', (code, signal) => {
      for (const [id, settle] of this.#waiting) settle({ id, error: `the peer ended: ${code ?? signal}` });
    });
  }

  static async start(): Promise<Peer> {
    const peer = new Peer(fork(built('./sockets'), { serialization: 'advanced' }));
    await peer.#answer(0);
    return peer;
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** Requests one operation; the process runs operations in order. */
  async ask<O extends keyof Operations>(
    operation: O,
    ...args: Parameters<Operations[O]>
  ): Promise<ReturnType<Operations[O]>> {
    const id = ++this.#calls;
    const answer = this.#answer(id);
    this.#child.send({ id, operation, args } satisfies Call);
    return (await answer) as ReturnType<Operations[O]>;
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGKILL');
    await exited(this.#child);
  }

  #answer(id: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, (answer) => {
        if ('error' in answer) reject(new Error(answer.error));
        else resolve(answer.result);
      });
    });
  }
}

/** A server in this process that accepts every connection. */
export class Server {
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();

  private constructor(server: net.Server) {
    this.#server = server;
    server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
    });
  }

  static start(host: string): Promise<Server> {
    return new Promise((resolve, reject) => {
      const server = net.createServer();
      const started = new Server(server);
      server.once('error', reject).listen({ host, port: 0, backlog: 511, ipv6Only: false }, () => {
        resolve(started);
      });
    });
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port;
  }

  close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
    });
  }
}

/** Connects from this process by a non-blocking Node socket. */
export function connectHere(
  port: number,
  host = '127.0.0.1',
): Promise<{ localPort: number; error: string; ms: number }> {
  return new Promise((resolve) => {
    const begin = performance.now();
    const socket = net.connect({ port, host });
    const done = (error: string) => {
      resolve({ localPort: socket.localPort ?? 0, error, ms: performance.now() - begin });
      socket.destroy();
    };
    socket
      .once('connect', () => done(''))
      .once('error', (error: NodeJS.ErrnoException) => done(error.code ?? '?'));
  });
}

/** The number of sockets that wait for the answer to a SYN sent to this port of 127.0.0.1. */
function waitingFor(port: number): number {
  const remote = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  // Address, state (02 is SYN_SENT), queues, timer (01 once the SYN has left).
  const line = new RegExp(`^ *\\d+: \\S+ ${remote} 02 \\S+ 01:`, 'gm');
  return readFileSync('/proc/net/tcp', 'utf8').match(line)?.length ?? 0;
}

/** A listener in another process with a full queue: it does not answer SYNs. */
export class FullListener {
  readonly #peer: Peer;
  readonly #fds: number[];
  readonly port: number;

  private constructor(peer: Peer, fds: number[], port: number) {
    this.#peer = peer;
    this.#fds = fds;
    this.port = port;
  }

  static async start(peer: Peer): Promise<FullListener> {
    const { fd, port } = await peer.ask('listen', '127.0.0.1', 0);
    const filler = await peer.ask('connect', { address: '127.0.0.1', port });
    return new FullListener(peer, [fd, filler.fd], port);
  }

  /**
   * Accepts the connection that fills the queue, so that the next SYN (retransmitted after a second) is
   * answered.
   */
  async acceptOne(): Promise<void> {
    this.#fds.push(await this.#peer.ask('accept', this.#fds[0] as number));
  }

  close(): Promise<void> {
    return this.#peer.ask('close', ...this.#fds);
  }
}

/**
 * Connects a peer to a full listener of another peer and accepts from its queue shortly after: the SYN is
 * retransmitted after a second, and answered.
 */
export async function connectLate(
  peer: Peer,
  listening: Peer,
): Promise<{ readonly port: number; readonly connected: Connected }> {
  const listener = await FullListener.start(listening);
  const connecting = peer.ask('connect', loopback(listener.port));
  await until('a SYN', () => waitingFor(listener.port) === 1);
  await sleep(200); // until the kernel drops the SYN
  await listener.acceptOne();
  const connected = await connecting;
  await listener.close();
  return { port: listener.port, connected };
}

/** An endpoint on this machine, IPv4 by default. */
export function loopback(port: number, address = '127.0.0.1'): Endpoint {
  return { address, port };
}

/** Documentation addresses. In a network without routes nothing is sent to them. */
export const NOWHERE: readonly string[] = noIPv6
  ? ['192.0.2.1']
  : ['192.0.2.1', '2001:db8::1', '::ffff:192.0.2.1'];

/**
 * Asserts that a latency lies within the duration of its call; both use one clock. `rounding` is the
 * precision of the printed latency, ms.
 */
export function assertWithin(latency: number, { begin, end }: Connected, rounding = 0.000_001): void {
  const took = end - begin;
  assert.ok(latency > 0 && latency <= took + rounding, `${latency} ms in a call of ${took} ms`);
}
