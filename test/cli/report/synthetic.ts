/** Recordings of made-up connects: the same for the same numbers. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { type Header, jsonLine } from '../../../src/cli/json.ts';
import { type ConnectRecord, fieldsOf, fieldsShown } from '../../../src/cli/record.ts';

export const START_MS = Date.UTC(2026, 10, 28, 22, 40);

export const HEADER: Header = {
  ...{ tsbpf: 'tcpconnlat', format: 1, version: '0.1.0', host: 'web-3', kernel: '6.12.48', way: 'kprobe' },
  ...{ options: ['--outcome', '--who'], started: '2026-11-28T22:40:00.000000Z' },
  fields: ['time', ...fieldsOf('who'), ...fieldsOf('outcome')],
};

const FIELDS = fieldsShown({ wall: true, who: true, outcome: true });
/** Latencies of a near, a far, and a very far service, in ms. */
const LATENCIES = [0.05, 0.25, 12, 85];
const PORTS = [443, 5432, 6379, 8443];
/** How many lines are written at once. */
const BLOCK = 5000;

/** What is different from one recording to another. */
export interface Load {
  readonly connects: number;
  readonly destinations: number;
  readonly seconds: number;
  /** Names of threads and executables; by default plain ones. */
  readonly names?: readonly string[];
}

/** The connects of a recording, in the order of their times. */
export function* connectsOf({ connects, destinations, seconds, names }: Load): Generator<ConnectRecord> {
  let state = 12_345;
  /** A number from 0 to 1 (xorshift). */
  const random = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < connects; i++) {
    const timeS = (seconds * (i + random())) / connects;
    const number = Math.floor(destinations * random() ** 3);
    const spread = Math.exp(0.4 * (random() + random() + random() - 1.5));
    const name = names?.[i % names.length];
    const isLost = random() < 0.003;
    const isRefused = number === 1 && random() < 0.1;
    const latency = (LATENCIES[number % 4] as number) * spread + (isLost ? 1000 : 0);
    yield {
      time_s: timeS,
      time: `${new Date(START_MS + timeS * 1000).toISOString().slice(0, -1)}000Z`,
      ...{ pid: 1000 + number, comm: name?.slice(0, 15) ?? `worker-${number % 7}`, uid: 33 },
      ...{
        unit: 'nginx.service',
        exe: name ?? '/usr/sbin/nginx',
        ip: 4,
        saddr: '10.0.0.7',
        lport: 32_768 + (i % 28_000),
      },
      ...{
        daddr: `10.${1 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`,
        dport: PORTS[number % 4] as number,
      },
      lat_ms: Math.round(latency * 1e6) / 1e6,
      retransmits: isLost ? 1 : 0,
      ...(isRefused ? { result: 'refused', errno: 'ECONNREFUSED' } : { result: 'established' }),
    };
  }
}

/** Writes a recording. */
export function writeRecording(path: string, load: Load): void {
  const fd = openSync(path, 'w');
  try {
    let lines = [`${JSON.stringify(HEADER)}\n`];
    for (const record of connectsOf(load)) {
      lines.push(jsonLine(record, FIELDS));
      if (lines.length < BLOCK) continue;
      writeSync(fd, lines.join(''));
      lines = [];
    }
    writeSync(fd, lines.join(''));
  } finally {
    closeSync(fd);
  }
}
