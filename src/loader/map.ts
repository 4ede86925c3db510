/**
 * Maps in the kernel, read and written as values of their schemas.
 *
 * Source: man 2 bpf.
 */
import type { Static, TSchema } from '@sinclair/typebox';
import { messageWithoutPosition, reportAtCaller, withSourcePosition } from '../asm/error-position.ts';
import { BPF_F_MMAPABLE } from '../asm/flags.ts';
import { KeyCodec } from '../asm/layout/key.ts';
import { sampleView } from '../asm/layout/sample.ts';
import { encodeValue, layoutOf, type ValueDecoder, valueDecoder } from '../asm/layout.ts';
import { type GlobalsSpec, isPerCpu, type KeyOf, type MapSpec, MapType, type ValueOf } from '../asm/map.ts';
import { isMapOfMaps, type MapOfMapsSpec } from '../asm/map-of-maps.ts';
import { type BloomFilterSpec, isKeyless, type QueueSpec } from '../asm/queue.ts';
import type { StackTraceSpec } from '../asm/stack-trace.ts';
import { Command, Descriptor } from './bpf.ts';
import { openCgroup } from './cgroup.ts';
import { Errno } from './errno.ts';
import { ClosedError, KernelError, MapBatchError } from './errors.ts';
import type { Kernel } from './kernel.ts';
import type { Chunk } from './map/batch.ts';
import { createMap, freezeMap } from './map/create.ts';
import { Elements } from './map/elements.ts';
import { ARRAYS, keylessHint } from './map/hints.ts';
import { Keyless, QUEUES } from './map/keyless.ts';
import { Mapping } from './map/mapping.ts';
import { checkMatches } from './map/matches.ts';
import { inTurns, paced } from './map/pacer.ts';
import { UpdateMode } from './map/update-mode.ts';
import { type View, viewOf } from './map/view.ts';
import { nothingPinned, openPin, pinObject } from './pin.ts';
import type { Closeable } from './resources.ts';

export { UpdateMode };

/**
 * The value that `BpfMap.update` takes: a value of the map's schema (one for each possible CPU for a per-CPU
 * map), or an open map for a map of maps.
 *
 * @example
 * ```ts
 * import { array, struct, u32, u64, type UpdateValue } from 'tsbpf';
 *
 * const counts = array('counts', { value: struct({ runs: u32, ns: u64 }), maxEntries: 4 });
 * const value: UpdateValue<typeof counts> = { runs: 0, ns: 0n };
 * console.log(value);
 * ```
 */
export type UpdateValue<M extends MapSpec> =
  M extends MapOfMapsSpec<TSchema, infer I> ? BpfMap<I> : ValueOf<M>;

/**
 * Options of `BpfMap.create`.
 *
 * @example
 * ```ts
 * import { BpfMap, hash, Kernel, type MapOptions, u32, u64 } from 'tsbpf';
 *
 * const options: MapOptions = { debug: true };
 * const spec = hash('counts', { key: u32, value: u64, maxEntries: 1024 });
 * BpfMap.create(new Kernel(), spec, options).close();
 * ```
 */
export interface MapOptions {
  /**
   * Whether to load the types of keys and values, for `bpftool map dump` (Linux 4.18; ignored before).
   * Default: false.
   */
  readonly debug?: boolean;
  /** The open maps that a map of maps contains from the beginning, by their specs. */
  readonly maps?: ReadonlyMap<MapSpec, BpfMap>;
}

/**
 * A map in the kernel, with keys and values of its schemas.
 *
 * `session.map(spec)` returns the maps of a tool, which the session closes. The caller of `BpfMap.create`
 * closes its map. The kernel frees a map when it and the programs that use it are closed. Source: man 2 bpf.
 * @example
 * ```ts
 * import { BpfMap, hash, Kernel, u32, u64 } from 'tsbpf';
 *
 * const map = BpfMap.create(new Kernel(), hash('counts', { key: u32, value: u64, maxEntries: 1024 }));
 * map.update(7, 1n);
 * for (const [key, value] of map.entries()) console.log(key, value); // 7 1n
 * console.log(map.delete(7), map.lookup(7)); // true undefined
 * map.close();
 * ```
 */
