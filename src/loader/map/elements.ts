/**
 * The elements of a map as bytes: system calls for one key, and listing all keys.
 *
 * Source: man 2 bpf.
 */
import { BPF_ANY, BPF_EXIST, BPF_NOEXIST } from '../../asm/flags.ts';
import { layoutOf } from '../../asm/layout.ts';
import { type MapSpec, MapType } from '../../asm/map.ts';
import { isMapOfMaps } from '../../asm/map-of-maps.ts';
import { Attr, allocate, Command, type Descriptor } from '../bpf.ts';
import { Errno } from '../errno.ts';
import { type KernelError, MapIterationError } from '../errors.ts';
import type { Kernel } from '../kernel.ts';
import { kernelError } from '../permission.ts';

/**
 * Modes of `BpfMap.update`: `any` sets the value in any case, `create` fails with `EEXIST` if the map has the
 * key, and `replace` fails with `ENOENT` if it does not (`BPF_ANY`, `BPF_NOEXIST`, `BPF_EXIST`).
 *
 * @example
 * ```ts
 * import { BpfMap, hash, Kernel, u32, UpdateMode, u64 } from 'tsbpf';
 *
 * const map = BpfMap.create(new Kernel(), hash('counts', { key: u32, value: u64, maxEntries: 8 }));
 * map.update(7, 1n, UpdateMode.create);
 * map.update(7, 2n, UpdateMode.replace);
 * map.close();
 * ```
 */
export const UpdateMode = { any: BPF_ANY, create: BPF_NOEXIST, replace: BPF_EXIST } as const;
export type UpdateMode = (typeof UpdateMode)[keyof typeof UpdateMode];

/** Map types whose keys are indices. Indices cannot be added or deleted. */
const ARRAYS: ReadonlySet<MapType> = new Set([
  ...[MapType.array, MapType.perCpuArray, MapType.arrayOfMaps, MapType.instructionArray],
  ...[MapType.programArray, MapType.perfEventArray, MapType.cgroupArray],
]);

/** The limits of a pass, in steps for each key that it has found: without and with checks. */
const [STEPS, CHECKED_STEPS] = [2, 32];

/** The keys that a pass has found, and whether it reached the end. */
interface Pass {
  readonly keys: ReadonlySet<string>;
  readonly complete: boolean;
}

/**
 * Accesses the elements of a map through a descriptor that it does not own. Calls read and write `key` and
 * `value`.
 */
export class Elements {
  /** The bytes of the key for the next call. */
  readonly key: Uint8Array;
  /** The bytes of the value; for a per-CPU map the values of all possible CPUs. */
  readonly value: Uint8Array;
  readonly #kernel: Kernel;
  readonly #spec: MapSpec;
  readonly #descriptor: Descriptor;
  /** The memory of `key`, and of the key that follows. */
  readonly #keyText: Buffer;
  readonly #nextKeyText: Buffer;
  // Reused for all calls: map_fd, key, value or next_key, flags. Fields that a command does not use must be
  // zero.
  readonly #element: Attr;
  readonly #keyOnly: Attr;
  readonly #next: Attr;
  readonly #first: Attr;

  constructor(kernel: Kernel, spec: MapSpec, descriptor: Descriptor, valueBytes: number) {
    const keyBytes = layoutOf(spec.key).size;
    this.#kernel = kernel;
    this.#spec = spec;
    this.#descriptor = descriptor;
    this.key = allocate(keyBytes);
    this.value = allocate(valueBytes);
    this.#keyText = Buffer.from(this.key.buffer);
    const nextKey = allocate(keyBytes);
    this.#nextKeyText = Buffer.from(nextKey.buffer);
    const attr = (size: number) => new Attr(kernel.syscalls, size);
    this.#element = attr(32).pointer(8, this.key).pointer(16, this.value);
    this.#keyOnly = attr(16).pointer(8, this.key);
    this.#next = attr(24).pointer(8, this.key).pointer(16, nextKey);
    // A null key returns the first key, since Linux 4.12.
    this.#first = attr(24).pointer(16, nextKey);
  }

  /** Reads the value of `key` into `value`. Returns whether the map has the key. @throws {KernelError} */
  lookup(): boolean {
    this.#element.u64(24, 0n);
    return this.#isThere('BPF_MAP_LOOKUP_ELEM', this.#element, Command.mapLookupElem, 'look up a key of');
  }

  /** Sets the value of `key` to `value`. @throws {KernelError} */
  update(mode: UpdateMode): void {
    const attr = this.#element.u64(24, BigInt(mode));
    const result = this.#send(attr, Command.mapUpdateElem);
    if (result < 0) throw this.#failure('BPF_MAP_UPDATE_ELEM', -result, 'update');
  }

  /** Deletes `key`. Returns whether the map had it. @throws {KernelError} */
  delete(): boolean {
    return this.#isThere('BPF_MAP_DELETE_ELEM', this.#keyOnly, Command.mapDeleteElem, 'delete from');
  }

