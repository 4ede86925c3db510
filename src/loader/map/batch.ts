/**
 * Batch calls: many entries of a map in one system call (Linux 5.6).
 *
 * The kernel reads a hash table bucket by bucket, each under its lock, and continues at a bucket number. An
 * update moves a key only within its bucket, so one pass reads each key that stays in the map exactly once,
 * and no key twice, even while programs change the map. An array is read index by index. Both kinds of map,
 * and no others, are read in batches: the kernel's generic batch for tries and arrays of maps walks from key
 * to key as `Elements.read` does, without its checks.
 *
 * Source: kernel/bpf/hashtab.c (`__htab_map_lookup_and_delete_batch`), kernel/bpf/syscall.c
 * (`generic_map_lookup_batch`, `generic_map_update_batch`, `generic_map_delete_batch`).
 */
import { type MapSpec, MapType } from '../../asm/map.ts';
import { Attr, allocate, Command, type Descriptor } from '../bpf.ts';
import { Errno } from '../errno.ts';
import type { Kernel } from '../kernel.ts';

/** The limits of a chunk in entries and in bytes. The kernel copies one in about a millisecond. */
const [MAX_ENTRIES, MAX_BYTES] = [4096, 1 << 20];

/** Entries as bytes, keys and values each back to back. The first `count` of `capacity` are valid. */
export class Chunk {
  readonly capacity: number;
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  readonly keyView: DataView;
  readonly valueView: DataView;
  count = 0;

  constructor(capacity: number, keyBytes: number, valueBytes: number) {
    this.capacity = capacity;
    this.keys = allocate(capacity * keyBytes);
    this.values = allocate(capacity * valueBytes);
    this.keyView = new DataView(this.keys.buffer);
    this.valueView = new DataView(this.values.buffer);
  }
}

const HASHES: readonly MapType[] = [
  ...[MapType.hash, MapType.lruHash, MapType.perCpuHash, MapType.lruPerCpuHash],
];

/** The map types whose batches are complete, by command. Kernels support some of them later than others. */
const SUPPORTED: { readonly [command: number]: ReadonlySet<MapType> } = {
  [Command.mapLookupBatch]: new Set([...HASHES, ...[MapType.hashOfMaps, MapType.array, MapType.perCpuArray]]),
  [Command.mapLookupAndDeleteBatch]: new Set(HASHES),
  [Command.mapUpdateBatch]: new Set([...HASHES, ...[MapType.array, MapType.perCpuArray, MapType.lpmTrie]]),
  [Command.mapDeleteBatch]: new Set([...HASHES, MapType.lpmTrie]),
};

/** Answers of kernels without batches, or without batches for this map type; EPERM from a sandbox. */
const UNSUPPORTED: ReadonlySet<number> = new Set([Errno.EINVAL, Errno.ENOTSUPP, Errno.EPERM]);

/** Answers after which the next call continues: others changed the entry or hold the lock of its bucket. */
const PASSING: ReadonlySet<number> = new Set([Errno.EINTR, Errno.EAGAIN, Errno.EBUSY]);

/** How often a call without progress is repeated after such an answer. */
const MAX_REPEATS = 100;

/** Offsets into `struct { ... } batch` of `union bpf_attr`. */
const At = { in: 0, out: 8, keys: 16, values: 24, count: 32, fd: 36, size: 56 } as const;

/** The batch calls of one map. Remembers the commands that the kernel does not support for it. */
export class Batches {
  readonly #kernel: Kernel;
  readonly #spec: MapSpec;
  readonly #descriptor: Descriptor;
  readonly #keyBytes: number;
  readonly #valueBytes: number;
  readonly #unsupported = new Set<number>();
  /** The memory of the last pass, for the next one. */
  #spare: Chunk | undefined;

  constructor(kernel: Kernel, spec: MapSpec, descriptor: Descriptor, keyBytes: number, valueBytes: number) {
    this.#kernel = kernel;
    this.#spec = spec;
    this.#descriptor = descriptor;
    this.#keyBytes = keyBytes;
    this.#valueBytes = valueBytes;
  }

  /** Whether a command is worth trying. */
  has(command: number): boolean {
    return SUPPORTED[command]?.has(this.#spec.type) === true && !this.#unsupported.has(command);
  }

  /**
   * Reads all entries, chunk by chunk; `mapLookupAndDeleteBatch` also deletes them. A chunk is valid until
   * the next step. Returns the errno that ended the pass, 0 at its end, or `unsupported` before the first
   * chunk.
   */
  *read(command: number): Generator<Chunk, number | 'unsupported', undefined> {
    // The position is a u32 for hash tables and a key for arrays.
    const position = allocate(Math.max(4, this.#keyBytes));
    const attr = this.#attr().pointer(At.out, position);
    const use = (next: Chunk): Chunk => {
      attr.pointer(At.keys, next.keys).pointer(At.values, next.values);
      return next;
    };
    let chunk = use(this.#spare ?? this.chunk(this.#spec.maxEntries));
    this.#spare = undefined;
    let [isFirst, repeats] = [true, 0];
    try {
      for (;;) {
        const result = this.#send(command, attr, chunk.capacity);
        const errno = result < 0 ? -result : 0;
        if (isFirst && UNSUPPORTED.has(errno)) {
          this.#unsupported.add(command);
          return 'unsupported';
        }
        // A bucket is larger than the chunk.
        if (errno === Errno.ENOSPC)
          chunk = use(new Chunk(chunk.capacity * 2, this.#keyBytes, this.#valueBytes));
        else if (errno === 0 || errno === Errno.ENOENT || PASSING.has(errno)) {
          chunk.count = attr.getU32(At.count);
          isFirst = false;
          repeats = chunk.count > 0 ? 0 : repeats + 1;
          if (chunk.count > 0) yield chunk;
          if (errno === Errno.ENOENT) return 0;
          if (repeats > MAX_REPEATS) return errno;
        } else return errno;
        attr.pointer(At.in, position);
      }
    } finally {
      this.#spare = chunk;
    }
  }

  /**
   * Updates or deletes the entries of a chunk from `start` on. Returns the number of entries that succeeded,
   * with the errno of the one after them, or `unsupported`.
   */
  write(command: number, chunk: Chunk, start: number): { done: number; errno: number } | 'unsupported' {
    const rest = chunk.count - start;
    const attr = this.#attr().pointer(At.keys, chunk.keys.subarray(start * this.#keyBytes));
    if (command === Command.mapUpdateBatch)
      attr.pointer(At.values, chunk.values.subarray(start * this.#valueBytes));
    const result = this.#send(command, attr, rest);
    if (result >= 0) return { done: rest, errno: 0 };
    // The kernel leaves the count as it was if it fails before the first entry (always before Linux 6.7).
    const count = attr.getU32(At.count);
    const isStarted = count < rest;
    if (!isStarted && UNSUPPORTED.has(-result)) {
      this.#unsupported.add(command);
      return 'unsupported';
    }
    return { done: isStarted ? count : 0, errno: -result };
  }

  /** Memory for up to `entries` entries, or for as many as one call should have. */
  chunk(entries: number): Chunk {
    const fitting = Math.floor(MAX_BYTES / (this.#keyBytes + this.#valueBytes));
    return new Chunk(Math.max(1, Math.min(entries, MAX_ENTRIES, fitting)), this.#keyBytes, this.#valueBytes);
  }

  #attr(): Attr {
    return new Attr(this.#kernel.syscalls, At.size);
  }

  #send(command: number, attr: Attr, count: number): number {
    return attr.u32(At.count, count).u32(At.fd, this.#descriptor.fd).send(command);
  }
}
