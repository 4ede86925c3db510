/**
 * Constructors of loads, stores and atomic instructions. Stores take their arguments in the order of the
 * assignment: width, base, offset, value. A width is any object with a `size` of 1, 2, 4 or 8 bytes, such as
 * the schemas u8 to u64; offsets are in bytes, -32768 to 32767.
 *
 * Source: RFC 9669, sections 5.1 to 5.4.
 */
import { withSourcePosition } from '../error-position.ts';
import type { Instruction, Register } from '../instruction.ts';
import type { MapSpec } from '../map.ts';
import type { Width } from '../width.ts';
import { formNamed, formsByOperand, formsBySize, make, registerAndImmediate } from './make.ts';

/** Constructor of a load, `dst = *(width *)(base + off)`; `off` is in bytes, 0 if omitted. */
export type Load = (width: Width, dst: Register, base: Register, off?: number) => Instruction;

/** Constructor of a store, `*(width *)(base + off) = src`; `off` is in bytes. */
export type Store = (width: Width, base: Register, off: number, src: Register) => Instruction;

function load(name: string): Load {
  const forms = formsBySize(name);
  return (width, dst, src, off = 0) => make(forms().of(width), { dst, src, off });
}

function store(name: string): Store {
  const forms = formsBySize(name);
  return (width, dst, off, src) => make(forms().of(width), { dst, off, src });
}

/**
 * Loads 1, 2, 4 or 8 bytes and zero-extends them to 64 bits.
 *
 * @throws {RangeError} if the width is not allowed, the offset does not fit in 16 bits, or a register does
 * not exist.
 *
 * @example
 * import { ldx, r0, r1 } from 'tsbpf/asm';
 * ldx({ size: 4 }, r0, r1, 16); // r0 = *(u32 *)(r1 +16)
 */
export const ldx = load('ldx');

/**
 * Loads 1, 2 or 4 bytes and sign-extends them to 64 bits (Linux 6.6).
 *
 * @throws {RangeError} if the width is not allowed, the offset does not fit in 16 bits, or a register does
 * not exist.
 *
 * @example
 * import { ldsx, r0, r1 } from 'tsbpf/asm';
 * ldsx({ size: 4 }, r0, r1, 16); // r0 = *(s32 *)(r1 +16)
 */
export const ldsx = load('ldsx');

/**
 * Stores the low 1, 2, 4 or 8 bytes of a register.
 *
 * @throws {RangeError} if the width is not allowed, the offset does not fit in 16 bits, or a register does
 * not exist.
 *
 * @example
 * import { r1, r10, stx } from 'tsbpf/asm';
 * stx({ size: 8 }, r10, -8, r1); // *(u64 *)(r10 -8) = r1
 */
export const stx = store('stx');

const immediateStores = formsBySize('st');

/**
 * Stores an immediate in 1, 2, 4 or 8 bytes. The immediate fits the width, signed or unsigned; for 8 bytes it
 * is a sign-extended 32-bit number.
 *
 * @throws {RangeError} if the width is not allowed, or the immediate or the offset does not fit.
 *
 * @example
 * import { r10, st } from 'tsbpf/asm';
 * st({ size: 4 }, r10, -4, 443); // *(u32 *)(r10 -4) = 443
 */
export function st(width: Width, base: Register, off: number, imm: number): Instruction {
  return make(immediateStores().of(width), { dst: base, off, imm });
}

/**
 * Loads with acquire ordering, and zero-extends to 64 bits (Linux 6.15).
 *
 * @throws {RangeError} if the width is not allowed, the offset does not fit in 16 bits, or a register does
 * not exist.
 *
 * @example
 * import { loadAcquire, r0, r1 } from 'tsbpf/asm';
 * loadAcquire({ size: 8 }, r0, r1); // r0 = load_acquire((u64 *)(r1 +0))
 */
export const loadAcquire = load('loadAcquire');

/**
 * Stores with release ordering (Linux 6.15).
 *
 * @throws {RangeError} if the width is not allowed, the offset does not fit in 16 bits, or a register does
 * not exist.
 *
 * @example
 * import { r1, r2, storeRelease } from 'tsbpf/asm';
 * storeRelease({ size: 8 }, r1, 0, r2); // store_release((u64 *)(r1 +0), r2)
 */
export const storeRelease = store('storeRelease');