export class BpfMap<M extends MapSpec = MapSpec> implements Closeable {
  /** The map's spec. */
  readonly spec: M;
  readonly #kernel: Kernel;
  readonly #descriptor: Descriptor;
  readonly #elements: Elements;
  /** The distance between the values of two CPUs in bytes; 0 if the map is not per-CPU. */
  readonly #stride: number;
  readonly #keys: KeyCodec<M['key']>;
  readonly #decodeValue: ValueDecoder<M['value']>;
  readonly #keyless: Keyless;
  #mapping: Mapping | undefined;
  #view: unknown;

  private constructor(kernel: Kernel, spec: M, descriptor: Descriptor) {
    const valueSize = layoutOf(spec.value).size;
    this.spec = spec;
    this.#kernel = kernel;
    this.#descriptor = descriptor;
    this.#stride = isPerCpu(spec) ? Math.ceil(valueSize / 8) * 8 : 0;
    const valueBytes = this.#stride * kernel.possibleCpus.length || valueSize;
    this.#elements = new Elements(kernel, spec, descriptor, valueBytes);
    this.#keyless = new Keyless(kernel, spec, descriptor, this.#elements.value);
    this.#keys = new KeyCodec(spec.key);
    this.#decodeValue = valueDecoder(spec.value);
  }

  /**
   * Creates a map with the initial entries of its spec. The caller owns the map and closes it.
   *
   * For a spec with a pin (`pinned`) it opens the pinned map, if there is one, without changing its content;
   * otherwise it creates the map, with the types of keys and values for later checks, and pins it.
   *
   * A perf event array without `maxEntries` gets an entry for each possible CPU.
   * @throws {NotPermittedError} @throws {KernelError} @throws {UnsupportedError} if the kernel lacks a map
   * flag or jump tables. @throws {PathError} if a path of a cgroup array is not a cgroup. @throws
   * {RangeError} if an inner map is not in
   * `maps`.
   */
  static create<M extends MapSpec>(
    kernel: Kernel,
    spec: M,
    { debug = spec.pin !== undefined, maps = new Map() }: MapOptions = {},
  ): BpfMap<M> {
    const pinned = spec.pin === undefined ? undefined : BpfMap.#openPinned(kernel, spec, spec.pin);
    if (pinned) return pinned;
    const descriptor = new Descriptor(
      kernel.syscalls,
      createMap(kernel, spec, debug),
      `the map '${spec.name}'`,
    );
    try {
      const map = new BpfMap(kernel, spec, descriptor);
      map.#fill(maps);
      if (spec.pin !== undefined) map.pin(spec.pin);
      return map;
    } catch (error) {
      descriptor.close();
      // Another process may have pinned its map since.
      const other =
        error instanceof KernelError && error.errno === Errno.EEXIST && spec.pin !== undefined
          ? BpfMap.#openPinned(kernel, spec, spec.pin)
          : undefined;
      if (other) return other;
      throw error;
    }
  }

  /**
   * Opens a map that is pinned at a path. The caller owns the map and closes it; it stays pinned.
   *
   * The map must have the type, sizes, number of entries and flags of `spec`, and the fields of its schemas
   * if it was created with BTF (`MapOptions.debug`, a spec with a pin, or a compiled object file).
   * @throws {MapMismatchError} if the map differs from the spec. @throws {PathError} if nothing, or an object
   * of another kind, is pinned at the path. @throws {NotPermittedError} @throws {KernelError}
   *
   * @example
   * ```ts no run
   * import { BpfMap, hash, Kernel, u32, u64 } from 'tsbpf';
   *
   * const spec = hash('calls', { key: u32, value: u64, maxEntries: 10_240 });
   * const map = BpfMap.open(new Kernel(), spec, '/sys/fs/bpf/calls');
   * for (const [pid, count] of map.entries()) console.log(pid, count);
   * map.close();
   * ```
   */
  static open<M extends MapSpec>(kernel: Kernel, spec: M, path: string): BpfMap<M> {
    return reportAtCaller(() => {
      const map = BpfMap.#openPinned(kernel, spec, path);
      if (!map) throw nothingPinned(path);
      return map;
    });
  }

