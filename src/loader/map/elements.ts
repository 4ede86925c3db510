/**
 * The elements of a map as bytes: system calls for one key, and passes over all of them.
 *
 * Source: man 2 bpf.
 */
import { layoutOf } from '../../asm/layout.ts';
import type { MapSpec } from '../../asm/map.ts';
import { Attr, allocate, Command, type Descriptor } from '../bpf.ts';
import { Errno } from '../errno.ts';
import { type KernelError, MapIterationError } from '../errors.ts';
import type { Kernel } from '../kernel.ts';
import { kernelError } from '../permission.ts';
import { Batches, Chunk } from './batch.ts';
import { ARRAYS, elementHint, typeHint } from './hints.ts';
import { UpdateMode } from './update-mode.ts';

/** The limits of a pass, in steps for each key that it has found: without and with checks. */
const [STEPS, CHECKED_STEPS] = [2, 32];

/** The steps of a pass between two pauses of an asynchronous reader. */
const STEPS_PER_PAUSE = 256;

/** A chunk without entries: the reader may pause. */
const PAUSE = new Chunk(0, 0, 0);

/** An entry that could not be written. */
export interface FailedEntry {
  readonly error: KernelError;
  /** The index of the entry in all chunks. */
  readonly index: number;
  readonly chunk: Chunk;
  /** The index of the entry in its chunk. */
  readonly at: number;
}

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
  readonly #batches: Batches;

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
    this.#batches = new Batches(kernel, spec, descriptor, keyBytes, valueBytes);
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

  /** Memory for up to `entries` entries, for `write`. */
  chunk(entries: number): Chunk {
    return this.#batches.chunk(entries);
  }

  /**
   * Writes entries, in batches if the kernel has them. Deleting skips missing keys. Returns the number of
   * entries that were updated or deleted, and the first one that failed, after which nothing is written.
   */
  write(
    command: typeof Command.mapUpdateBatch | typeof Command.mapDeleteBatch,
    chunks: readonly Chunk[],
    mode: UpdateMode = UpdateMode.any,
  ): { readonly applied: number; readonly failed?: FailedEntry } {
    const deletes = command === Command.mapDeleteBatch;
    // The kernel's batches have no modes.
    const isBatched = deletes || mode === UpdateMode.any;
    let [applied, index] = [0, 0];
    for (const chunk of chunks)
      for (let at = 0; at < chunk.count; ) {
        const batch =
          isBatched && this.#batches.has(command) ? this.#batches.write(command, chunk, at) : 'unsupported';
        const { done, errno } = batch === 'unsupported' ? this.#writeOne(deletes, chunk, at, mode) : batch;
        [applied, index, at] = [applied + done, index + done, at + done];
        if (errno === Errno.ENOENT && deletes) [index, at] = [index + 1, at + 1];
        else if (errno !== 0) {
          const name = `BPF_MAP_${deletes ? 'DELETE' : 'UPDATE'}_${batch === 'unsupported' ? 'ELEM' : 'BATCH'}`;
          const error = this.#failure(name, errno, deletes ? 'delete from' : 'update');
          return { applied, failed: { index, error, chunk, at } };
        }
      }
    return { applied };
  }

  /** Writes the entry of a chunk with a call for one key. */
  #writeOne(deletes: boolean, chunk: Chunk, at: number, mode: UpdateMode): { done: number; errno: number } {
    this.#load(chunk.keys, chunk.values, at);
    const result = deletes
      ? this.#send(this.#keyOnly, Command.mapDeleteElem)
      : this.#send(this.#element.u64(24, BigInt(mode)), Command.mapUpdateElem);
    return result < 0 ? { done: 0, errno: -result } : { done: 1, errno: 0 };
  }

  #load(keys: Uint8Array, values: Uint8Array, at: number): void {
    this.key.set(keys.subarray(at * this.key.length, (at + 1) * this.key.length));
    this.value.set(values.subarray(at * this.value.length, (at + 1) * this.value.length));
  }

  /**
   * Reads all keys, with their values if `values` is true. A chunk is valid until the next step; an empty one
   * only lets the reader pause.
   *
   * Batches (batch.ts) read each key that stays in the map once. Without them, all keys are read before the
   * first chunk, so the caller may change the map, and then one value in each step; keys that are deleted
   * until then are skipped.
   * @throws {MapIterationError} if no pass reaches the end. @throws {KernelError}
   */
  *read({ values }: { readonly values: boolean }): Generator<Chunk, void, undefined> {
    if (yield* this.#readBatches(Command.mapLookupBatch, 'BPF_MAP_LOOKUP_BATCH', 'read')) return;
    const one = new Chunk(1, this.key.length, this.value.length);
    for (const key of yield* this.#readKeys()) {
      this.#keyText.write(key, 'latin1');
      if (!values || this.lookup()) yield this.#fill(one);
    }
  }

  /**
   * Deletes all entries and returns them in chunks, as `read`. Without batches, a value that is updated
   * between its lookup and its deletion is lost. `tried` is the verb of an error.
   * @throws {MapIterationError} if no pass reaches the end. @throws {KernelError}
   */
  *drain(tried: 'drain' | 'clear'): Generator<Chunk, void, undefined> {
    if (yield* this.#readBatches(Command.mapLookupAndDeleteBatch, 'BPF_MAP_LOOKUP_AND_DELETE_BATCH', tried))
      return;
    const one = new Chunk(1, this.key.length, this.value.length);
    for (const key of yield* this.#readKeys()) {
      this.#keyText.write(key, 'latin1');
      if (this.lookup() && this.delete()) yield this.#fill(one);
    }
  }

  /** Copies the current key and value. */
  #fill(one: Chunk): Chunk {
    one.keys.set(this.key);
    one.values.set(this.value);
    one.count = 1;
    return one;
  }

  /** Reads all entries in batches. Returns false, before the first chunk, if there are none for this map. */
  *#readBatches(command: number, name: string, tried: string): Generator<Chunk, boolean, undefined> {
    if (!this.#batches.has(command)) return false;
    const end = yield* this.#batches.read(command);
    if (end === 'unsupported') return false;
    if (end === 0) return true;
    throw this.#failure(name, end, tried);
  }

  /**
   * Reads all keys, each once, as Latin-1 texts, from key to key. Yields empty chunks.
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
   */
  *#readKeys(): Generator<Chunk, ReadonlySet<string>, undefined> {
    const first = yield* this.#pass({ checked: false });
    if (ARRAYS.has(this.#spec.type)) return first.keys;
    const second = yield* this.#pass({ checked: false });
    if (first.complete && second.complete && isSame(first.keys, second.keys)) return first.keys;
    const careful = [yield* this.#pass({ checked: true }), yield* this.#pass({ checked: true })];
    const keys = new Set([first, second, ...careful].flatMap((pass) => [...pass.keys]));
    if (careful.some(({ complete }) => complete)) return keys;
    throw new MapIterationError(this.#spec.name, keys.size);
  }

  /** Steps from key to key until the end, or until there were far more steps than the map can have keys. */
  *#pass({ checked }: { readonly checked: boolean }): Generator<Chunk, Pass, undefined> {
    const keys = new Set<string>();
    // The keys so far, in the map's order. Each existed when the key after it was read.
    const path: string[] = [];
    const { maxEntries } = this.#spec;
    const most = checked ? CHECKED_STEPS : STEPS;
    // Others may insert new keys as fast as this pass finds them. At any moment there are at most
    // `maxEntries`.
    const size = () => Math.max(64, Math.min(keys.size, maxEntries || keys.size));
    for (let steps = 0; steps <= most * size(); steps++) {
      if (steps % STEPS_PER_PAUSE === STEPS_PER_PAUSE - 1) yield PAUSE;
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
      hint: typeHint(this.#spec, name, errno) ?? elementHint(this.#spec, name, errno),
    });
  }
}

function isSame(some: ReadonlySet<string>, others: ReadonlySet<string>): boolean {
  if (some.size !== others.size) return false;
  for (const key of some) if (!others.has(key)) return false;
  return true;
}
