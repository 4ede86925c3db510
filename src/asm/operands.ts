/**
 * The kinds of operand that an instruction's fields take, with their limits: what a constructor accepts
 * and what it says when it refuses. Nothing is ever truncated.
 */
import { withSourcePosition } from './error-position.ts';
import type { Register } from './instruction.ts';

/** Where a jump goes: a label, or a number of slots counted from the following instruction. */
export type JumpTarget = string | number;

interface Limits {
  /** What messages call the operand. */
  readonly noun: string;
  readonly least: number;
  readonly most: number;
  /** The end of "does not fit in ..."; where absent the message gives the range. */
  readonly room?: string;
  /** True where zero makes no sense (a divisor). */
  readonly nonzero?: boolean;
  /** True where a label may stand for the number. */
  readonly label?: boolean;
  /** What the number is a multiple of. */
  readonly step?: number;
  /** True where zero is another form of the instruction. */
  readonly zeroApart?: boolean;
}

const S32 = { least: -(2 ** 31), most: 2 ** 31 - 1, room: '32 signed bits' };
const U32 = { least: -(2 ** 31), most: 2 ** 32 - 1, room: '32 bits' };
const S16 = { least: -(2 ** 15), most: 2 ** 15 - 1, room: '16 signed bits' };

/** Every kind of number. A register kind (`register`, `base`) is no number and stands apart. */
const LIMITS = {
  /** An immediate that is sign-extended or compared with its sign. */
  signed: { noun: 'immediate', ...S32 },
  /** An immediate of which the low 32 bits are all there is, so that -1 and 2^32-1 are the same. */
  word: { noun: 'immediate', ...U32 },
  /** The same for stores of 2 bytes and of 1. */
  half: { noun: 'immediate', least: -(2 ** 15), most: 2 ** 16 - 1, room: '16 bits' },
  byte: { noun: 'immediate', least: -(2 ** 7), most: 2 ** 8 - 1, room: '8 bits' },
  /** The divisor of a 64-bit or a signed division, and of an unsigned 32-bit one. */
  divisor: { noun: 'immediate', ...S32, nonzero: true },
  wordDivisor: { noun: 'immediate', ...U32, nonzero: true },
  shift64: { noun: 'shift', least: 0, most: 63 },
  shift32: { noun: 'shift', least: 0, most: 31 },
  /** Bytes from a base register. */
  offset: { noun: 'offset', ...S16 },
  /** A jump's distance in slots, and one that takes the immediate instead of the offset. */
  target: { noun: 'distance', ...S16, label: true },
  farTarget: { noun: 'distance', ...S32, label: true },
  /** A helper's number, a BTF type's id, an index into the loader's table of maps or modules, an fd. */
  helper: { noun: 'helper', least: 1, most: 2 ** 31 - 1 },
  btfId: { noun: 'BTF id', least: 1, most: 2 ** 31 - 1 },
  index: { noun: 'index', least: 0, most: 2 ** 31 - 1 },
  module: { noun: 'module index', least: 1, most: 2 ** 15 - 1, zeroApart: true },
  fd: { noun: 'fd', least: 0, most: 2 ** 31 - 1 },
  moduleFd: { noun: "module's fd", least: 1, most: 2 ** 31 - 1, zeroApart: true },
  /** Where an argument past the fifth lies, seen by the called and by the caller: seven of them at most. */
  incoming: { noun: 'offset', least: 8, most: 56, step: 8 },
  outgoing: { noun: 'offset', least: -56, most: -8, step: 8 },
  /** Bytes into the value of an array map. */
  valueOffset: { noun: 'value offset', least: 0, most: 2 ** 31 - 1 },
  /** An address space's number; two of them share the immediate of addr_space_cast. */
  spaces: { noun: 'address spaces', ...U32 },
} as const satisfies Record<string, Limits>;

/** A kind of operand that is a number. */
export type NumberKind = keyof typeof LIMITS;
/** A kind of operand. `base` is a register that holds an address. */
export type Kind = 'register' | 'base' | NumberKind;

/** The limits of a kind of number. */
export function limitsOf(kind: NumberKind): Limits {
  return LIMITS[kind];
}

/** True of a kind for which a label may stand. */
export function takesLabel(kind: Kind): boolean {
  return kind !== 'register' && kind !== 'base' && limitsOf(kind).label === true;
}

/** `value`, which must be within `kind`'s limits; `name` is the instruction's, for the message. */
export function checkNumber(name: string, kind: NumberKind, value: number): number {
  const { noun, least, most, room, nonzero, step = 1 } = limitsOf(kind);
  if (!Number.isInteger(value))
    throw withSourcePosition(new RangeError(`${name}: ${noun} ${String(value)} is not an integer`));
  if (value < least || value > most)
    throw withSourcePosition(
      new RangeError(
        `${name}: ${noun} ${value} ${room ? `does not fit in ${room}` : `is not between ${least} and ${most}`}`,
      ),
    );
  if (value % step !== 0)
    throw withSourcePosition(new RangeError(`${name}: ${noun} ${value} is not a multiple of ${step}`));
  if (nonzero && value === 0)
    throw withSourcePosition(new RangeError(`${name}: ${noun} 0 would divide by zero`));
  return value;
}

/** The number of a register that is named `role` in messages; r10 is refused where it would be written. */
export function checkRegister(name: string, role: string, value: Register, written: boolean): number {
  const number = value?.register;
  if (!Number.isInteger(number) || number < 0 || number > 10)
    throw withSourcePosition(new RangeError(`${name}: ${role} ${describe(value)} is not one of r0 to r10`));
  if (written && number === 10)
    throw withSourcePosition(
      new RangeError(`${name}: ${role} r10 is the frame pointer and can't be written`),
    );
  return number;
}

/** The size of a width that must be one of `sizes`. */
export function checkWidth<S extends number>(
  name: string,
  width: { readonly size: number },
  sizes: readonly S[],
): S {
  const size = sizes.find((s) => s === width?.size);
  if (size === undefined)
    throw withSourcePosition(
      new RangeError(`${name}: width ${String(width?.size)} is not one of ${sizes.join(', ')} bytes`),
    );
  return size;
}

function describe(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  return 'register' in value ? `r${String(value.register)}` : JSON.stringify(value);
}
