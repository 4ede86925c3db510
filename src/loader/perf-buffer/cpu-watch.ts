/**
 * CPUs that go offline and come online while rings are open.
 *
 * A perf event of a CPU that goes offline is dead for good: when the CPU comes back nothing can be written to its ring, and
 * nothing says so. One that was away for less than the time between two looks is still in the list of those online. So
 * each look reads the number of the kernel's last uevent, which taking a CPU away or bringing it back raises (resuming
 * from suspension too), and only where that has changed looks closer: at the list, and, until the next look, at whether the clocks
 * of the rings' events go on.
 *
 * Source: kernel/events/core.c (`perf_event_exit_cpu_context`), drivers/base/core.c (`device_offline`, `device_online`).
 */
import type { Kernel } from '../kernel.ts';
import { uptime } from '../uptime.ts';
import type { CpuRing } from './cpu-ring.ts';

/** What a look has found. */
export interface CpuNews {
  /** Rings that nothing will be written to any more. */
  readonly dead: readonly CpuRing[];
  /** CPUs that are online and have no ring that works. */
  readonly without: readonly number[];
  /** They have had none since then at the earliest, in ms of `uptime()`. */
  readonly since: number;
}

/** Suspects: whether their clocks, which stood at that, have gone on shows the next look. */
interface Suspicion {
  readonly clocks: ReadonlyMap<CpuRing, bigint | undefined>;
  readonly since: number;
}

/** Compares what is online with the rings there are, whenever it is asked to. */
export class CpuWatch {
  readonly #kernel: Kernel;
  #mark: string;
  #looked = uptime();
  #suspicion: Suspicion | undefined;
  readonly #givenUp = new Set<number>();

  /** Begins to watch: to be made before the rings are opened. */
  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#mark = markOf(kernel);
  }

  /** A ring can't be had for that CPU: it isn't asked for until the CPU comes back from having been away. */
  giveUp(cpu: number): void {
    this.#givenUp.add(cpu);
  }

  /** What has happened since the last look; undefined where nothing has. `rings` are all there are. @throws where /sys has gone. */
  look(rings: readonly CpuRing[]): CpuNews | undefined {
    const [mark, before, suspicion] = [markOf(this.#kernel), this.#looked, this.#suspicion];
    const changed = mark !== this.#mark;
    // If this throws, the next look finds the change.
    const online = new Set(changed || suspicion ? this.#kernel.onlineCpus : []);
    this.#looked = uptime();
    this.#mark = mark;
    this.#suspicion = undefined;
    if (!changed && !suspicion) return undefined;

    const stopped = rings.filter((ring) => suspicion && hasStopped(ring, suspicion));
    const dead = rings.filter((ring) => !online.has(ring.cpu) || stopped.includes(ring));
    const living = rings.filter((ring) => !dead.includes(ring));
    for (const cpu of this.#givenUp) if (!online.has(cpu)) this.#givenUp.delete(cpu);
    const served = new Set([...living.map((ring) => ring.cpu), ...this.#givenUp]);
    const without = [...online].filter((cpu) => !served.has(cpu));
    if (changed)
      this.#suspicion = { clocks: new Map(living.map((ring) => [ring, ring.clock()])), since: before };
    if (dead.length === 0 && without.length === 0) return undefined;
    return { dead, without, since: stopped.length > 0 && suspicion ? suspicion.since : before };
  }
}

function hasStopped(ring: CpuRing, { clocks }: Suspicion): boolean {
  const then = clocks.get(ring);
  return then !== undefined && then === ring.clock();
}

/** A text that is another one when CPUs have come or gone. */
function markOf({ syscalls }: Kernel): string {
  // Without uevents it is the list itself, which hides a CPU that came back quickly.
  for (const path of ['/sys/kernel/uevent_seqnum', '/sys/devices/system/cpu/online']) {
    const bytes = syscalls.readFile(path);
    if (typeof bytes !== 'number') return Buffer.from(bytes).toString('latin1');
  }
  return '';
}
