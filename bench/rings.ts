/**
 * The speed of reading event rings. A program on sys_enter sends 64 bytes at each getpid() of one process
 * that does nothing else. The system calls limit the rate, and the reader is idle most of the time; so the
 * measure is repeated with four records per call. Even then the sender limits perf rings, whose output costs
 * more than that to a ring buffer; so their bar is that nothing is lost. With a wake-up per event, the traced
 * process pays for the wake-ups. The reference of each perf ring is a ring buffer of the same size with as
 * many records per call.
 */
import { assemble } from '../src/asm/assemble.ts';
import { type EventsSpec, isRingBuffer, perfEventArray, ringBuffer } from '../src/asm/events.ts';
import { BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP } from '../src/asm/flags.ts';
import { getCurrentPidTgid } from '../src/asm/helpers.ts';
import { rawTracepoint } from '../src/asm/hooks.ts';
import { bytes, struct, u64n } from '../src/asm/layout.ts';
import type { MapSpec } from '../src/asm/map.ts';
import { target } from '../src/asm/target.ts';
import { Kernel } from '../src/loader/kernel.ts';
import { attach } from '../src/loader/link.ts';
import { loadProgram } from '../src/loader/load.ts';
import { BpfMap } from '../src/loader/map.ts';
import type { Wakeup } from '../src/loader/perf-buffer/options.ts';
import { PerfBuffer } from '../src/loader/perf-buffer.ts';
import { Resources } from '../src/loader/resources.ts';
import { RingBuffer } from '../src/loader/ring-buffer.ts';
import { median, millions, type Row, sleep } from './measure.ts';
import { Worker } from './worker.ts';

const ROUNDS = 5;
const RING_BYTES = 8 << 20;
/** How often the ring buffer is read, ms: it is full after 30. */
const RING_FLUSH_MS = 10;
/** Pause between attaching and the first call, ms. */
const SETTLE_MS = 50;
/** `__NR_getpid` */
const GETPID = process.arch === 'arm64' ? 172 : 39;

type PerfWakeup = Exclude<Wakeup, 'adaptive'>;
type RingWakeup = { readonly flags: number };

/** A flood, once into perf rings and once into a ring buffer. */
interface Flood {
  readonly name: string;
  readonly calls: number;
  readonly recordsPerCall: number;
  readonly perf: PerfWakeup;
  readonly ring: RingWakeup;
  /** Whether no event may be lost. */
  readonly lossless?: true;
}

const late = { perf: { flushMs: 100 }, ring: { flags: BPF_RB_NO_WAKEUP } };

const FLOODS: readonly Flood[] = [
  { name: 'late wake-ups, 4 records per call', calls: 1_000_000, recordsPerCall: 4, ...late, lossless: true },
  { name: 'late wake-ups, 1 record per call', calls: 3_000_000, recordsPerCall: 1, ...late },
  {
    name: 'a wake-up per event',
    calls: 200_000,
    recordsPerCall: 1,
    perf: { events: 1 },
    ring: { flags: BPF_RB_FORCE_WAKEUP },
  },
];

const Event = struct({ mark: u64n, fill: bytes(56) });
const MARK = 0x5eed;

export async function rings(): Promise<Row[]> {
  const { worker: sender } = await Worker.start('sender.js');
  const runs = FLOODS.map(() => ({ perf: [] as Run[], ring: [] as Run[] }));
  try {
    for (let round = 0; round < ROUNDS; round++)
      for (const [i, flood] of FLOODS.entries()) {
        runs[i]?.ring.push(await read(sender, flood, flood.ring));
        runs[i]?.perf.push(await read(sender, flood, flood.perf));
      }
  } finally {
    sender.end();
  }
  return FLOODS.map(({ name, lossless }, i) => {
    const { perf, ring } = runs[i] as { perf: Run[]; ring: Run[] };
    const ratio = rate(perf) / rate(ring);
    // The median run counts: 8 MiB are full after 30 ms, and a busy machine can delay the reader for longer.
    const loses = perf.filter(({ lost }) => lost > 0).length * 2 >= perf.length;
    return {
      measure: `perf rings, ${name}`,
      figure: described(perf),
      reference: `a ring buffer: ${described(ring)}`,
      ratio,
      ...(lossless && { bar: '0 lost', met: !loses }),
    };
  });
}