  /** Opens a pinned map, or returns undefined if nothing is pinned at the path. */
  static #openPinned<M extends MapSpec>(kernel: Kernel, spec: M, path: string): BpfMap<M> | undefined {
    const descriptor = openPin(kernel, path, 'map');
    if (!descriptor) return undefined;
    try {
      checkMatches(kernel, spec, descriptor.fd, `pinned at ${path}`);
      return new BpfMap(kernel, spec, descriptor);
    } catch (error) {
      descriptor.close();
      throw error;
    }
  }

  /**
   * Pins the map at a path in a bpffs. It stays in the kernel until the pin is removed (`unpin`) and no
   * process uses it; closing it does not remove the pin.
   *
   * Minimum kernel: 4.4. Source: man 2 bpf (BPF_OBJ_PIN).
   * @throws {PathError} if the path is not in a bpffs, or its last part has a dot. @throws {KernelError}
   * `EEXIST` if the path exists. @throws {NotPermittedError} @throws {ClosedError}
   */
  pin(path: string): void {
    reportAtCaller(() => pinObject(this.#kernel, this.fd, `the map '${this.spec.name}'`, path));
  }

  #fill(maps: ReadonlyMap<MapSpec, BpfMap>): void {
    const { entries = [], cgroups = [] } = this.spec;
    for (const [key, value] of entries) this.update(key, value as UpdateValue<M>);
    for (const [index, path] of cgroups.entries()) {
      const folder = openCgroup(this.#kernel, path);
      try {
        // The map keeps the cgroup, not the descriptor.
        this.update(index, folder.fd as UpdateValue<M>);
      } finally {
        folder.close();
      }
    }
    for (const [key, spec] of isMapOfMaps(this.spec) ? this.spec.maps : []) {
      const held = maps.get(spec);
      if (!held)
        throw withSourcePosition(
          new RangeError(
            `map '${this.spec.name}' contains the map '${spec.name}', which is not open; create it first and pass it in maps`,
          ),
        );
      this.update(key, held as UpdateValue<M>);
    }
    if (this.spec.frozen) freezeMap(this.#kernel, this.spec.name, this.fd);
  }

  /** The map's descriptor, owned by this object. @throws {ClosedError} after `close()`. */
  get fd(): number {
    return this.#descriptor.fd;
  }

  /**
   * The value of a `globals` map in the memory that programs read and write. Nothing is copied; only the
   * first access makes a system call, which maps the memory. Its cells throw `ClosedError` after the map was
   * closed.
   *
   * Minimum kernel: 5.5.
   * @throws {KernelError} if the memory cannot be mapped. @throws {TypeError} for a map of another
   * constructor.
   */
  get view(): M extends GlobalsSpec<infer V> ? View<V> : never {
    const { name, value, flags } = this.spec;
    if ((flags & BPF_F_MMAPABLE) === 0 || this.spec.maxEntries !== 1)
      throw withSourcePosition(
        new TypeError(`map '${name}' has no view; use lookup, or create the map with globals()`),
      );
    this.#mapping ??= Mapping.open(this.#kernel, this.fd, layoutOf(value).size, `the map '${name}'`);
    this.#view ??= viewOf(this.#mapping, value, 0, name);
    return this.#view as M extends GlobalsSpec<infer V> ? View<V> : never;
  }

  /**
   * Returns the value of a key, or undefined if the map does not have the key. For a per-CPU map it is a list
   * of values, in the order of `kernel.possibleCpus`; for a map of maps it is the id of the inner map, as
   * bpftool shows it.
   * @throws {TypeError} or {RangeError} if the key does not fit the schema. @throws {ClosedError} @throws
   * {KernelError}
   */
  lookup(key: KeyOf<M>): ValueOf<M> | undefined {
    this.#setKey(key);
    return this.#elements.lookup() ? this.#lastValue() : undefined;
  }

  /**
   * Sets the value of a key. A per-CPU map takes a list with a value for each possible CPU. A map of maps
   * takes an open map and keeps it, even after its owner closed it.
   * @throws {KernelError} `E2BIG` if the map is full; `EEXIST` for a present key with `UpdateMode.create`,
   * `ENOENT` for a missing one with `UpdateMode.replace`. @throws {TypeError} or {RangeError} if the key or
   * value does not fit the schema.
   * @throws {ClosedError}
   */
  update(key: KeyOf<M>, value: UpdateValue<M>, mode: UpdateMode = UpdateMode.any): void {
    this.#encode(value, this.#elements.value, 0);
    this.#setKey(key);
    this.#elements.update(mode);
  }

  /** The value for the kernel, which is the descriptor if it is a map. */
  #kernelValue(value: UpdateValue<M>): Static<M['value']> {
    if (!isMapOfMaps(this.spec)) return value as Static<M['value']>;
    if (value instanceof BpfMap) return value.fd as Static<M['value']>;
    throw withSourcePosition(
      new TypeError(`map '${this.spec.name}' contains maps; pass an open BpfMap, not ${String(value)}`),
    );
  }

  /**
   * Deletes a key. Returns whether the map had it.
   * @throws {KernelError} `EINVAL` for an array, whose keys cannot be deleted. @throws {ClosedError}
   */
  delete(key: KeyOf<M>): boolean {
    this.#setKey(key);
    return this.#elements.delete();
  }

  /**
   * Returns the addresses of a stack, innermost first, by its number in a `stackTrace` map. Undefined if the
   * map has no such stack, also for a negative number. `session.stack` and `Symbolizer` find their functions.
   * Minimum kernel: 4.6.
   * @throws {TypeError} for a map of another type. @throws {KernelError} @throws {ClosedError}
   */
  stack(id: M extends StackTraceSpec ? number : never): bigint[] | undefined {
    this.#keyless.require('stack', MapType.stackTrace);
    const addresses = id < 0 ? undefined : (this.lookup(id as KeyOf<M>) as bigint[] | undefined);
    const end = addresses?.indexOf(0n) ?? -1;
    return end < 0 ? addresses : addresses?.slice(0, end);
  }

  /**
   * Adds a value to a queue or a stack. `UpdateMode.replace` drops the oldest value if the map is full.
   *
   * Minimum kernel: 4.20.
   * @throws {KernelError} `E2BIG` if the map is full. @throws {TypeError} or {RangeError} if the value does
   * not fit the schema, and for a map of another type. @throws {ClosedError}
   * @example
   * ```ts
   * import { BpfMap, Kernel, queue, u32 } from 'tsbpf';
   *
   * const jobs = BpfMap.create(new Kernel(), queue('jobs', { value: u32, maxEntries: 8 }));
   * jobs.push(1);
   * jobs.push(2);
   * console.log(jobs.peek(), jobs.pop(), jobs.pop(), jobs.pop()); // 1 1 2 undefined
   * jobs.close();
   * ```
   */
  push(value: M extends QueueSpec ? ValueOf<M> : never, mode: UpdateMode = UpdateMode.any): void {
    this.#keyless.require('push', ...QUEUES);
    this.#elements.value.set(encodeValue(this.spec.value, value));
    this.#keyless.push(mode);
  }

  /**
   * Removes the oldest value of a queue, or the newest of a stack, and returns it. Returns undefined if the
   * map is empty. The kernel does not tell how many values are left. Minimum kernel: 4.20.
   * @throws {TypeError} for a map of another type. @throws {KernelError} @throws {ClosedError}
   */
  pop(): (M extends QueueSpec ? ValueOf<M> : never) | undefined {
    this.#keyless.require('pop', ...QUEUES);
    return (this.#keyless.pop() ? this.#lastValue() : undefined) as ReturnType<BpfMap<M>['pop']>;
  }

  /** Returns the value that `pop` would remove, and leaves it in the map. Throws the errors of `pop`. */
  peek(): (M extends QueueSpec ? ValueOf<M> : never) | undefined {
    this.#keyless.require('peek', ...QUEUES);
    return (this.#keyless.peek() ? this.#lastValue() : undefined) as ReturnType<BpfMap<M>['peek']>;
  }

  /**
   * Adds a value to a bloom filter. Minimum kernel: 5.16.
   * @throws {TypeError} or {RangeError} if the value does not fit the schema, and for a map of another type.
   * @throws {KernelError} @throws {ClosedError}
   * @example
   * ```ts
   * import { BpfMap, bloomFilter, Kernel, u32 } from 'tsbpf';
   *
   * const seen = BpfMap.create(new Kernel(), bloomFilter('seen', { value: u32, maxEntries: 1_000 }));
   * seen.add(7);
   * console.log(seen.has(7), seen.has(8)); // true false
   * seen.close();
   * ```
   */
  add(value: M extends BloomFilterSpec ? ValueOf<M> : never): void {
    this.#keyless.require('add', MapType.bloomFilter);
    this.#elements.value.set(encodeValue(this.spec.value, value));
    this.#keyless.push(UpdateMode.any);
  }

  /**
   * Whether a value was added to a bloom filter. Always true for an added value, and sometimes for another
   * one. Throws the errors of `add`. Minimum kernel: 5.16.
   */
  has(value: M extends BloomFilterSpec ? ValueOf<M> : never): boolean {
    this.#keyless.require('has', MapType.bloomFilter);
    this.#elements.value.set(encodeValue(this.spec.value, value));
    return this.#keyless.peek();
  }

  /**
   * Updates many entries, in batches (Linux 5.6) or one after another. Returns their number.
   *
   * It encodes all entries before the first call, so a key or value that does not fit the schema changes
   * nothing. The update of all entries is not atomic. Modes other than `any` have no batches: they take a
   * call for each entry.
   * @throws {MapBatchError} if the kernel refuses an entry: the entries before it are updated, those after it
   * are not. @throws {TypeError} or {RangeError} if a key or value does not fit the schema. @throws
   * {ClosedError}
   *
   * @example
   * ```ts
   * import { BpfMap, hash, Kernel, u32, u64 } from 'tsbpf';
   *
   * const map = BpfMap.create(new Kernel(), hash('counts', { key: u32, value: u64, maxEntries: 1024 }));
   * console.log(map.updateMany([[1, 10n], [2, 20n]])); // 2
   * console.log(map.deleteMany([1, 3])); // 1
   * map.close();
   * ```
   */
  updateMany(
    entries: Iterable<readonly [KeyOf<M>, UpdateValue<M>]>,
    mode: UpdateMode = UpdateMode.any,
  ): number {
    const chunks = this.#chunks(entries, (chunk, at, [key, value]) => {
      chunk.keys.set(this.#encodeKey(key), at * this.#elements.key.length);
      this.#encode(value, chunk.values, at * this.#elements.value.length);
    });
    return this.#write(Command.mapUpdateBatch, chunks, mode);
  }

  /**
   * Deletes many keys, in batches (Linux 5.6) or one after another. Returns the number of keys that the map
   * had.
   * @throws {MapBatchError} if the kernel refuses a key: the keys before it are deleted, those after it are
   * not. @throws {TypeError} for an array, whose keys cannot be deleted, and, before the first call, if a key
   * does not fit the schema. @throws {RangeError} @throws {ClosedError}
   */
  deleteMany(keys: Iterable<KeyOf<M>>): number {
    this.#checkDeletable();
    const chunks = this.#chunks(keys, (chunk, at, key) =>
      chunk.keys.set(this.#encodeKey(key), at * this.#elements.key.length),
    );
    return this.#write(Command.mapDeleteBatch, chunks);
  }

  /**
   * Deletes all entries and returns them. An entry that others add during the call may stay.
   *
   * On Linux 5.6 and later each entry of a hash table is read and deleted at once, so no update is lost. On
   * older kernels, and for tries, the value of an update between lookup and deletion is lost.
   * @throws {MapBatchError} if the kernel refuses; `drained` has the entries that were deleted before.
   * @throws {TypeError} for an array, whose keys cannot be deleted. @throws {MapIterationError} as `keys`.
   * @throws {ClosedError}
   *
   * @example
   * ```ts
   * import { BpfMap, hash, Kernel, u32, u64 } from 'tsbpf';
   *
   * const map = BpfMap.create(new Kernel(), hash('counts', { key: u32, value: u64, maxEntries: 1024 }));
   * map.update(7, 1n);
   * console.log(map.drain(), map.drain()); // [ [ 7, 1n ] ] []
   * map.close();
   * ```
   */
  drain(): [KeyOf<M>, ValueOf<M>][] {
    this.#checkDeletable();
    const drained: [KeyOf<M>, ValueOf<M>][] = [];
    try {
      for (const chunk of this.#elements.drain('drain'))
        for (let at = 0; at < chunk.count; at++) drained.push(this.#entry(chunk, at));
    } catch (error) {
      throw this.#interrupted(error, 'drain', drained.length, drained);
    }
    return drained;
  }

  /** Deletes all entries, as `drain`. Returns their number. */
  clear(): number {
    this.#checkDeletable();
    let cleared = 0;
    try {
      for (const chunk of this.#elements.drain('clear')) cleared += chunk.count;
    } catch (error) {
      throw this.#interrupted(error, 'clear', cleared);
    }
    return cleared;
  }

  /**
   * Deletes all entries and returns them, as `drain`, and lets the event loop run at least every 5 ms, so
   * that a large map does not delay events and timers. Rejects with the errors of `drain`; if the map is
   * closed before the end, with a `MapBatchError` that has the entries that were deleted until then.
   *
   * @example
   * ```ts
   * import { BpfMap, hash, Kernel, u32, u64 } from 'tsbpf';
   *
   * const map = BpfMap.create(new Kernel(), hash('counts', { key: u32, value: u64, maxEntries: 1_000_000 }));
   * map.update(7, 1n);
   * for (const [key, value] of await map.drainAsync()) console.log(key, value); // 7 1n
   * map.close();
   * ```
   */
  async drainAsync(): Promise<[KeyOf<M>, ValueOf<M>][]> {
    this.#checkDeletable();
    const drained: [KeyOf<M>, ValueOf<M>][] = [];
    try {
      await inTurns(this.#elements.drain('drain'), (chunk, at) => drained.push(this.#entry(chunk, at)));
    } catch (error) {
      throw this.#interrupted(error, 'drain', drained.length, drained);
    }
    return drained;
  }

  /** Deletes all entries, as `drainAsync`. Returns their number. */
  async clearAsync(): Promise<number> {
    this.#checkDeletable();
    let cleared = 0;
    try {
      await inTurns(this.#elements.drain('clear'), () => cleared++);
    } catch (error) {
      throw this.#interrupted(error, 'clear', cleared);
    }
    return cleared;
  }

  /**
   * Lists each key once. The loop may add and delete keys. A key that the loop or others add or delete during
   * the listing may be missing; every other key is listed, or `keys` throws.
   *
   * On Linux 5.6 and later the keys of hash tables and arrays are read in batches of up to 4096, one when the
   * loop needs it. Other maps, and older kernels, step from key to key; there `keys` reads all of them before
   * it lists any.
   *
   * `lookup`, `update` and `delete` accept every listed key. Programs can write keys that no plain value
   * represents. They are listed as follows:
   *
   * - `chars`: each byte that is not UTF-8 is a lone surrogate (U+DC80 for 0x80 to U+DCFF for 0xff). If bytes
   *   other than zero follow the first NUL, they belong to the text, and so does the NUL.
   * - `u64n`, `s64n`: a number beyond 2^53 is a bigint, because the nearest double would represent several
   *   keys.
   * - Padding that is not zero: only the listed object itself represents the key; a copy of it has zero
   *   padding.
   *
   * @throws {MapIterationError} without batches, if others delete keys faster than the loader reads them.
   * @throws {ClosedError} @throws {KernelError}
   */
  *keys(): Generator<KeyOf<M>, void, undefined> {
    for (const chunk of this.#elements.read({ values: false }))
      for (let at = 0; at < chunk.count; at++) yield this.#key(chunk, at);
  }

  /**
   * Lists each key with its value, as `keys` lists keys. A value is as it was when its batch was
   * read.
   *
   * Without batches, each step of the loop reads one value and skips keys that were deleted before it; in a
   * trie, such a key has the value of the next shorter prefix, if there is one. Throws the errors of `keys`.
   */
  *entries(): Generator<[KeyOf<M>, ValueOf<M>], void, undefined> {
    for (const chunk of this.#elements.read({ values: true }))
      for (let at = 0; at < chunk.count; at++) yield this.#entry(chunk, at);
  }

  /**
   * Lists the entries whose value matches, as `entries`, but much faster if few of many do: a value that does
   * not match is not decoded. `matches` receives a view of the value's bytes, the same object each time (see
   * `sampleView`).
   * @throws {TypeError} for values that are not a struct, and for a per-CPU map. Throws the errors of `keys`.
   *
   * @example
   * ```ts
   * import { BpfMap, hash, Kernel, struct, u32, u64n } from 'tsbpf';
   *
   * const value = struct({ calls: u64n });
   * const map = BpfMap.create(new Kernel(), hash('counts', { key: u32, value, maxEntries: 1024 }));
   * map.updateMany([[1, { calls: 10 }], [2, { calls: 20 }]]);
   * const busy = map.entriesWhere(({ calls }) => calls > 15);
   * for (const [key, { calls }] of busy) console.log(key, calls); // 2 20
   * map.close();
   * ```
   */
  *entriesWhere(
    matches: (value: Static<M['value']>) => boolean,
  ): Generator<[KeyOf<M>, ValueOf<M>], void, undefined> {
    if (this.#stride > 0)
      throw withSourcePosition(
        new TypeError(`map '${this.spec.name}' has a value for each CPU; use entries`),
      );
    const viewAt = sampleView(this.spec.value);
    for (const chunk of this.#elements.read({ values: true }))
      for (let at = 0; at < chunk.count; at++)
        if (matches(viewAt(chunk.valueView, at * this.#elements.value.length))) yield this.#entry(chunk, at);
  }

  /**
   * Lists each key with its value, as `entries`, and lets the event loop run at least every 5 ms, so that a
   * long listing does not delay events and timers.
   *
   * @example
   * ```ts
   * import { BpfMap, hash, Kernel, u32, u64 } from 'tsbpf';
   *
   * const map = BpfMap.create(new Kernel(), hash('counts', { key: u32, value: u64, maxEntries: 1_000_000 }));
   * for await (const [key, value] of map.entriesAsync()) console.log(key, value);
   * map.close();
   * ```
   */
  entriesAsync(): AsyncIterableIterator<[KeyOf<M>, ValueOf<M>], undefined, undefined> {
    return paced(this.#elements.read({ values: true }), (chunk, at) => this.#entry(chunk, at));
  }

  /** Closes the map. Programs that use it keep it in the kernel. A second call does nothing. */
  close(): void {
    this.#mapping?.close();
    this.#descriptor.close();
  }

  /** Calls `close`, at the end of a `using` declaration's block. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** Sets the key of the next call. */
  #setKey(key: KeyOf<M>): void {
    this.#elements.key.set(this.#encodeKey(key));
  }

  /** Encodes a key. The kernel refuses a prefix of a trie that is longer than its bits (EINVAL). */
  #encodeKey(key: KeyOf<M>): Uint8Array {
    this.#checkKeys();
    const bytes = this.#keys.encode(key);
    if (this.spec.type !== MapType.lpmTrie) return bytes;
    const [length, bits] = [new DataView(bytes.buffer).getUint32(0, true), 8 * (bytes.length - 4)];
    if (length <= bits) return bytes;
    throw withSourcePosition(
      new RangeError(
        `the key of the map '${this.spec.name}' is a prefix of ${length} bits, but it has ${bits} bits after its length`,
      ),
    );
  }

  /** @throws {TypeError} for a map without keys. */
  #checkKeys(): void {
    if (isKeyless(this.spec))
      throw withSourcePosition(new TypeError(`map '${this.spec.name}': ${keylessHint(this.spec)}`));
  }

  #key(chunk: Chunk, at: number): KeyOf<M> {
    return this.#keys.decodeAt(chunk.keyView, at * this.#elements.key.length);
  }

  #entry(chunk: Chunk, at: number): [KeyOf<M>, ValueOf<M>] {
    return [this.#key(chunk, at), this.#decode(chunk.valueView, at * this.#elements.value.length)];
  }

  /** Decodes the value that the last call read. */
  #lastValue(): ValueOf<M> {
    const { value } = this.#elements;
    return this.#decode(new DataView(value.buffer, value.byteOffset, value.byteLength), 0);
  }

  /** Decodes the value at an offset of a view. */
  #decode(view: DataView, offset: number): ValueOf<M> {
    if (this.#stride === 0) return this.#decodeValue(view, offset) as ValueOf<M>;
    return this.#kernel.possibleCpus.map((_, index) =>
      this.#decodeValue(view, offset + index * this.#stride),
    ) as ValueOf<M>;
  }

  /** Encodes a value, or one for each CPU, at an offset of `target`. */
  #encode(value: UpdateValue<M>, target: Uint8Array, offset: number): void {
    if (this.#stride === 0) {
      target.set(encodeValue(this.spec.value, this.#kernelValue(value)), offset);
      return;
    }
    const values = value as readonly Static<M['value']>[];
    const cpus = this.#kernel.possibleCpus.length;
    const count = Array.isArray(values) ? `a list of ${values.length}` : String(values);
    if (!Array.isArray(values) || values.length !== cpus)
      throw withSourcePosition(
        new RangeError(
          `map '${this.spec.name}' takes a list of ${cpus} values, one for each possible CPU, not ${count}`,
        ),
      );
    for (const [index, each] of values.entries())
      target.set(encodeValue(this.spec.value, each), offset + index * this.#stride);
  }

  /** Encodes all entries. An error names the index of the entry that does not fit the schema. */
  #chunks<E>(entries: Iterable<E>, encode: (chunk: Chunk, at: number, entry: E) => void): Chunk[] {
    const chunks: Chunk[] = [];
    let index = 0;
    for (const entry of entries) {
      let chunk = chunks.at(-1);
      if (chunk === undefined || chunk.count === chunk.capacity) {
        chunk = this.#elements.chunk(FIRST_CHUNK << Math.min(chunks.length, 8));
        chunks.push(chunk);
      }
      try {
        encode(chunk, chunk.count, entry);
      } catch (error) {
        throw withEntry(error, index);
      }
      chunk.count++;
      index++;
    }
    return chunks;
  }

  #write(
    command: typeof Command.mapUpdateBatch | typeof Command.mapDeleteBatch,
    chunks: readonly Chunk[],
    mode?: UpdateMode,
  ): number {
    const { applied, failed } = this.#elements.write(command, chunks, mode);
    if (!failed) return applied;
    const { index, error, chunk, at } = failed;
    const did = command === Command.mapUpdateBatch ? 'updated' : 'deleted';
    throw withSourcePosition(new MapBatchError(error, { applied, did, index, key: this.#key(chunk, at) }));
  }

  /** The error of deleting all entries. The map may be closed between two turns of the event loop. */
  #interrupted(
    error: unknown,
    tried: 'drain' | 'clear',
    applied: number,
    drained?: readonly [unknown, unknown][],
  ): unknown {
    const failure =
      error instanceof ClosedError && applied > 0
        ? new KernelError({
            syscall: 'bpf(BPF_MAP_LOOKUP_AND_DELETE_BATCH)',
            errno: Errno.EBADF,
            tried: `${tried} the map '${this.spec.name}'`,
            hint: 'the map was closed meanwhile; await the call before close()',
          })
        : error;
    if (!(failure instanceof KernelError)) return failure;
    const did = tried === 'drain' ? 'drained' : 'deleted';
    return withSourcePosition(new MapBatchError(failure, { applied, did, drained }));
  }

  /** @throws {TypeError} for a map whose keys are indices. */
  #checkDeletable(): void {
    this.#checkKeys();
    if (ARRAYS.has(this.spec.type))
      throw withSourcePosition(
        new TypeError(
          `the keys of the map '${this.spec.name}' are indices, which cannot be deleted; update the entries to zero instead`,
        ),
      );
  }
}

/** The entries of the first chunk of a write; each further chunk has twice as many, up to a limit. */
const FIRST_CHUNK = 64;

/** Adds the index of an entry to an error of encoding it. */
function withEntry(error: unknown, index: number): unknown {
  if (!(error instanceof RangeError || error instanceof TypeError)) return error;
  const Kind = error instanceof RangeError ? RangeError : TypeError;
  return withSourcePosition(new Kind(`entry ${index}: ${messageWithoutPosition(error)}`));
}
