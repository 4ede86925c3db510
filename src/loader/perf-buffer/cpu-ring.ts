/** The perf ring of one CPU: opened, mapped, and set in a map under the CPU's number. */
import { Attr, allocate, Descriptor } from '../bpf.ts';
import { Errno } from '../errno.ts';
import { KernelError, mmapHint, NotPermittedError } from '../errors.ts';
import type { Report } from '../handlers.ts';
import type { Kernel } from '../kernel.ts';
import type { BpfMap } from '../map.ts';
import {
  COUNT_SW_BPF_OUTPUT,
  FLAG_USE_CLOCKID,
  FLAG_WATERMARK,
  FORMAT_LOST,
  FORMAT_RUNNING,
  IOC_DISABLE,
  IOC_ENABLE,
  IOC_SET_OUTPUT,
  PERF_FLAG_FD_CLOEXEC,
  SAMPLE_RAW,
  SAMPLE_TIME,
  TYPE_SOFTWARE,
} from '../perf-event.ts';
import { kernelError } from '../permission.ts';
import { allOrNothing, type Closeable } from '../resources.ts';
import { Clock, type Poll } from '../syscalls.ts';
import { readText } from '../text.ts';
import { waitForEvents } from '../turns.ts';
import { Pace } from './pace.ts';
import { type LostHandler, PerfRing, sampleLayout } from './perf-ring.ts';
import type { TimeOrder } from './time-order.ts';

/** When the kernel wakes the reader: after a number of samples, or of bytes. */
export type RingWakeup = { readonly events: number } | { readonly watermarkBytes: number };

/** How the rings of a perf buffer are opened. */
export interface RingSettings {
  readonly pages: number;
  readonly wakeup: RingWakeup;
  /** Whether the ring can change to batched wake-ups. */
  readonly adaptive: boolean;
  /** The offset of the time in samples. Without it, the kernel adds a time. */
  readonly timestamp?: number;
  readonly order: TimeOrder;
}

/** An open perf ring. Owns its descriptor and mapping. */
export class CpuRing implements Closeable {
  readonly cpu: number;
  /** Reads the records. */
  readonly records: PerfRing;
  readonly pace = new Pace();
  readonly #kernel: Kernel;
  readonly #map: BpfMap;
  readonly #descriptor: Descriptor;
  readonly #mapping: ArrayBuffer;
  /** The event with batched wake-ups. */
  #batching: Descriptor | undefined;
  #isBatching = false;
  #poll: Poll | undefined;
  /** The lost samples that `finish` has reported. */
  #lostLast = 0;
  #closed = false;

  /** Takes ownership of the descriptors and the mapping. */
  constructor(
    kernel: Kernel,
    map: BpfMap,
    cpu: number,
    settings: RingSettings,
    descriptor: Descriptor,
    mapping: ArrayBuffer,
    batching: Descriptor | undefined,
  ) {
    this.cpu = cpu;
    this.records = new PerfRing(mapping, cpu, sampleLayout(settings.timestamp), settings.order);
    this.#kernel = kernel;
    this.#map = map;
    this.#descriptor = descriptor;
    this.#mapping = mapping;
    this.#batching = batching;
  }

  /** Whether the kernel wakes the reader for each quarter of the ring, instead of as it was opened. */
  get hasBatchedWakeups(): boolean {
    return this.#isBatching;
  }

  /**
   * Switches between wake-ups for each quarter of the ring, and wake-ups as the ring was opened. The map then
   * holds another event, which writes to the same ring. If the kernel has refused that event, or refuses it
   * now, the wake-ups stay as they are.
   */
  batchWakeups(batched: boolean): void {
    if (batched === this.#isBatching) return;
    const event = batched ? this.#batching : this.#descriptor;
    if (!event) return;
    try {
      this.#map.update(this.cpu, event.fd);
      this.#isBatching = batched;
    } catch {
      // The other event still writes to the ring.
      if (!batched) return;
      event.close();
      this.#batching = undefined;
    }
  }

  /**
   * Calls `onReadable` when the kernel wakes the reader. If the wait fails later, `report` gets the error,
   * and the calls end. @throws {KernelError} if the wait cannot begin.
   */
  wait(onReadable: () => void, report: Report): void {
    this.#poll = waitForEvents(this.#kernel, this.#descriptor.fd, `CPU ${this.cpu}`, onReadable, report);
  }

  /**
   * Reports the last lost samples. The kernel writes a lost record together with the next sample, so the last
   * loss may have none; the event's counter includes it (Linux 6.0). Call this after the ring was read for
   * the last time.
   */
  finish(onLost: LostHandler): void {
    const lost = this.#events().reduce((sum, event) => sum + Number(this.#counts(event)[2] ?? 0n), 0);
    const unreported = lost - this.records.lost - this.#lostLast;
    if (unreported <= 0) return;
    this.#lostLast += unreported;
    onLost(unreported, this.cpu);
  }

  /**
   * Reads how long the event has been active, in ns. The time stops when the CPU goes offline, and does not
   * continue when it comes back: the ring must be opened again then. Undefined if the read fails. Interrupts
   * the CPU.
   */
  activeTime(): bigint | undefined {
    return this.#counts(this.#descriptor)[1];
  }

  /**
   * Reads the event's counters: samples, active time in ns and, since Linux 6.0, lost samples. Empty if the
   * read fails.
   */
  #counts({ fd }: Descriptor): readonly bigint[] {
    const counts = allocate(24);
    const bytes = this.#kernel.syscalls.read(fd, counts);
    return [...new BigUint64Array(counts.buffer)].slice(0, Math.max(bytes, 0) / 8);
  }

