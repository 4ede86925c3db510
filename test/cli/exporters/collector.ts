/** An OpenTelemetry collector on the loopback device, for tests. It keeps what it gets. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';

export interface Received {
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly metrics: readonly Metric[];
  readonly resource: Attributes;
}

export interface Metric {
  readonly name: string;
  readonly unit: string;
  readonly points: readonly Point[];
}

type Attributes = Readonly<Record<string, string | number | boolean>>;

/** A data point; the histogram fields only for exponential histograms. */
export interface Point {
  readonly attributes: Attributes;
  readonly startNs: bigint;
  readonly value?: number;
  readonly count?: number;
  readonly scale?: number;
  readonly zeroCount?: number;
  readonly offset?: number;
  readonly bucketCounts?: readonly number[];
  readonly sum?: number;
  readonly min?: number;
  readonly max?: number;
}

/** The status of an answer; 'hang' never answers. */
export type Answer = number | 'hang';

export class Collector {
  readonly received: Received[] = [];
  /** Requests, also those that were not answered with 200. */
  requests = 0;
  /** Requests without an answer, and the most of them at once. */
  open = 0;
  mostOpen = 0;
  /** The next answers; 200 when there are none. */
  answers: Answer[] = [];
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(port = 0): Promise<Collector> {
    const server = createServer();
    const collector = new Collector(server);
    server.on('request', (request, response) => {
      collector.open += 1;
      collector.mostOpen = Math.max(collector.mostOpen, collector.open);
      response.once('close', () => {
        collector.open -= 1;
      });
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        collector.requests += 1;
        const status = collector.answers.shift() ?? 200;
        if (status === 'hang') return;
        if (status === 200) {
          const { url: path = '', headers } = request;
          const body = Buffer.concat(chunks);
          const bytes = headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
          collector.received.push({ path, headers, ...decode(bytes) });
        }
        response.writeHead(status).end(status === 200 ? undefined : 'the reason\nmore');
      });
    });
    server.listen(port, '127.0.0.1');
    await new Promise((resolve, reject) => server.once('listening', resolve).once('error', reject));
    return collector;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/v1/metrics`;
  }

  dropConnections(): void {
    this.#server.closeAllConnections();
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.dropConnections();
    await closed;
  }
}

// Protobuf, by the numbers in opentelemetry/proto/metrics/v1/metrics.proto.

type Field = Buffer | bigint;
type Message = Map<number, Field[]>;

function message(bytes: Buffer): Message {
  const fields: Message = new Map();
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++] as number;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const take = (length: number): Buffer => {
      at += length;
      return bytes.subarray(at - length, at);
    };
    const kind = tag & 7;
    const value =
      kind === 0 ? varint() : kind === 1 ? take(8) : kind === 2 ? take(Number(varint())) : undefined;
    if (value === undefined) throw new Error(`wire type ${kind}`);
    fields.set(tag >> 3, [...(fields.get(tag >> 3) ?? []), value]);
  }
  return fields;
}

const all = (of: Message, field: number): Message[] =>
  (of.get(field) ?? []).map((each) => message(each as Buffer));
const one = (of: Message, field: number): Message => all(of, field)[0] ?? new Map();
const text = (of: Message, field: number): string => String(of.get(field)?.[0] ?? '');
const double = (of: Message, field: number): number | undefined =>
  (of.get(field)?.[0] as Buffer | undefined)?.readDoubleLE();
const fixed = (of: Message, field: number): bigint =>
  (of.get(field)?.[0] as Buffer | undefined)?.readBigUInt64LE() ?? 0n;
const zigzag = (value: bigint): number => Number((value >> 1n) ^ -(value & 1n));

function varints(bytes: Buffer): number[] {
  const numbers: number[] = [];
  let value = 0;
  let factor = 1;
  for (const byte of bytes) {
    value += (byte & 127) * factor;
    factor *= 128;
    if (byte >= 128) continue;
    numbers.push(value);
    [value, factor] = [0, 1];
  }
  return numbers;
}

function attributes(list: readonly Message[]): Attributes {
  return Object.fromEntries(
    list.map((each) => {
      const value = one(each, 2);
      const [field] = value.keys();
      return [
        text(each, 1),
        field === 1 ? text(value, 1) : field === 2 ? value.get(2)?.[0] === 1n : Number(value.get(3)?.[0]),
      ];
    }),
  );
}

function decode(bytes: Buffer): Pick<Received, 'metrics' | 'resource'> {
  const resourceMetrics = one(message(bytes), 1);
  const scopes = all(resourceMetrics, 2);
  return {
    resource: attributes(all(one(resourceMetrics, 1), 1)),
    metrics: scopes.flatMap((scope) => all(scope, 2).map(metric)),
  };
}

function metric(of: Message): Metric {
  const numbers = [...all(of, 5), ...all(of, 7)].flatMap((data) => all(data, 1).map(numberPoint));
  const histograms = all(of, 10).flatMap((data) => all(data, 1).map(histogramPoint));
  return { name: text(of, 1), unit: text(of, 3), points: [...numbers, ...histograms] };
}

function numberPoint(of: Message): Point {
  const integer = (of.get(6)?.[0] as Buffer | undefined)?.readBigInt64LE();
  return {
    ...{ attributes: attributes(all(of, 7)), startNs: fixed(of, 2) },
    value: integer === undefined ? double(of, 4) : Number(integer),
  };
}

function histogramPoint(of: Message): Point {
  const positive = one(of, 8);
  return {
    ...{ attributes: attributes(all(of, 1)), startNs: fixed(of, 2), count: Number(fixed(of, 4)) },
    ...{ sum: double(of, 5), min: double(of, 12), max: double(of, 13), zeroCount: Number(fixed(of, 7)) },
    scale: zigzag((of.get(6)?.[0] as bigint) ?? 0n),
    offset: zigzag((positive.get(1)?.[0] as bigint) ?? 0n),
    bucketCounts: varints((positive.get(2)?.[0] as Buffer) ?? Buffer.alloc(0)),
  };
}
