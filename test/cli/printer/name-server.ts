/**
 * A name server for tests on 127.0.0.1. It answers reverse queries, or stays silent.
 */
import { createSocket, type Socket } from 'node:dgram';
import type { AddressInfo } from 'node:net';

/** Offsets and values of a DNS message: RFC 1035, section 4. */
const HEADER = 12;
const TYPE_PTR = 12;
const CLASS_IN = 1;
const RESPONSE = 0x8180;
const NO_SUCH_NAME = 3;

export class NameServer {
  readonly #socket: Socket;
  readonly #names: ReadonlyMap<string, string>;
  /** The received queries. */
  readonly questions: string[] = [];
  /** Whether it answers. */
  silent = false;
  /** The delay of answers in ms. */
  delayMs = 0;

  private constructor(socket: Socket, names: ReadonlyMap<string, string>) {
    this.#socket = socket;
    this.#names = names;
    socket.on('message', (question, from) => {
      const answer = this.#answer(question);
      if (!this.silent)
        setTimeout(() => socket.send(answer, from.port, from.address, () => {}), this.delayMs);
    });
  }

  /** `names` maps queries such as `1.2.0.192.in-addr.arpa` to names. Rejects if the port is in use. */
  static start(names: Readonly<Record<string, string>>, port = 0): Promise<NameServer> {
    const socket = createSocket('udp4');
    return new Promise((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(port, '127.0.0.1', () => resolve(new NameServer(socket, new Map(Object.entries(names)))));
    });
  }

  /** The address for resolvers: `127.0.0.1:PORT`. */
  get address(): string {
    return `127.0.0.1:${(this.#socket.address() as AddressInfo).port}`;
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#socket.close(() => resolve());
    });
  }

  #answer(question: Buffer): Buffer {
    const { name, end } = readName(question);
    this.questions.push(name);
    const found = this.#names.get(name);
    const asked = Buffer.from(question.subarray(0, end + 4)); // with its type and class
    asked.writeUInt16BE(found === undefined ? RESPONSE | NO_SUCH_NAME : RESPONSE, 2);
    asked.writeUInt16BE(found === undefined ? 0 : 1, 6);
    asked.fill(0, 8, HEADER);
    if (found === undefined) return asked;
    const data = writeName(found);
    const head = Buffer.alloc(12);
    head.writeUInt16BE(0xc000 | HEADER, 0); // the name that was asked for
    head.writeUInt16BE(TYPE_PTR, 2);
    head.writeUInt16BE(CLASS_IN, 4);
    head.writeUInt32BE(60, 6);
    head.writeUInt16BE(data.length, 10);
    return Buffer.concat([asked, head, data]);
  }
}

function readName(message: Buffer): { name: string; end: number } {
  const labels: string[] = [];
  let at = HEADER;
  for (let size = message[at++] as number; size > 0; size = message[at++] as number) {
    labels.push(message.toString('latin1', at, at + size));
    at += size;
  }
  return { name: labels.join('.'), end: at };
}

function writeName(name: string): Buffer {
  const labels = [...name.split('.').map((label) => Buffer.from(label, 'latin1')), Buffer.alloc(0)];
  return Buffer.concat(labels.flatMap((label) => [Buffer.of(label.length), label]));
}
