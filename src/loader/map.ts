/**
 * Maps in the kernel, read and written as values of their schemas.
 *
 * Source: man 2 bpf.
 */
import type { Static, TSchema } from '@sinclair/typebox';
import { withSourcePosition } from '../asm/error-position.ts';
import { BPF_F_MMAPABLE } from '../asm/flags.ts';
import { KeyCodec } from '../asm/layout/key.ts';
import { encodeValue, layoutOf, type ValueDecoder, valueDecoder } from '../asm/layout.ts';
import { type GlobalsSpec, isPerCpu, type KeyOf, type MapSpec, type ValueOf } from '../asm/map.ts';
import { isMapOfMaps, type MapOfMapsSpec } from '../asm/map-of-maps.ts';
import { Descriptor } from './bpf.ts';
import { openCgroup } from './cgroup.ts';
import type { Kernel } from './kernel.ts';
import { createMap, freezeMap } from './map/create.ts';
import { Elements, UpdateMode } from './map/elements.ts';
import { Mapping } from './map/mapping.ts';
import { type View, viewOf } from './map/view.ts';
import type { Closeable } from './resources.ts';

export { UpdateMode } from './map/elements.ts';

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
    this.#keys = new KeyCodec(spec.key);
    this.#decodeValue = valueDecoder(spec.value);
  }

  /**
   * Creates a map with the initial entries of its spec. The caller owns the map and closes it.
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
    { debug = false, maps = new Map() }: MapOptions = {},
  ): BpfMap<M> {
    const descriptor = new Descriptor(
      kernel.syscalls,
      createMap(kernel, spec, debug),
      `the map '${spec.name}'`,
    );
    try {
      const map = new BpfMap(kernel, spec, descriptor);
      map.#fill(maps);
      return map;
    } catch (error) {
      descriptor.close();
      throw error;
    }
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
    return this.#elements.lookup() ? this.#readValue() : undefined;
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
    if (this.#stride > 0) this.#writeValues(value as Static<M['value']>[]);
    else this.#elements.value.set(encodeValue(this.spec.value, this.#kernelValue(value)));
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
   * Lists each key once. The first step reads all keys, so the loop may add and delete keys. A key that
   * others add or delete during this reading may be missing; every other key is listed, or `keys` throws
   * before it lists any.
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
   * @throws {MapIterationError} if others delete keys faster than the loader reads them. @throws
   * {ClosedError}
   * @throws {KernelError}
   */
  *keys(): Generator<KeyOf<M>, void, undefined> {
    for (const bytes of this.#elements.keys()) yield this.#keys.decode(bytes);
  }

  /**
   * Lists each key with its value. Each step of the loop reads one value and skips keys that were deleted
   * before it; in a trie, such a key has the value of the next shorter prefix, if there is one. Throws the
   * errors of `keys`.
   */
  *entries(): Generator<[KeyOf<M>, ValueOf<M>], void, undefined> {
    for (const bytes of this.#elements.keys()) {
      this.#elements.key.set(bytes);
      if (this.#elements.lookup()) yield [this.#keys.decode(bytes), this.#readValue()];
    }
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
    this.#elements.key.set(this.#keys.encode(key));
  }

  /** Decodes the value of the last lookup. */
  #readValue(): ValueOf<M> {
    const view = dataView(this.#elements.value);
    const one = (index: number) => this.#decodeValue(view, index * this.#stride);
    return (
      this.#stride > 0 ? this.#kernel.possibleCpus.map((_, index) => one(index)) : one(0)
    ) as ValueOf<M>;
  }

  /** Encodes a value for each CPU, for an update. */
  #writeValues(values: readonly Static<M['value']>[]): void {
    const cpus = this.#kernel.possibleCpus.length;
    const count = Array.isArray(values) ? `a list of ${values.length}` : String(values);
    if (!Array.isArray(values) || values.length !== cpus)
      throw withSourcePosition(
        new RangeError(
          `map '${this.spec.name}' takes a list of ${cpus} values, one for each possible CPU, not ${count}`,
        ),
      );
    for (const [index, value] of values.entries())
      this.#elements.value.set(encodeValue(this.spec.value, value), index * this.#stride);
  }
}

function dataView(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
