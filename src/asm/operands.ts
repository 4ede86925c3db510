/**
 * The kinds of operands and their limits. Constructors refuse a number that does not fit; nothing is
 * truncated.
 */
import { withSourcePosition } from './error-position.ts';
import type { Register } from './instruction.ts';

/** The target of a jump: a label, or a number of slots counted from the next instruction. */
export type JumpTarget = string | number;

interface Limits {
  /** The operand's name in messages. */
  readonly noun: string;
  readonly min: number;
  readonly max: number;
  /** The range in words, for "does not fit in ..."; without it, messages give the numbers. */
  readonly range?: string;
  /** True if zero is invalid (a divisor). */
  readonly nonzero?: boolean;
  /** True if a label may replace the number. */
  readonly label?: boolean;
  /** The number must be a multiple of this. */
  readonly step?: number;
  /** True if zero belongs to another form of the instruction. */
  readonly zeroIsOtherForm?: boolean;
}

const S32 = { min: -(2 ** 31), max: 2 ** 31 - 1, range: '32 signed bits' };
const U32 = { min: -(2 ** 31), max: 2 ** 32 - 1, range: '32 bits' };
const S16 = { min: -(2 ** 15), max: 2 ** 15 - 1, range: '16 signed bits' };

/** Every kind of number. The kinds of registers (`register`, `base`) are not numbers. */
const LIMITS = {
  /** An immediate that is sign-extended, or compared as a signed number. */
  signed: { noun: 'immediate', ...S32 },
  /** An immediate of which only the low 32 bits count: -1 and 2^32-1 are the same. */
  word: { noun: 'immediate', ...U32 },
  /** The same for stores of 2 bytes and of 1 byte. */
  half: { noun: 'immediate', min: -(2 ** 15), max: 2 ** 16 - 1, range: '16 bits' },
  byte: { noun: 'immediate', min: -(2 ** 7), max: 2 ** 8 - 1, range: '8 bits' },
  /** The divisor of a 64-bit or signed division, and of an unsigned 32-bit division. */
  divisor: { noun: 'immediate', ...S32, nonzero: true },
  wordDivisor: { noun: 'immediate', ...U32, nonzero: true },
  shift64: { noun: 'shift', min: 0, max: 63 },
  shift32: { noun: 'shift', min: 0, max: 31 },
  /** The distance from a base register in bytes. */
  offset: { noun: 'offset', ...S16 },
  /** The distance of a jump in slots, in the offset or (far) in the immediate. */
  target: { noun: 'distance', ...S16, label: true },
  farTarget: { noun: 'distance', ...S32, label: true },
  /** A helper's number, a BTF id, an index into the loader's array of maps or modules, a file descriptor. */
  helper: { noun: 'helper', min: 1, max: 2 ** 31 - 1 },
  btfId: { noun: 'BTF id', min: 1, max: 2 ** 31 - 1 },
  index: { noun: 'index', min: 0, max: 2 ** 31 - 1 },
  module: { noun: 'module index', min: 1, max: 2 ** 15 - 1, zeroIsOtherForm: true },
  fd: { noun: 'fd', min: 0, max: 2 ** 31 - 1 },
  moduleFd: { noun: "module's fd", min: 1, max: 2 ** 31 - 1, zeroIsOtherForm: true },
  /**
   * The position of an argument past the fifth, for the callee and for the caller; there are at max seven.
   */
  incoming: { noun: 'offset', min: 8, max: 56, step: 8 },
  outgoing: { noun: 'offset', min: -56, max: -8, step: 8 },
  /** An offset into the value of an array map, in bytes. */
  valueOffset: { noun: 'value offset', min: 0, max: 2 ** 31 - 1 },
  /** Two address spaces, 16 bits each, which share the immediate of addr_space_cast. */
  spaces: { noun: 'address spaces', ...U32 },
} as const satisfies Record<string, Limits>;

/** A kind of operand that is a number. */
export type NumberKind = keyof typeof LIMITS;
/** A kind of operand. `base` is a register that holds an address. */
export type Kind = 'register' | 'base' | NumberKind;

/** Returns the limits of a kind of number. */
export function limitsOf(kind: NumberKind): Limits {
  return LIMITS[kind];
}

/** Whether a label may replace an operand of this kind. */
export function takesLabel(kind: Kind): boolean {
  return kind !== 'register' && kind !== 'base' && limitsOf(kind).label === true;
}

/** Returns `value` if it is within the limits of `kind`. `name` is the instruction's, for the message. */
export function checkNumber(name: string, kind: NumberKind, value: number): number {
  const { noun, min, max, range, nonzero, step = 1 } = limitsOf(kind);
  if (!Number.isInteger(value))
    throw withSourcePosition(new RangeError(`${name}: ${noun} ${String(value)} is not an integer`));
  if (value < min || value > max)
    throw withSourcePosition(
      new RangeError(
        `${name}: ${noun} ${value} ${range ? `does not fit in ${range}` : `is not between ${min} and ${max}`}`,
      ),
    );
  if (value % step !== 0)
    throw withSourcePosition(new RangeError(`${name}: ${noun} ${value} is not a multiple of ${step}`));
  if (nonzero && value === 0)
    throw withSourcePosition(new RangeError(`${name}: ${noun} 0 would divide by zero`));
  return value;
}

/** Returns the number of a register, which messages call `role`. Refuses r10 if the instruction writes it. */
export function checkRegister(name: string, role: string, value: Register, written: boolean): number {
  const number = value?.register;
  if (!Number.isInteger(number) || number < 0 || number > 10)
    throw withSourcePosition(new RangeError(`${name}: ${role} ${describe(value)} is not one of r0 to r10`));
  if (written && number === 10)
    throw withSourcePosition(new RangeError(`${name}: ${role} r10 is the frame pointer, which is read-only`));
  return number;
}

/** Returns the size of a width if it is one of `sizes`. */
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