/** Records per second. */
function rate(runs: readonly Run[]): number {
  return median(runs.map((run) => run.rate));
}

function described(runs: readonly Run[]): string {
  const busy = median(runs.map((run) => run.busy));
  const losing = runs.filter((run) => run.lost > 0);
  const most = Math.max(...runs.map((run) => run.lost));
  const losses =
    losing.length === 0 ? '0 lost' : `${losing.length} of ${runs.length} runs lost up to ${most}`;
  return `${millions(rate(runs))}, ${losses}, reader ${Math.round(busy * 100)}% busy`;
}

/** The result of reading one flood. */
interface Run {
  /** Records per second. */
  readonly rate: number;
  readonly lost: number;
  /** The share of the time that this process, the reader, spent on a CPU. */
  readonly busy: number;
}

/** Starts a flood and reads it; the time runs from the request to the last record. */
async function read(
  sender: Worker,
  { calls, recordsPerCall }: Flood,
  by: PerfWakeup | RingWakeup,
): Promise<Run> {
  const resources = new Resources();
  const counts = { seen: 0, lost: 0 };
  const records = calls * recordsPerCall;
  try {
    const buffer = open(program(sender.pid, recordsPerCall, by), by, counts, resources);
    await sleep(SETTLE_MS);
    const [begin, cpu] = [performance.now(), process.cpuUsage()];
    await sender.work(String(calls));
    buffer.drain();
    const [seconds, { user, system }] = [(performance.now() - begin) / 1000, process.cpuUsage(cpu)];
    buffer.close(); // reports the last losses
    if (counts.seen + counts.lost !== records)
      throw new Error(`${counts.seen} read and ${counts.lost} lost of ${records}`);
    return { rate: counts.seen / seconds, lost: counts.lost, busy: (user + system) / 1e6 / seconds };
  } finally {
    resources.close();
  }
}

/** Attaches the program and counts its records from now on. */
function open(
  { spec, events }: ReturnType<typeof program>,
  by: PerfWakeup | RingWakeup,
  counts: { seen: number; lost: number },
  resources: Resources,
): PerfBuffer | RingBuffer {
  const kernel = new Kernel();
  const map = resources.add(BpfMap.create(kernel, events));
  const lost = isRingBuffer(events) ? resources.add(BpfMap.create(kernel, events.lost)) : undefined;
  const maps = new Map<MapSpec, BpfMap>([[events, map]]);
  if (isRingBuffer(events)) maps.set(events.lost, lost as unknown as BpfMap);
  const loaded = resources.add(loadProgram(kernel, spec, assemble(spec.instructions), maps));
  const handlers = {
    onSample(view: DataView, offset: number) {
      if (view.getUint32(offset, true) !== MARK) throw new Error('a record without its mark');
      counts.seen++;
    },
    onLost(count: number) {
      counts.lost += count;
    },
  };
  const buffer =
    'flags' in by
      ? RingBuffer.open(kernel, map, { lost, flushMs: RING_FLUSH_MS, ...handlers })
      : PerfBuffer.open(kernel, map, {
          pagesPerCpu: RING_BYTES / kernel.pageSize,
          wakeup: by,
          sampleBytes: Event.size,
          ...handlers,
        });
  resources.add(buffer);
  resources.add(attach(kernel, loaded));
  return buffer;
}

/** The arguments of sys_enter are a `struct pt_regs *` and the system call number. */
function program(pid: number, recordsPerCall: number, by: PerfWakeup | RingWakeup) {
  const flags = 'flags' in by ? by.flags : undefined;
  const events: EventsSpec<typeof Event> =
    flags === undefined
      ? perfEventArray('events', Event)
      : ringBuffer('events', Event, { bytes: RING_BYTES });
  const spec = rawTracepoint('sys_enter', target(process.arch), (b) => {
    b.if(b.arg(1).ne(GETPID), () => b.exit());
    b.keep(b.context);
    b.if(b.call(getCurrentPidTgid).rsh(32).ne(pid), () => b.exit());
    const event = b.stack(Event);
    event.set(0);
    event.mark.set(MARK);
    for (let record = 0; record < recordsPerCall; record++) b.output(events, event, flags);
  });
  return { spec, events };
}
