/**
 * Flags of helpers and of map creation, by the kernel's names.
 *
 * Source: include/uapi/linux/bpf.h.
 */

/**
 * Flag of an update: creates the entry or replaces it.
 *
 * @example
 * import { BPF_ANY, hash, kprobe, mapUpdateElem, target, u32, u64 } from 'tsbpf';
 *
 * const counts = hash('counts', { key: u32, value: u64, maxEntries: 64 });
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(mapUpdateElem, counts, 7, 1, BPF_ANY));
 */
export const BPF_ANY = 0;
/** Flag of an update: creates the entry, or fails with `EEXIST` if it exists. */
export const BPF_NOEXIST = 1;
/** Flag of an update: replaces the entry, or fails with `ENOENT` if it does not exist. */
export const BPF_EXIST = 2;

/**
 * Flag of `perfEventOutput`, `perfEventRead` and `perfEventReadValue`: the entry of the CPU that runs the
 * program. Any other index is the number of a CPU.
 *
 * @example
 * import { BPF_F_CURRENT_CPU, kprobe, perfEventArray, perfEventOutput, struct, target, u64 } from 'tsbpf';
 *
 * const Event = struct({ ns: u64 });
 * const events = perfEventArray('events', Event);
 * kprobe('tcp_v4_connect', target('x64'), (b) => {
 *   const event = b.stack(Event);
 *   event.set(0);
 *   b.call(perfEventOutput, events, BPF_F_CURRENT_CPU, event);
 * });
 */
export const BPF_F_CURRENT_CPU = 0xffff_ffff;

/**
 * Flag of `getStack` and `getTaskStack`: the user stack instead of the kernel stack.
 *
 * @example
 * import { arrayOf, BPF_F_USER_STACK, getStack, kprobe, target, u64 } from 'tsbpf';
 *
 * const Stack = arrayOf(u64, 16);
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(getStack, b.stack(Stack), BPF_F_USER_STACK));
 */
export const BPF_F_USER_STACK = 0x100;
/**
 * Flag of `getStack`, together with `BPF_F_USER_STACK`: build ids and offsets instead of addresses (Linux
 * 4.18).
 */
export const BPF_F_USER_BUILD_ID = 0x800;
/** The bits of `getStack` and `getStackid` flags with the number of frames to skip. */
export const BPF_F_SKIP_FIELD_MASK = 0xff;
/** Flag of `getStackid`: compares stacks by their hash only (Linux 4.6). `b.stackId` with `fast` sets it. */
export const BPF_F_FAST_STACK_CMP = 0x200;
/**
 * Flag of `getStackid`: replaces another stack in the slot (Linux 4.6). `b.stackId` with `replace` sets it.
 */
export const BPF_F_REUSE_STACKID = 0x400;

/**
 * Flag of the storage helpers (`taskStorageGet`): creates a missing value (Linux 5.2). `b.lookup` with
 * `create` sets it.
 */
export const BPF_LOCAL_STORAGE_GET_F_CREATE = 1;

/**
 * Flag of `b.output`, `b.submit` and `b.discard` for a ring buffer: does not wake the reader (Linux 5.8). The
 * reader finds the event at its next wake-up or interval (`flushMs`).
 *
 * @example
 * import { BPF_RB_NO_WAKEUP, kprobe, ringBuffer, struct, target, u64 } from 'tsbpf';
 *
 * const Event = struct({ pointer: u64 });
 * const events = ringBuffer('events', Event, { bytes: 65_536 });
 * kprobe('tcp_v4_connect', target('x64'), (b) => {
 *   const event = b.stack(Event);
 *   event.pointer.set(b.arg(0));
 *   b.output(events, event, BPF_RB_NO_WAKEUP);
 * });
 */
export const BPF_RB_NO_WAKEUP = 1;
/**
 * Flag of `b.output`, `b.submit` and `b.discard` for a ring buffer: wakes the reader even if it is still
 * reading earlier events (Linux 5.8).
 */
export const BPF_RB_FORCE_WAKEUP = 2;
/** Flag of `ringbufQuery`: the number of bytes that are not read yet. */
export const BPF_RB_AVAIL_DATA = 0;
/** Flag of `ringbufQuery`: the size in bytes. */
export const BPF_RB_RING_SIZE = 1;
/** Flag of `ringbufQuery`: the position of the reader in bytes. */
export const BPF_RB_CONS_POS = 2;
/** Flag of `ringbufQuery`: the position of the writers in bytes. */
export const BPF_RB_PROD_POS = 3;

/** Flag of a hash map: allocates entries when they are added, not when the map is created (Linux 4.6). */
export const BPF_F_NO_PREALLOC = 0x1;
/**
 * Flag of an LRU hash map: each CPU has its own LRU list, which is faster but evicts less accurately (Linux
 * 4.10).
 */
export const BPF_F_NO_COMMON_LRU = 0x2;
/** Flag of a map: read-only for this process (Linux 4.15). */
export const BPF_F_RDONLY = 0x8;
/** Flag of a map: write-only for this process (Linux 4.15). */
export const BPF_F_WRONLY = 0x10;
/** Flag of a map: read-only for programs (Linux 5.2). `constants` sets it. */
export const BPF_F_RDONLY_PROG = 0x80;
/** Flag of a map: write-only for programs (Linux 5.2). */
export const BPF_F_WRONLY_PROG = 0x100;
/** Flag of an array: processes may map its values into memory (Linux 5.5). `globals` sets it. */
export const BPF_F_MMAPABLE = 0x400;
/**
 * Flag of an array that is the `inner` of a map of maps: the inner maps may differ in their number of entries
 * (Linux 5.10).
 */
export const BPF_F_INNER_MAP = 0x1000;
