/**
 * Maps in the kernel, read and written as the values their schemas describe.
 *
 * Source: man 2 bpf.
 */
import type { Static, TSchema } from '@sinclair/typebox';
import { withSourcePosition } from '../asm/error-position.ts';
import { KeyCodec } from '../asm/layout/key.ts';
import { encodeValue, layoutOf, type ValueDecoder, valueDecoder } from '../asm/layout.ts';
import { type GlobalsSpec, isPerCpu, type KeyOf, type MapSpec, MMAPABLE, type ValueOf } from '../asm/map.ts';
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

/** What an update gives a map: a value, or, to a map of maps, the map. */
export type UpdateValue<M extends MapSpec> =
  M extends MapOfMapsSpec<TSchema, infer I> ? BpfMap<I> : ValueOf<M>;

/** How a map is made. */
export interface MapOptions {
  /** Whether the kernel is told the types of keys and values, where it takes them: bpftool shows those. */
  readonly debug?: boolean;
  /** Where a map of maps finds those that it holds from the beginning. */
  readonly maps?: ReadonlyMap<MapSpec, BpfMap>;
}

/** A map in the kernel. It is gone when it and the programs that use it are closed. */
export class BpfMap<M extends MapSpec = MapSpec> implements Closeable {
  readonly spec: M;
  readonly #kernel: Kernel;
  readonly #descriptor: Descriptor;
  readonly #elements: Elements;
  /** Bytes from one CPU's value to the next; 0 where there is one value for all. */
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
   * Creates a map with what its spec says that it holds. A perf event array without `maxEntries` gets one for every CPU number
   * there may be.
   * The caller owns the result.
   * @throws {NotPermittedError} @throws {KernelError} @throws {UnsupportedError} @throws {PathError} for a folder that is no cgroup.
   * @throws {RangeError} for a map that it holds and that isn't among `maps`.
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
        // The map holds on to the cgroup, and not to the descriptor.
        this.update(index, folder.fd as UpdateValue<M>);
      } finally {
        folder.close();
      }
    }
    for (const [key, spec] of isMapOfMaps(this.spec) ? this.spec.maps : []) {
      const held = maps.get(spec);
      if (!held)
        throw withSourcePosition(
          new RangeError(`map ${this.spec.name} holds the map '${spec.name}', which isn't open`),
        );
      this.update(key, held as UpdateValue<M>);
    }
    if (this.spec.frozen) freezeMap(this.#kernel, this.spec.name, this.fd);
  }

  /** The descriptor, which stays owned by this object. @throws after `close()`. */
  get fd(): number {
    return this.#descriptor.fd;
  }

  /**
   * The value of `globals`, in the memory that programs read and write: nothing is copied, and no system call made but for the mapping, the
   * first time. @throws {KernelError} where it can't be mapped; what it gives throws after `close()`.
   */
  get view(): M extends GlobalsSpec<infer V> ? View<V> : never {
    const { name, value, flags } = this.spec;
    if ((flags & MMAPABLE) === 0 || this.spec.maxEntries !== 1)
      throw withSourcePosition(
        new TypeError(`map ${name} is no one value in memory: use lookup, or make it by globals()`),
      );
    this.#mapping ??= Mapping.open(this.#kernel, this.fd, layoutOf(value).size, `the map '${name}'`);
    this.#view ??= viewOf(this.#mapping, value, 0, name);
    return this.#view as M extends GlobalsSpec<infer V> ? View<V> : never;
  }

  /**
   * The value of a key, or undefined. Of a per-CPU map that is a list: a value for each possible CPU, in the order of
   * `kernel.possibleCpus`; of a map of maps it is the id of the map, as bpftool shows it.
   */
  lookup(key: KeyOf<M>): ValueOf<M> | undefined {
    this.#about(key);
    return this.#elements.lookup() ? this.#read() : undefined;
  }

  /**
   * Sets the value of a key; of a per-CPU map those of all possible CPUs, by a list of as many. A map of maps gets a map, which it
   * keeps, also when the caller closes it.
   * @throws {KernelError} E2BIG where the map is full, EEXIST or ENOENT as `mode` asks for. @throws {RangeError} for a list of another length.
   */
  update(key: KeyOf<M>, value: UpdateValue<M>, mode: UpdateMode = UpdateMode.any): void {
    if (this.#stride > 0) this.#write(value as Static<M['value']>[]);
    else this.#elements.value.set(encodeValue(this.spec.value, this.#given(value)));
    this.#about(key);
    this.#elements.update(mode);
  }

  /** What the kernel is given for it: of a map its descriptor. */
  #given(value: UpdateValue<M>): Static<M['value']> {
    if (!isMapOfMaps(this.spec)) return value as Static<M['value']>;
    if (value instanceof BpfMap) return value.fd as Static<M['value']>;
    throw withSourcePosition(new TypeError(`map ${this.spec.name} holds maps: ${String(value)} is none`));
  }

  /** Deletes a key: whether it was there. @throws {KernelError} EINVAL for an array, whose keys stay. */
  delete(key: KeyOf<M>): boolean {
    this.#about(key);
    return this.#elements.delete();
  }

  /**
   * Lists each key once. The first step reads all keys, so the loop may add and delete keys. A key that
   * others add or delete during this reading may be missing; every other key is listed, or `keys` throws
   * before it lists any.
   *
   * `lookup`, `update` and `delete` accept every listed key. Programs can write keys that no plain value
   * stands for. Those keys are listed as follows:
   *
   * - `chars`: each byte that is not UTF-8 is a lone surrogate (U+DC80 for 0x80 to U+DCFF for 0xff). If bytes
   *   other than zero follow the first NUL, they belong to the text, and so does the NUL.
   * - `u64n`, `s64n`: a number beyond 2^53 is a bigint, because the nearest double would stand for several
   *   keys.
   * - Padding that is not zero: the listed object stands for it. A copy of the object stands for zero
   *   padding.
   *
   * @throws {MapIterationError} if others delete keys faster than the loader reads them. @throws
   * {KernelError}
   */
  *keys(): Generator<KeyOf<M>, void, undefined> {
    for (const bytes of this.#elements.keys()) yield this.#keys.decode(bytes);
  }

  /**
   * Lists each key, as `keys` does, with its value. Each step of the loop reads one value and skips keys that
   * were deleted before it; in a trie, such a key has the value of the next shorter prefix, if there is one.
   * @throws as `keys` does.
   */
  *entries(): Generator<[KeyOf<M>, ValueOf<M>], void, undefined> {
    for (const bytes of this.#elements.keys()) {
      this.#elements.key.set(bytes);
      if (this.#elements.lookup()) yield [this.#keys.decode(bytes), this.#read()];
    }
  }

  close(): void {
    this.#mapping?.close();
    this.#descriptor.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Says which key the next call is about. */
  #about(key: KeyOf<M>): void {
    this.#elements.key.set(this.#keys.encode(key));
  }

  /** What a lookup has found. */
  #read(): ValueOf<M> {
    const view = dataView(this.#elements.value);
    const one = (index: number) => this.#decodeValue(view, index * this.#stride);
    return (
      this.#stride > 0 ? this.#kernel.possibleCpus.map((_, index) => one(index)) : one(0)
    ) as ValueOf<M>;
  }

  /** Sets a value for each CPU, for an update. */
  #write(values: readonly Static<M['value']>[]): void {
    const cpus = this.#kernel.possibleCpus.length;
    const count = Array.isArray(values) ? `${values.length} values` : 'no list of values';
    if (count !== `${cpus} values`)
      throw withSourcePosition(new RangeError(`map ${this.spec.name}: ${count} for ${cpus} possible CPUs`));
    for (const [index, value] of values.entries())
      this.#elements.value.set(encodeValue(this.spec.value, value), index * this.#stride);
  }
}

function dataView(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
