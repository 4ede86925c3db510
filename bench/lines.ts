/**
 * The CPU time of showing a connect, in all threads of the command, and in this process from the bytes of an
 * event to the bytes of its line: decoding and formatting alone. The reference is the CPU time of a connect
 * that nothing traces.
 */
import { once } from 'node:events';
import { encodeValue, sampleView } from '../src/asm/layout.ts';
import { lineOutput } from '../src/cli/output.ts';
import { openPrinter } from '../src/cli/printer.ts';
import { rowReader } from '../src/cli/record.ts';
import { AF_INET, type ConnectEvent, eventOf } from '../src/programs/tcpconnlat/events.ts';
import { type Row, sleep, takeTurns } from './measure.ts';
import { command, countLines, optionsFrom, pidOf, stop, usage } from './process.ts';
import { Worker } from './worker.ts';

const ROUNDS = 11;
const CONNECTS = 20_000;
/** Connects before the measured ones, after which V8 has compiled the command's code for good. */
const WARM_UP = 60_000;
const EVENTS = 200_000;
/** Events that a reader finds at a time. */
const BATCH = 256;
/** Time until the last lines are written, ms. */
const SETTLE_MS = 300;
/** Limits for the whole command, as ratios to the untraced connect. */
const BARS: Readonly<Record<string, number>> = { columns: 0.5, '--json': 0.8 };
/** The limit for `--who`, as a ratio to the same form without it. */
const WHO_BAR = 1.3;

const FORMS = { columns: [], '--json': ['--json'] } as const;
const WITH_WHO = { columns: ['--who'], '--json': ['--json', '--who'] } as const;

export async function lines(): Promise<Row[]> {
  const { worker } = await Worker.start('connector.js');
  try {
    const formats = await inThisProcess();
    const { bare, whoColumns, whoJson, ...shown } = await takeTurns(ROUNDS, {
      bare: () => usOfConnect(worker, worker.pid),
      columns: () => usOfCommand(worker, FORMS.columns),
      whoColumns: () => usOfCommand(worker, WITH_WHO.columns),
      '--json': () => usOfCommand(worker, FORMS['--json']),
      whoJson: () => usOfCommand(worker, WITH_WHO['--json']),
    });
    const whoRow = (form: keyof typeof FORMS, us: number): Row => ({
      measure: `CPU of the command per connect, ${WITH_WHO[form].join(' ')}`,
      figure: `${us.toFixed(2)} us`,
      reference: `without --who: ${shown[form].toFixed(2)} us`,
      ratio: us / shown[form],
      bar: `ratio ${WHO_BAR}`,
      met: us / shown[form] <= WHO_BAR,
    });
    const row = (measure: string, us: number, bar?: number): Row => ({
      measure,
      figure: `${us.toFixed(2)} us`,
      reference: `an untraced connect: ${bare.toFixed(1)} us`,
      ratio: us / bare,
      ...(bar !== undefined && { bar: `ratio ${bar}`, met: us / bare <= bar }),
    });
    return [
      ...Object.entries(formats).map(([form, us]) =>
        row(`CPU from an event's bytes to its line, ${form}`, us),
      ),
      ...Object.entries(shown).map(([form, us]) =>
        row(`CPU of the command per connect, ${form}`, us, BARS[form]),
      ),
      whoRow('columns', whoColumns),
      whoRow('--json', whoJson),
    ];
  } finally {
    worker.end();
  }
}

/** The CPU time of a process per connect, us. */
async function usOfConnect(worker: Worker, pid: number): Promise<number> {
  const before = usage(pid).cpuMs;
  await worker.work(`${CONNECTS} 0`);
  if (pid !== worker.pid) await sleep(SETTLE_MS);
  return ((usage(pid).cpuMs - before) * 1000) / CONNECTS;
}

async function usOfCommand(worker: Worker, args: readonly string[]): Promise<number> {
  const tracer = command('-p', String(worker.pid), ...args);
  const lines = countLines(tracer);
  try {
    for (const first = once(tracer.stdout, 'data'); ; ) {
      await worker.work('1 0');
      if (await Promise.race([first, sleep(SETTLE_MS)])) break;
    }
    await worker.work(`${WARM_UP} 0`);
    await sleep(SETTLE_MS);
    const before = lines.count;
    const us = await usOfConnect(worker, pidOf(tracer));
    // The time of the connects that were shown; a busy machine may lose some.
    return (us * CONNECTS) / (lines.count - before);
  } finally {
    await stop(tracer);
  }
}

async function inThisProcess(): Promise<Record<keyof typeof FORMS, number>> {
  const [columns, json] = await Promise.all([formatter(FORMS.columns), formatter(FORMS['--json'])]);
  return takeTurns(ROUNDS, { columns, '--json': json });
}

/** Returns a function that formats events, and returns the CPU time of one, us. */
async function formatter(args: readonly string[]): Promise<() => Promise<number>> {
  const schema = eventOf({ v4: true, v6: true }, 'socket', {});
  const samples = new DataView(new ArrayBuffer(BATCH * schema.size));
  for (let i = 0; i < BATCH; i++)
    new Uint8Array(samples.buffer, i * schema.size).set(encodeValue(schema, event(i)));
  const sample = sampleView(schema);
  let bytes = 0;
  const output = lineOutput(
    (written) => {
      bytes += written.length;
      return written.length;
    },
    () => {},
  );
  const printer = await openPrinter(optionsFrom(args), output);
  const read = rowReader();
  return async () => {
    const before = usage(process.pid).cpuMs;
    for (let i = 0; i < EVENTS; i++) {
      printer.row(read(sample(samples, (i % BATCH) * schema.size)));
      if (i % BATCH === BATCH - 1) await undefined; // the output is written
    }
    await output.drained();
    const us = ((usage(process.pid).cpuMs - before) * 1000) / EVENTS;
    if (bytes < EVENTS * 50) throw new Error(`only ${bytes} bytes of lines`);
    return us;
  };
}

function event(i: number): ConnectEvent {
  const loopback = Uint8Array.of(127, 0, 0, 1);
  const startNs = 10n ** 14n + 20_011n * BigInt(i);
  return {
    attempt: { startNs, task: { tid: 4711, pid: 4711 }, comm: 'connector' },
    endNs: startNs + 12_345n + 37n * BigInt(i),
    latencyNs: 12_345 + 37 * i,
    ports: { remote: 40_000, local: 32_768 + i },
    family: AF_INET,
    v4: { remote: loopback, local: loopback },
    v6: { remote: new Uint8Array(16), local: new Uint8Array(16) },
  };
}
