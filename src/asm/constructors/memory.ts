/**
 * Constructors of loads, stores and atomics. Stores are written as the assignment reads: width, base, offset,
 * then what is stored. A width is any object with a `size` of 1, 2, 4 or 8 bytes, as the scalar layouts are;
 * an offset is in bytes, -32768 to 32767.
 *
 * All throw a RangeError that names instruction, operand and limit where an operand doesn't fit.
 *
 * Source: RFC 9669, sections 5.1 to 5.4.
 */
import { withSourcePosition } from '../error-position.ts';
import type { Instruction, Register } from '../instruction.ts';
import type { MapSpec } from '../map.ts';
import type { Width } from '../width.ts';
import { formNamed, formsApart, formsBySize, make, registerAndImmediate } from './make.ts';

/** Makes a load: `dst = *(width *)(base + off)`. */
export type Load = (width: Width, dst: Register, base: Register, off?: number) => Instruction;
/** Makes a store: `*(width *)(base + off) = src`. */
export type Store = (width: Width, base: Register, off: number, src: Register) => Instruction;

function load(name: string): Load {
  const forms = formsBySize(name);
  return (width, dst, src, off = 0) => make(forms.of(width), { dst, src, off });
}

function store(name: string): Store {
  const forms = formsBySize(name);
  return (width, dst, off, src) => make(forms.of(width), { dst, off, src });
}

/** `dst = *(width *)(base + off)`, the bits above cleared. */
export const ldx = load('ldx');
/** `dst = *(width *)(base + off)` of 1, 2 or 4 bytes, sign-extended to 64 bits (Linux 6.6). */
export const ldsx = load('ldsx');
/** `*(width *)(base + off) = src` */
export const stx = store('stx');

const immediateStores = formsBySize('st');

/**
 * `*(width *)(base + off) = imm`. The immediate must fit the width, signed or unsigned; one of 8 bytes is 32
 * signed bits, extended.
 */
export function st(width: Width, base: Register, off: number, imm: number): Instruction {
  return make(immediateStores.of(width), { dst: base, off, imm });
}

/** `dst = *(width *)(base + off)` with acquire order, of any width (Linux 6.15). */
export const loadAcquire = load('loadAcquire');
/** `*(width *)(base + off) = src` with release order, of any width (Linux 6.15). */
export const storeRelease = store('storeRelease');

/** What one instruction does to memory while no other CPU does; widths of 4 and 8 bytes. */
export const atomic = {
  /** `*(base + off) += src` */
  add: store('atomic.add'),
  /** `*(base + off) |= src` (Linux 5.12, as all that follow). */
  or: store('atomic.or'),
  /** `*(base + off) &= src` */
  and: store('atomic.and'),
  /** `*(base + off) ^= src` */
  xor: store('atomic.xor'),
  /** `add`, and src becomes what was there before. */
  fetchAdd: store('atomic.fetchAdd'),
  /** `or`, and src becomes what was there before. */
  fetchOr: store('atomic.fetchOr'),
  /** `and`, and src becomes what was there before. */
  fetchAnd: store('atomic.fetchAnd'),
  /** `xor`, and src becomes what was there before. */
  fetchXor: store('atomic.fetchXor'),
  /** Exchanges src with what is there. */
  xchg: store('atomic.xchg'),
  /** Stores src if what is there equals r0; r0 becomes what was there before. */
  cmpxchg: store('atomic.cmpxchg'),
} as const;

const wide = formNamed('lddw');

/** `dst = value`, any 64 bits (-2^63 to 2^64-1; a number must be a safe integer). Takes two slots. */
export function lddw(dst: Register, value: bigint | number): Instruction {
  if (typeof value === 'number' && !Number.isSafeInteger(value))
    throw withSourcePosition(
      new RangeError(`lddw: immediate ${value} is not a safe integer; write it as a bigint`),
    );
  const bits = BigInt(value);
  if (bits < -(2n ** 63n) || bits >= 2n ** 64n)
    throw withSourcePosition(new RangeError(`lddw: immediate ${bits} does not fit in 64 bits`));
  return make(wide, {
    dst,
    imm: Number(BigInt.asIntN(32, bits)),
    high: Number(BigInt.asIntN(32, bits >> 32n)),
  });
}

const mapForm = formNamed('loadMap');
const mapValue = formNamed('loadMapValue');
const mapByIndex = formNamed('loadMapByIndex');
const mapValueByIndex = formNamed('loadMapValueByIndex');
const btfVariable = formsApart('loadBtfVariable', 'high');

/** `dst` = the map, as helpers take it. Whoever loads the program fills in its fd. Takes two slots. */
export function loadMap(dst: Register, map: MapSpec): Instruction {
  return make(mapForm, { dst, imm: 0 }, { kind: 'map', map });
}

/** `dst` = the address of byte `offset` in the value of an array map with one entry (Linux 5.2). Takes two slots. */
export function loadMapValue(dst: Register, map: MapSpec, offset = 0): Instruction {
  return make(mapValue, { dst, imm: 0, high: offset }, { kind: 'mapValue', map, offset });
}

/** `loadMap` by the map's place in the loader's array of fds instead of its fd (Linux 5.14). */
export function loadMapByIndex(dst: Register, index: number): Instruction {
  return make(mapByIndex, { dst, imm: index });
}

/** `loadMapValue` by the map's place in the loader's array of fds (Linux 5.14). */
export function loadMapValueByIndex(dst: Register, index: number, offset = 0): Instruction {
  return make(mapValueByIndex, { dst, imm: index, high: offset });
}

/**
 * `dst` = the address of a kernel variable by its BTF id (Linux 5.10); `module` is the fd of its module's BTF (Linux 5.12), 0 for
 * vmlinux. Takes two slots.
 */
export function loadBtfVariable(dst: Register, btfId: number, module = 0): Instruction {
  const { operand, fixed } = btfVariable;
  return make(module === 0 ? fixed : operand, { dst, imm: btfId, high: module });
}

const argument = formNamed('loadArgument');
const argumentStore = registerAndImmediate('storeArgument');

/**
 * `dst` = the nth argument of the subprogram that this is in; 6 to 12, the first five being in r1 to r5 (Linux 7.2). The kernel has to be told how
 * many there are, which `loadProgram` does: as many as the subprogram reads by this.
 */
export function loadArgument(dst: Register, n: number): Instruction {
  return make(argument, { dst, off: argumentOffset('loadArgument', n) });
}

/** The nth argument of the next call, 6 to 12, is `operand` (Linux 7.2), as long as what it calls reads it. An immediate is sign-extended. */
export function storeArgument(n: number, operand: Register | number): Instruction {
  const off = -argumentOffset('storeArgument', n);
  return typeof operand === 'number'
    ? make(argumentStore.immediate, { off, imm: operand })
    : make(argumentStore.register, { off, src: operand });
}

function argumentOffset(name: string, n: number): number {
  if (!Number.isInteger(n) || n < 6 || n > 12)
    throw new RangeError(`${name}: argument ${String(n)} is not between 6 and 12`);
  return 8 * (n - 5);
}

const packetLoads = formsBySize('loadPacket');
const indirectPacketLoads = formsBySize('loadPacketAt');

/** Packet load of 1, 2 or 4 bytes at `imm`, in host order, to r0; r6 holds the packet. Socket filters only. */
export function loadPacket(width: Width, imm: number): Instruction {
  return make(packetLoads.of(width), { imm });
}

/** `loadPacket` at `src + imm`. */
export function loadPacketAt(width: Width, src: Register, imm: number): Instruction {
  return make(indirectPacketLoads.of(width), { src, imm });
}