/**
 * Atomic read-modify-write instructions on 4 or 8 bytes of memory, with the arguments of `stx`.
 *
 * @throws {RangeError} if the width is not 4 or 8 bytes, or the offset does not fit in 16 bits.
 *
 * @example
 * import { atomic, r1, r2 } from 'tsbpf/asm';
 * atomic.fetchAdd({ size: 8 }, r1, 0, r2); // r2 = atomic64_fetch_add((u64 *)(r1 +0), r2)
 */
export const atomic = {
  /** Adds src to memory. */
  add: store('atomic.add'),
  /** Bitwise OR of src into memory (Linux 5.12). */
  or: store('atomic.or'),
  /** Bitwise AND of src into memory (Linux 5.12). */
  and: store('atomic.and'),
  /** Bitwise XOR of src into memory (Linux 5.12). */
  xor: store('atomic.xor'),
  /** Adds src to memory; src becomes the previous value (Linux 5.12). */
  fetchAdd: store('atomic.fetchAdd'),
  /** Bitwise OR of src into memory; src becomes the previous value (Linux 5.12). */
  fetchOr: store('atomic.fetchOr'),
  /** Bitwise AND of src into memory; src becomes the previous value (Linux 5.12). */
  fetchAnd: store('atomic.fetchAnd'),
  /** Bitwise XOR of src into memory; src becomes the previous value (Linux 5.12). */
  fetchXor: store('atomic.fetchXor'),
  /** Exchanges src with memory (Linux 5.12). */
  xchg: store('atomic.xchg'),
  /** Stores src if memory equals r0; r0 becomes the previous value (Linux 5.12). */
  cmpxchg: store('atomic.cmpxchg'),
} as const;

const wide = formNamed('lddw');

/**
 * Loads a 64-bit constant, -2^63 to 2^64-1. Takes two slots. A number must be a safe integer; write larger
 * constants as bigints.
 *
 * @throws {RangeError} if the value does not fit in 64 bits, or is an unsafe number.
 *
 * @example
 * import { lddw, r1 } from 'tsbpf/asm';
 * lddw(r1, 0xffff_ffff_0000n); // r1 = 0xffffffff0000
 */
export function lddw(dst: Register, value: bigint | number): Instruction {
  if (typeof value === 'number' && !Number.isSafeInteger(value))
    throw withSourcePosition(
      new RangeError(`lddw: immediate ${value} is not a safe integer; write it as a bigint`),
    );
  const bits = BigInt(value);
  if (bits < -(2n ** 63n) || bits >= 2n ** 64n)
    throw withSourcePosition(new RangeError(`lddw: immediate ${bits} does not fit in 64 bits`));
  return make(wide(), {
    dst,
    imm: Number(BigInt.asIntN(32, bits)),
    high: Number(BigInt.asIntN(32, bits >> 32n)),
  });
}

const mapForm = formNamed('loadMap');
const mapValue = formNamed('loadMapValue');
const mapByIndex = formNamed('loadMapByIndex');
const mapValueByIndex = formNamed('loadMapValueByIndex');
const btfVariable = formsByOperand('loadBtfVariable', 'high');

/**
 * Loads the address of a map, as helpers take it. The loader fills in the file descriptor. Takes two slots.
 *
 * @example
 * import { hash, u32, u64 } from 'tsbpf';
 * import { loadMap, r1 } from 'tsbpf/asm';
 *
 * const counts = hash('counts', { key: u32, value: u64, maxEntries: 64 });
 * loadMap(r1, counts); // r1 = map[counts]
 */
export function loadMap(dst: Register, map: MapSpec): Instruction {
  return make(mapForm(), { dst, imm: 0 }, { kind: 'map', map });
}

/**
 * Loads the address of byte `offset` in the value of an array map with one entry (Linux 5.2). Takes two
 * slots.
 *
 * @throws {RangeError} if the offset is negative.
 *
 * @example
 * import { array, u64 } from 'tsbpf';
 * import { loadMapValue, r1 } from 'tsbpf/asm';
 *
 * const total = array('total', { value: u64, maxEntries: 1 });
 * loadMapValue(r1, total, 0); // r1 = map[total][0]+0
 */
export function loadMapValue(dst: Register, map: MapSpec, offset = 0): Instruction {
  return make(mapValue(), { dst, imm: 0, high: offset }, { kind: 'mapValue', map, offset });
}

/**
 * Loads the address of a map by its index in the loader's array of file descriptors (Linux 5.14). Takes two
 * slots.
 *
 * @throws {RangeError} if the index is negative.
 *
 * @example
 * import { loadMapByIndex, r1 } from 'tsbpf/asm';
 * loadMapByIndex(r1, 0); // r1 = map[idx:0]
 */