  /** The events that write to the ring. */
  #events(): readonly Descriptor[] {
    return this.#batching ? [this.#descriptor, this.#batching] : [this.#descriptor];
  }

  /** Disables the events: the ring gets no more samples. Written samples can still be read. */
  stop(): void {
    for (const { fd } of this.#events()) this.#kernel.syscalls.ioctl(fd, IOC_DISABLE, 0);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#poll?.close();
    this.records.release();
    this.#kernel.syscalls.munmap(this.#mapping);
    for (const event of this.#events()) event.close();
  }
}

/** The errnos of a kernel that does not know PERF_COUNT_SW_BPF_OUTPUT. */
const NO_BPF_OUTPUT: ReadonlySet<number> = new Set([Errno.EINVAL, Errno.ENOENT, Errno.EOPNOTSUPP]);

/**
 * Opens the ring of a CPU, and sets it in the map. Returns undefined if the CPU is offline.
 * @throws {NotPermittedError} @throws {KernelError}
 */
export function openCpuRing(
  kernel: Kernel,
  map: BpfMap,
  cpu: number,
  settings: RingSettings,
): CpuRing | undefined {
  const fd = openEvent(kernel, cpu, settings);
  if (fd === -Errno.ENODEV) return undefined;
  const tried = `open the perf ring of CPU ${cpu}`;
  if (fd < 0)
    throw kernelError(kernel, {
      syscall: 'perf_event_open',
      errno: -fd,
      tried,
      hint: NO_BPF_OUTPUT.has(-fd)
        ? 'this kernel has no perf events for BPF programs (Linux 4.4 and later, CONFIG_PERF_EVENTS)'
        : undefined,
    });
  return allOrNothing((resources) => {
    const descriptor = resources.add(new Descriptor(kernel.syscalls, fd, `the perf ring of CPU ${cpu}`));
    const mapping = mapRing(kernel, descriptor.fd, cpu, settings.pages);
    resources.add({ close: () => kernel.syscalls.munmap(mapping) });
    const batching = settings.adaptive ? openBatching(kernel, cpu, settings, descriptor) : undefined;
    if (batching) resources.add(batching);
    const ring = new CpuRing(kernel, map, cpu, settings, descriptor, mapping, batching);
    map.update(cpu, descriptor.fd);
    const enabled = kernel.syscalls.ioctl(descriptor.fd, IOC_ENABLE, 0);
    if (enabled < 0)
      throw kernelError(kernel, { syscall: 'ioctl(PERF_EVENT_IOC_ENABLE)', errno: -enabled, tried });
    return ring;
  });
}

/**
 * Opens a second event that writes to the ring of the first, and wakes the reader for each quarter of it. It
 * is opened with the ring, and not at the first burst, because the process may have dropped its privileges by
 * then. Returns undefined if the kernel refuses it.
 */
function openBatching(
  kernel: Kernel,
  cpu: number,
  settings: RingSettings,
  ring: Descriptor,
): Descriptor | undefined {
  const wakeup = { watermarkBytes: (settings.pages * kernel.pageSize) / 4 };
  const fd = openEvent(kernel, cpu, { ...settings, wakeup });
  if (fd < 0) return undefined;
  const event = new Descriptor(kernel.syscalls, fd, `the second event of CPU ${cpu}`);
  if (kernel.syscalls.ioctl(event.fd, IOC_SET_OUTPUT, ring.fd) === 0) return event;
  event.close();
  return undefined;
}

function openEvent(kernel: Kernel, cpu: number, { wakeup, timestamp }: RingSettings): number {
  const byBytes = 'watermarkBytes' in wakeup;
  const timed = timestamp === undefined;
  const open = (readFormat: bigint): number =>
    // struct perf_event_attr: type, size, config, sample_period, sample_type, read_format, flags, wakeup_*,
    // and at 92 clockid.
    new Attr(kernel.syscalls, 96)
      .u32(0, TYPE_SOFTWARE)
      .u32(4, 96)
      .u64(8, BigInt(COUNT_SW_BPF_OUTPUT))
      .u64(16, 1n)
      .u64(24, BigInt(SAMPLE_RAW | (timed ? SAMPLE_TIME : 0)))
      .u64(32, readFormat)
      .u64(40, BigInt((byBytes ? FLAG_WATERMARK : 0) | (timed ? FLAG_USE_CLOCKID : 0)))
      .u32(48, byBytes ? wakeup.watermarkBytes : wakeup.events)
      .u32(92, timed ? Clock.monotonic : 0)
      .use((bytes) => kernel.syscalls.perfEventOpen(bytes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC));
  const fd = open(BigInt(FORMAT_RUNNING | FORMAT_LOST));
  return fd === -Errno.EINVAL ? open(BigInt(FORMAT_RUNNING)) : fd;
}

function mapRing(kernel: Kernel, fd: number, cpu: number, pages: number): ArrayBuffer {
  const length = (1 + pages) * kernel.pageSize;
  const mapping = kernel.syscalls.mmap(fd, length);
  if (typeof mapping !== 'number') return mapping;
  const failure = {
    syscall: 'mmap',
    errno: -mapping,
    tried: `map the perf ring of CPU ${cpu}, ${length} bytes`,
  };
  if (mapping === -Errno.EPERM)
    throw new NotPermittedError({
      ...failure,
      hint:
        `perf rings beyond kernel.perf_event_mlock_kb (now ${mlockKb(kernel)}) need CAP_IPC_LOCK; ` +
        'use fewer pages, or raise the setting with sysctl',
    });
  throw new KernelError({ ...failure, hint: mmapHint(-mapping, 'use fewer pages') });
}

function mlockKb(kernel: Kernel): string {
  const text = readText(kernel.syscalls, '/proc/sys/kernel/perf_event_mlock_kb');
  return typeof text === 'number' ? 'unknown' : `${text.trim()} KiB for each CPU`;
}
