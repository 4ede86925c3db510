/**
 * CPUs that go offline and come online while rings are open.
 *
 * The perf event of a CPU that goes offline is dead for good: when the CPU comes back, the kernel writes
 * nothing to its ring and reports no error. The list of online CPUs does not show a CPU that was offline
 * between two checks. So each check reads the number of the kernel's last uevent, which increases when a CPU
 * goes offline or comes online (or the system resumes). Only if the number has changed, it compares the list
 * of online CPUs, and at the next check whether the active time of each ring's event has increased.
 *
 * Source: kernel/events/core.c (`perf_event_exit_cpu_context`), drivers/base/core.c (`device_offline`,
 * `device_online`).
 */
import type { Kernel } from '../kernel.ts';
import { readText } from '../text.ts';
import { uptime } from '../uptime.ts';
import type { CpuRing } from './cpu-ring.ts';

/** The result of a check. */
export interface RingChanges {
  /** Rings that the kernel no longer writes to. */
  readonly dead: readonly CpuRing[];
  /** Online CPUs without a working ring. */
  readonly withoutRing: readonly number[];
  /** The earliest time when these CPUs lost their rings, in ms of `uptime()`. */
  readonly since: number;
}

/** Active times of rings at the last check. A ring whose time is the same at the next check is dead. */
interface ActiveTimes {
  readonly times: ReadonlyMap<CpuRing, bigint | undefined>;
  readonly since: number;
}

/** Compares the online CPUs with the open rings at each check. */
export class CpuWatch {
  readonly #kernel: Kernel;
  #stamp: string;
  #lastCheck = uptime();
  #activeTimes: ActiveTimes | undefined;
  readonly #excluded = new Set<number>();

  /** Begins to watch. Create it before opening the rings. */
  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#stamp = hotplugStamp(kernel);
  }

  /** Excludes a CPU whose ring cannot be opened, until the CPU was offline. */
  exclude(cpu: number): void {
    this.#excluded.add(cpu);
  }

  /**
   * Returns the changes since the last check, or undefined. `rings` are all open rings. @throws {KernelError}
   * without /sys.
   */
  check(rings: readonly CpuRing[]): RingChanges | undefined {
    const [stamp, before, activeTimes] = [hotplugStamp(this.#kernel), this.#lastCheck, this.#activeTimes];
    const changed = stamp !== this.#stamp;
    // If this throws, the next check finds the change.
    const online = new Set(changed || activeTimes ? this.#kernel.onlineCpus : []);
    this.#lastCheck = uptime();
    this.#stamp = stamp;
    this.#activeTimes = undefined;
    if (!changed && !activeTimes) return undefined;

    const stopped = rings.filter((ring) => activeTimes && hasStopped(ring, activeTimes));
    const dead = rings.filter((ring) => !online.has(ring.cpu) || stopped.includes(ring));
    const living = rings.filter((ring) => !dead.includes(ring));
    for (const cpu of this.#excluded) if (!online.has(cpu)) this.#excluded.delete(cpu);
    const served = new Set([...living.map((ring) => ring.cpu), ...this.#excluded]);
    const withoutRing = [...online].filter((cpu) => !served.has(cpu));
    if (changed)
      this.#activeTimes = {
        times: new Map(living.map((ring) => [ring, ring.activeTime()])),
        since: before,
      };
    if (dead.length === 0 && withoutRing.length === 0) return undefined;
    return { dead, withoutRing, since: stopped.length > 0 && activeTimes ? activeTimes.since : before };
  }
}

function hasStopped(ring: CpuRing, { times }: ActiveTimes): boolean {
  const before = times.get(ring);
  return before !== undefined && before === ring.activeTime();
}

/** Returns a text that changes when a CPU goes offline or comes online. */
function hotplugStamp({ syscalls }: Kernel): string {
  // Without uevents, the list of online CPUs, which does not show a CPU that came back quickly.
  for (const path of ['/sys/kernel/uevent_seqnum', '/sys/devices/system/cpu/online']) {
    const text = readText(syscalls, path);
    if (typeof text !== 'number') return text;
  }
  return '';
}