  /**
   * Lists the bytes of each key once. It reads all keys before it yields the first one, so the caller may
   * change the map.
   *
   * The kernel returns the key that follows a given key. If others change the map, a pass over all keys can
   * fail in three ways. A deleted key has no successor: the kernel starts again from the first key. If an
   * element is deleted and reused during the call, the kernel follows it into another bucket and skips those
   * between. An update of a hash table inserts a new element at the front of the bucket, perhaps behind the
   * current key. If two passes find the same keys, they are complete. Otherwise two further passes check
   * after each step that the key still exists, and step back if it does not. The kernel guarantees no more: a
   * key can stay hidden if updates move it in each of the passes.
   *
   * Source: kernel/bpf/hashtab.c (`htab_map_get_next_key`, `htab_map_update_elem`), kernel/bpf/lpm_trie.c
   * (`trie_get_next_key`).
   * @throws {MapIterationError} if no pass reaches the end. @throws {KernelError}
   */
  *keys(): Generator<Uint8Array, void, undefined> {
    for (const key of this.#readKeys()) yield Buffer.from(key, 'latin1');
  }

  /** Reads all keys as Latin-1 texts. */
  #readKeys(): ReadonlySet<string> {
    const first = this.#pass({ checked: false });
    if (ARRAYS.has(this.#spec.type)) return first.keys;
    const second = this.#pass({ checked: false });
    if (first.complete && second.complete && isSame(first.keys, second.keys)) return first.keys;
    const careful = [this.#pass({ checked: true }), this.#pass({ checked: true })];
    const keys = new Set([first, second, ...careful].flatMap((pass) => [...pass.keys]));
    if (careful.some(({ complete }) => complete)) return keys;
    throw new MapIterationError(this.#spec.name, keys.size);
  }

  /** Steps from key to key until the end, or until there were far more steps than the map can have keys. */
  #pass({ checked }: { readonly checked: boolean }): Pass {
    const keys = new Set<string>();
    // The keys so far, in the map's order. Each existed when the key after it was read.
    const path: string[] = [];
    const { maxEntries } = this.#spec;
    const most = checked ? CHECKED_STEPS : STEPS;
    // Others may insert new keys as fast as this pass finds them. At any moment there are at most
    // `maxEntries`.
    const size = () => Math.max(64, Math.min(keys.size, maxEntries || keys.size));
    for (let steps = 0; steps <= most * size(); steps++) {
      const last = path.at(-1);
      const next = this.#after(last);
      if (checked && last !== undefined && !this.#isStillThere(last)) {
        path.pop();
        continue;
      }
      if (next === undefined) return { keys, complete: true };
      keys.add(next);
      if (checked) path.push(next);
      else path[0] = next;
    }
    return { keys, complete: false };
  }

  /** Reads the key that follows another one, or the first key. */
  #after(key: string | undefined): string | undefined {
    if (key !== undefined) this.#keyText.write(key, 'latin1');
    const attr = key === undefined ? this.#first : this.#next;
    if (!this.#isThere('BPF_MAP_GET_NEXT_KEY', attr, Command.mapGetNextKey, 'list the keys of'))
      return undefined;
    return this.#nextKeyText.toString('latin1');
  }

  /**
   * Whether the key exists. In a trie a shorter prefix also counts; a pass over a trie can restart, but it
   * skips no key.
   */
  #isStillThere(key: string): boolean {
    this.#keyText.write(key, 'latin1');
    return this.lookup();
  }

  /** Makes a call that answers ENOENT if there is no such key. Returns whether there is. */
  #isThere(name: string, attr: Attr, command: number, tried: string): boolean {
    const result = this.#send(attr, command);
    if (result >= 0) return true;
    if (result === -Errno.ENOENT) return false;
    throw this.#failure(name, -result, tried);
  }

  #send(attr: Attr, command: number): number {
    return attr.u32(0, this.#descriptor.fd).send(command);
  }

  #failure(name: string, errno: number, tried: string): KernelError {
    return kernelError(this.#kernel, {
      syscall: `bpf(${name})`,
      errno,
      tried: `${tried} the map '${this.#spec.name}'`,
      hint: name === 'BPF_MAP_UPDATE_ELEM' ? updateHint(this.#spec, errno) : undefined,
    });
  }
}

function updateHint(spec: MapSpec, errno: number): string | undefined {
  if (errno === Errno.E2BIG)
    return `the map is full, or the index is beyond its ${spec.maxEntries} entries; increase maxEntries`;
  if (errno !== Errno.EINVAL || !isMapOfMaps(spec)) return undefined;
  return (
    `an inner map must have the type, sizes and flags of '${spec.inner.name}', ` +
    'and, if it is an array or before Linux 5.10, its maxEntries'
  );
}

function isSame(some: ReadonlySet<string>, others: ReadonlySet<string>): boolean {
  if (some.size !== others.size) return false;
  for (const key of some) if (!others.has(key)) return false;
  return true;
}
