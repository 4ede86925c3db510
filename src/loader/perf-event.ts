/**
 * Numbers of perf events.
 *
 * Source: man 2 perf_event_open, include/uapi/linux/perf_event.h.
 */

/** The descriptor is closed by `exec`. */
export const PERF_FLAG_FD_CLOEXEC = 8;

/** `PERF_EVENT_IOC_ENABLE`. */
export const IOC_ENABLE = 0x2400;
/** `PERF_EVENT_IOC_DISABLE`. */
export const IOC_DISABLE = 0x2401;
/** `PERF_EVENT_IOC_SET_BPF`. */
export const IOC_SET_BPF = 0x4004_2408;

/** `PERF_TYPE_SOFTWARE`. */
export const TYPE_SOFTWARE = 1;
/** `PERF_TYPE_TRACEPOINT`; which one is said by its id. */
export const TYPE_TRACEPOINT = 2;
/** `PERF_COUNT_SW_BPF_OUTPUT`. */
export const COUNT_SW_BPF_OUTPUT = 10;
/** `PERF_SAMPLE_RAW`. */
export const SAMPLE_RAW = 1 << 10;
/** `PERF_FORMAT_TOTAL_TIME_RUNNING`: reading the descriptor tells for how many ns the event was able to count. */
export const FORMAT_RUNNING = 1 << 1;
/** `PERF_FORMAT_LOST`: reading the descriptor tells how many samples were lost (Linux 6.0). */
export const FORMAT_LOST = 1 << 4;
/** The bit `watermark` among the attribute's flags: wake up by bytes instead of by events. */
export const FLAG_WATERMARK = 1 << 14;

/** Kinds of records in a ring (`enum perf_event_type`). */
export const RECORD_LOST = 2;
export const RECORD_SAMPLE = 9;

/** Where page 0 of a mapping keeps its numbers (`struct perf_event_mmap_page`), as indices of 64-bit words. */
export const PageWord = { head: 1024 / 8, tail: 1032 / 8, dataOffset: 1040 / 8, dataSize: 1048 / 8 } as const;