export function loadMapByIndex(dst: Register, index: number): Instruction {
  return make(mapByIndex(), { dst, imm: index });
}

/**
 * Loads the address of byte `offset` in the value of a map, by the map's index in the loader's array of file
 * descriptors (Linux 5.14). Takes two slots.
 *
 * @throws {RangeError} if the index or the offset is negative.
 *
 * @example
 * import { loadMapValueByIndex, r1 } from 'tsbpf/asm';
 * loadMapValueByIndex(r1, 0, 8); // r1 = map[idx:0]+8
 */
export function loadMapValueByIndex(dst: Register, index: number, offset = 0): Instruction {
  return make(mapValueByIndex(), { dst, imm: index, high: offset });
}

/**
 * Loads the address of a kernel variable by its BTF id (Linux 5.10). `module` is the file descriptor of the
 * module's BTF (Linux 5.12), 0 for vmlinux. Takes two slots.
 *
 * @throws {RangeError} if the id or the descriptor is out of range.
 *
 * @example
 * import { loadBtfVariable, r1 } from 'tsbpf/asm';
 * loadBtfVariable(r1, 4711); // r1 = variable[id:4711]
 */
export function loadBtfVariable(dst: Register, btfId: number, module = 0): Instruction {
  const { operand, fixed } = btfVariable();
  return make(module === 0 ? fixed : operand, { dst, imm: btfId, high: module });
}

const argument = formNamed('loadArgument');
const argumentStore = registerAndImmediate('storeArgument');

/**
 * Loads argument 6 to 12 of the subprogram that contains it (Linux 7.2); the first five are in r1 to r5.
 * `loadProgram` declares to the kernel as many arguments as the subprogram reads.
 *
 * @throws {RangeError} if `n` is not 6 to 12.
 *
 * @example
 * import { loadArgument, r1 } from 'tsbpf/asm';
 * loadArgument(r1, 6); // r1 = *(u64 *)(r11 +8)
 */
export function loadArgument(dst: Register, n: number): Instruction {
  return make(argument(), { dst, off: argumentOffset('loadArgument', n) });
}

/**
 * Sets argument 6 to 12 of the next call (Linux 7.2). The callee reads it with `loadArgument`. Sign-extends
 * an immediate.
 *
 * @throws {RangeError} if `n` is not 6 to 12.
 *
 * @example
 * import { r1, storeArgument } from 'tsbpf/asm';
 * storeArgument(6, r1); // *(u64 *)(r11 -8) = r1
 */
export function storeArgument(n: number, operand: Register | number): Instruction {
  const off = -argumentOffset('storeArgument', n);
  return typeof operand === 'number'
    ? make(argumentStore().immediate, { off, imm: operand })
    : make(argumentStore().register, { off, src: operand });
}

function argumentOffset(name: string, n: number): number {
  if (!Number.isInteger(n) || n < 6 || n > 12)
    throw new RangeError(`${name}: argument ${String(n)} is not between 6 and 12`);
  return 8 * (n - 5);
}

const packetLoads = formsBySize('loadPacket');
const indirectPacketLoads = formsBySize('loadPacketAt');

/**
 * Loads 1, 2 or 4 bytes of the packet at offset `imm`, in host order, to r0. Only for socket filters, which
 * keep the packet in r6.
 *
 * @throws {RangeError} if the width is not 1, 2 or 4 bytes, or the offset does not fit in 32 bits.
 *
 * @example
 * import { loadPacket } from 'tsbpf/asm';
 * loadPacket({ size: 2 }, 12); // r0 = *(u16 *)skb[12]
 */
export function loadPacket(width: Width, imm: number): Instruction {
  return make(packetLoads().of(width), { imm });
}

/**
 * Loads 1, 2 or 4 bytes of the packet at offset `src + imm`, in host order, to r0. Only for socket filters,
 * which keep the packet in r6.
 *
 * @throws {RangeError} if the width is not 1, 2 or 4 bytes, or the offset does not fit in 32 bits.
 *
 * @example
 * import { loadPacketAt, r2 } from 'tsbpf/asm';
 * loadPacketAt({ size: 1 }, r2, 14); // r0 = *(u8 *)skb[r2 + 14]
 */
export function loadPacketAt(width: Width, src: Register, imm: number): Instruction {
  return make(indirectPacketLoads().of(width), { src, imm });
}
