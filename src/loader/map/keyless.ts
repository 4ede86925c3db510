/**
 * The values of maps without keys: queues, stacks and bloom filters.
 *
 * Source: kernel/bpf/syscall.c (`map_lookup_elem`, `map_lookup_and_delete_elem`: a null key).
 */
import { withSourcePosition } from '../../asm/error-position.ts';
import { type MapSpec, MapType, mapTypeName } from '../../asm/map.ts';
import { isBloomFilter } from '../../asm/queue.ts';
import { Attr, Command, type Descriptor } from '../bpf.ts';
import { Errno } from '../errno.ts';
import type { Kernel } from '../kernel.ts';
import { kernelError } from '../permission.ts';
import { elementHint } from './hints.ts';

/** The name of a command, and what it does with a queue or stack, and with a bloom filter. */
const NAMES = {
  [Command.mapUpdateElem]: ['BPF_MAP_UPDATE_ELEM', 'push a value to', 'add a value to'],
  [Command.mapLookupElem]: ['BPF_MAP_LOOKUP_ELEM', 'peek at', 'look for a value in'],
  [Command.mapLookupAndDeleteElem]: ['BPF_MAP_LOOKUP_AND_DELETE_ELEM', 'pop a value of', ''],
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
    const [name, ofQueue, ofFilter] = NAMES[command];
    const isFilter = isBloomFilter(this.#spec);
    throw kernelError(this.#kernel, {
      syscall: `bpf(${name})`,
      errno: -result,
      tried: `${isFilter ? ofFilter : ofQueue} the map '${this.#spec.name}'`,
      hint:
        (isFilter ? undefined : queueHint(this.#spec, name, -result)) ??
        elementHint(this.#spec, name, -result),
    });
  }
}

/** The likely cause of an errno of a queue or stack. */
function queueHint({ maxEntries }: MapSpec, command: string, errno: number): string | undefined {
  if (command !== 'BPF_MAP_UPDATE_ELEM') return undefined;
  if (errno === Errno.E2BIG)
    return `its ${maxEntries} entries are in use; pop values, or drop the oldest with UpdateMode.replace`;
  return errno === Errno.EINVAL ? 'a queue or stack takes only UpdateMode.any and replace' : undefined;
}

export const QUEUES = [MapType.queue, MapType.stack] as const;
