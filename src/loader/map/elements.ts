/**
 * The elements of a map as bytes: the system calls about one key, and the walk over all of them.
 *
 * Source: man 2 bpf.
 */
import { layoutOf } from '../../asm/layout.ts';
import type { MapSpec } from '../../asm/map.ts';
import { isMapOfMaps } from '../../asm/map-of-maps.ts';
import { Attr, Command, type Descriptor, memory } from '../bpf.ts';
import { Errno } from '../errno.ts';
import type { KernelError } from '../errors.ts';
import type { Kernel } from '../kernel.ts';
import { refused } from '../permission.ts';

/** What an update is to do where the key is there, or isn't (`BPF_ANY`, `BPF_NOEXIST`, `BPF_EXIST`). */
export const UpdateMode = { any: 0, create: 1, replace: 2 } as const;
export type UpdateMode = (typeof UpdateMode)[keyof typeof UpdateMode];

/** The elements of a map whose descriptor another owns. What is asked about lies in `key`, what goes with it in `value`. */
export class Elements {
  /** Bytes of a key. */
  readonly key: Uint8Array;
  /** Bytes of all that one key has: of a per-CPU map a value a CPU. */
  readonly value: Uint8Array;
  readonly #kernel: Kernel;
  readonly #spec: MapSpec;
  readonly #descriptor: Descriptor;
  readonly #nextKey: Uint8Array;
  // Sent again and again: map_fd, key, value or next_key, flags. What a command doesn't use has to be zero.
  readonly #element: Attr;
  readonly #keyOnly: Attr;
  readonly #next: Attr;
  readonly #first: Attr;

  constructor(kernel: Kernel, spec: MapSpec, descriptor: Descriptor, valueBytes: number) {
    const keyBytes = layoutOf(spec.key).size;
    this.#kernel = kernel;
    this.#spec = spec;
    this.#descriptor = descriptor;
    this.key = memory(keyBytes);
    this.value = memory(valueBytes);
    this.#nextKey = memory(keyBytes);
    const attr = (size: number) => new Attr(kernel.syscalls, size);
    this.#element = attr(32).pointer(8, this.key).pointer(16, this.value);
    this.#keyOnly = attr(16).pointer(8, this.key);
    this.#next = attr(24).pointer(8, this.key).pointer(16, this.#nextKey);
    this.#first = attr(24).pointer(16, this.#nextKey);
  }

  /** Reads what `key` has into `value`: whether it is there. @throws {KernelError} */
  lookup(): boolean {
    this.#element.u64(24, 0n);
    return this.#isThere('BPF_MAP_LOOKUP_ELEM', this.#element, Command.mapLookupElem, 'look up a key of');
  }

  /** Gives `key` what is in `value`. @throws {KernelError} */
  update(mode: UpdateMode): void {
    const attr = this.#element.u64(24, BigInt(mode));
    const result = this.#send(attr, Command.mapUpdateElem);
    if (result < 0) throw this.#failure('BPF_MAP_UPDATE_ELEM', -result, 'update');
  }

  /** Deletes `key`: whether it was there. @throws {KernelError} */
  delete(): boolean {
    return this.#isThere('BPF_MAP_DELETE_ELEM', this.#keyOnly, Command.mapDeleteElem, 'delete from');
  }

  /**
   * Every key, once, as bytes of its own. The kernel starts again from the first key when the one it is asked about is gone (man 2 bpf),
   * which could go round for ever: so a key comes once, and a map that changes faster than it can be walked ends the walk.
   * @throws {KernelError}
   */
  *keys(): Generator<Uint8Array, void, undefined> {
    const seen = new Set<string>();
    let repeats = 0;
    let key = this.#after(undefined);
    while (key) {
      const id = Buffer.from(key).toString('latin1');
      if (seen.has(id)) repeats++;
      if (repeats > Math.max(this.#spec.maxEntries, 64)) return;
      // Before it is handed out, since whoever gets it may delete it.
      const following = this.#after(key);
      if (!seen.has(id)) {
        seen.add(id);
        yield key;
      }
      key = following;
    }
  }

  /** The key after `key`, the first one for none. */
  #after(key: Uint8Array | undefined): Uint8Array | undefined {
    if (key) this.key.set(key);
    // No key, "the first one", since Linux 4.12.
    const attr = key ? this.#next : this.#first;
    const more = this.#isThere('BPF_MAP_GET_NEXT_KEY', attr, Command.mapGetNextKey, 'walk');
    return more ? this.#nextKey.slice() : undefined;
  }

  /** A call where ENOENT is an answer: whether there was such a key. */
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
    return refused(this.#kernel, {
      syscall: `bpf(${name})`,
      errno,
      tried: `${tried} the map '${this.#spec.name}'`,
      hint: name === 'BPF_MAP_UPDATE_ELEM' ? updateHint(this.#spec, errno) : undefined,
    });
  }
}

function updateHint(spec: MapSpec, errno: number): string | undefined {
  if (errno === Errno.E2BIG) return `it is full, or the key is past its ${spec.maxEntries} entries`;
  if (errno !== Errno.EINVAL || !isMapOfMaps(spec)) return undefined;
  return `the maps in it have the type, sizes and flags of '${spec.inner.name}', and its number of entries where they are arrays (before Linux 5.10 in any case)`;
}
