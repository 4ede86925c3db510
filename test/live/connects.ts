/** Connects made on purpose, for the live tests. */
import { type ChildProcess, fork } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import * as net from 'node:net';
import { extname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { slowness } from '../harness.ts';
import type { Answer, Call, Connected, Endpoint, Operations } from './sockets.ts';

/** How long anything that has to happen may take, ms. */
const PATIENCE_MS = 20_000 * slowness;

/** A file of this build, by its path from here. */
export function built(path: string): string {
  return fileURLToPath(new URL(path + extname(import.meta.url), import.meta.url));
}

/** Why there is no IPv6 on loopback, or false. */
export const noIPv6: string | false =
  existsSync('/proc/net/if_inet6') && /^0{31}1 .* lo$/m.test(readFileSync('/proc/net/if_inet6', 'utf8'))
    ? false
    : 'there is no IPv6 on loopback';

/** Why there are no MPTCP sockets, or false. */
export const noMptcp: string | false =
  existsSync('/proc/sys/net/mptcp/enabled') && readFileSync('/proc/sys/net/mptcp/enabled', 'utf8')[0] === '1'
    ? false
    : 'this kernel makes no MPTCP sockets';

export const IPPROTO_MPTCP = 262;

/** Waits until `condition` gives something true, and returns that. `state` tells what there is, for the message. */
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
    await sleep(10 * slowness); // looking takes longer there too
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

/** A process that makes sockets: see sockets.ts. */
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

  /** Lets it do one thing; it does them one after the other. */
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

/** A server of this process that accepts whoever comes. */
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

/** A connect of this process, by a socket of Node's, which doesn't block. */
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

/** Whether sockets wait for the answer to a SYN sent to that port of 127.0.0.1, how many. */
function waitingFor(port: number): number {
  const remote = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  // Address, state (02 is SYN_SENT), queues, timer (01 once the SYN has left).
  const line = new RegExp(`^ *\\d+: \\S+ ${remote} 02 \\S+ 01:`, 'gm');
  return readFileSync('/proc/net/tcp', 'utf8').match(line)?.length ?? 0;
}

/** A listener of another process whose queue is full, so that SYNs to it are not answered. */
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

  /** Accepts what fills the queue: the next SYN, sent again after a second, is answered. */
  async makeRoom(): Promise<void> {
    this.#fds.push(await this.#peer.ask('accept', this.#fds[0] as number));
  }

  close(): Promise<void> {
    return this.#peer.ask('close', ...this.#fds);
  }
}

/**
 * Lets a peer connect to a listener of another whose queue is full, and makes room a while later: the SYN is sent again after
 * a second, and answered.
 */
export async function connectLate(
  peer: Peer,
  listening: Peer,
): Promise<{ readonly port: number; readonly connected: Connected }> {
  const listener = await FullListener.start(listening);
  const connecting = peer.ask('connect', loopback(listener.port));
  await until('a SYN', () => waitingFor(listener.port) === 1);
  await sleep(200); // as long as it takes to be dropped
  await listener.makeRoom();
  const connected = await connecting;
  await listener.close();
  return { port: listener.port, connected };
}

/** An end of a connect on this machine, by IPv4 if nothing else is said. */
export function loopback(port: number, address = '127.0.0.1'): Endpoint {
  return { address, port };
}

/** Addresses for documentation, of no network at all. In a network without routes nothing is sent to them. */
export const NOWHERE: readonly string[] = noIPv6
  ? ['192.0.2.1']
  : ['192.0.2.1', '2001:db8::1', '::ffff:192.0.2.1'];

/** Fails where a latency doesn't lie within the call that it was made in: both are of one clock. `rounding` is that of its text, ms. */
export function assertWithin(latency: number, { begin, end }: Connected, rounding = 0.000_001): void {
  const took = end - begin;
  assert.ok(latency > 0 && latency <= took + rounding, `${latency} ms in a call of ${took} ms`);
}
