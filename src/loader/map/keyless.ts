/**
 * The values of maps without keys: queues, stacks and bloom filters.
 *
 * Source: kernel/bpf/syscall.c (`map_lookup_elem`, `map_lookup_and_delete_elem`: a null key).
 */
import { withSourcePosition } from '../../asm/error-position.ts';
import { type MapSpec, MapType, mapTypeName } from '../../asm/map.ts';
import { Attr, Command, type Descriptor } from '../bpf.ts';
import { Errno } from '../errno.ts';
import type { Kernel } from '../kernel.ts';
import { kernelError } from '../permission.ts';

const NAMES = {
  [Command.mapUpdateElem]: ['BPF_MAP_UPDATE_ELEM', 'push a value to'],
  [Command.mapLookupElem]: ['BPF_MAP_LOOKUP_ELEM', 'peek at'],
  [Command.mapLookupAndDeleteElem]: ['BPF_MAP_LOOKUP_AND_DELETE_ELEM', 'pop a value of'],
} as const;

/** The system calls of a map without keys. They read or write `value`. */
export class Keyless {
  readonly #kernel: Kernel;
  readonly #spec: MapSpec;
  readonly #descriptor: Descriptor;
  readonly #attr: Attr;

  constructor(kernel: Kernel, spec: MapSpec, descriptor: Descriptor, value: Uint8Array) {
    this.#kernel = kernel;
    this.#spec = spec;
    this.#descriptor = descriptor;
    // map_fd, a null key, value, flags
    this.#attr = new Attr(kernel.syscalls, 32).pointer(16, value);
  }

  /** Throws TypeError unless the map is of one of the types. `method` names the caller. */
  require(method: string, ...types: readonly MapType[]): void {
    const { name, type } = this.#spec;
    if (types.includes(type)) return;
    const needed = types.map((each) => `${mapTypeName(each)}()`).join(' or ');
    throw withSourcePosition(
      new TypeError(`${method}() needs a map made by ${needed}; the map '${name}' is a ${mapTypeName(type)}`),
    );
  }

  /** Adds `value`. @throws {KernelError} */
  push(mode: number): void {
    this.#send(Command.mapUpdateElem, mode);
  }

  /**
   * Reads the next value into `value`; in a bloom filter, looks for `value`. Returns whether there is one.
   * @throws {KernelError}
   */
  peek(): boolean {
    return this.#send(Command.mapLookupElem);
  }

  /** Moves the next value to `value`. Returns whether there is one. @throws {KernelError} */
  pop(): boolean {
    return this.#send(Command.mapLookupAndDeleteElem);
  }

  #send(command: keyof typeof NAMES, flags = 0): boolean {
    const result = this.#attr.u32(0, this.#descriptor.fd).u64(24, BigInt(flags)).send(command);
    if (result >= 0) return true;
    if (result === -Errno.ENOENT) return false;
    const [name, tried] = NAMES[command];
    const isFull = command === Command.mapUpdateElem && result === -Errno.E2BIG;
    throw kernelError(this.#kernel, {
      syscall: `bpf(${name})`,
      errno: -result,
      tried: `${tried} the map '${this.#spec.name}'`,
      hint: isFull
        ? `its ${this.#spec.maxEntries} entries are in use; pop values, or drop the oldest with UpdateMode.replace`
        : undefined,
    });
  }
}

export const QUEUES = [MapType.queue, MapType.stack] as const;
