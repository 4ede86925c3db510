/**
 * Constants of perf events.
 *
 * Source: man 2 perf_event_open, include/uapi/linux/perf_event.h.
 */
import type { KernelFacts } from './kernel-facts.ts';
import { readText } from './text.ts';

/** Closes the descriptor on `exec`. */
export const PERF_FLAG_FD_CLOEXEC = 8;

/** `BPF_PERF_EVENT`: the attach type of a link to a perf event (Linux 5.15). */
export const LINK_TO_PERF_EVENT = 41;

/** `PERF_EVENT_IOC_ENABLE`. */
export const IOC_ENABLE = 0x2400;
/** `PERF_EVENT_IOC_DISABLE`. */
export const IOC_DISABLE = 0x2401;
/** `PERF_EVENT_IOC_SET_OUTPUT`; the argument is the descriptor of the event whose ring to write to. */
export const IOC_SET_OUTPUT = 0x2405;
/** `PERF_EVENT_IOC_SET_BPF`. */
export const IOC_SET_BPF = 0x4004_2408;

/** `PERF_TYPE_SOFTWARE`. */
export const TYPE_SOFTWARE = 1;
/** `PERF_TYPE_TRACEPOINT`; the config field is the id of the tracepoint. */
export const TYPE_TRACEPOINT = 2;
/** `PERF_COUNT_SW_BPF_OUTPUT`. */
export const COUNT_SW_BPF_OUTPUT = 10;
/** `PERF_SAMPLE_TIME`. */
export const SAMPLE_TIME = 1 << 2;
/** `PERF_SAMPLE_RAW`. */
export const SAMPLE_RAW = 1 << 10;
/**
 * `PERF_FORMAT_TOTAL_TIME_RUNNING`: reading the descriptor returns the time that the event was active, in ns.
 */
export const FORMAT_RUNNING = 1 << 1;
/** `PERF_FORMAT_LOST`: reading the descriptor returns the number of lost samples (Linux 6.0). */
export const FORMAT_LOST = 1 << 4;
/** The attribute's flag `watermark`: the kernel wakes the reader by bytes instead of events. */
export const FLAG_WATERMARK = 1 << 14;
/** The attribute's flag `use_clockid`: samples have times of the clock `clockid` (Linux 4.1). */
export const FLAG_USE_CLOCKID = 1 << 25;

/** Record types in a perf ring (`enum perf_event_type`). */
export const RECORD_LOST = 2;
export const RECORD_SAMPLE = 9;

/** Fields of a mapping's first page (`struct perf_event_mmap_page`), as indices of 64-bit words. */
export const PageWord = { head: 1024 / 8, tail: 1032 / 8, dataOffset: 1040 / 8, dataSize: 1048 / 8 } as const;

/**
 * An online CPU for an event that is not about a CPU, such as a kprobe, which runs on all of them: CPU 0 may
 * be offline. 0 if /sys is not mounted.
 */
export function anyCpu({ syscalls }: Pick<KernelFacts, 'syscalls'>): number {
  const text = readText(syscalls, '/sys/devices/system/cpu/online');
  return typeof text === 'number' ? 0 : Number.parseInt(text, 10);
}
