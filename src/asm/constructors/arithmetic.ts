/**
 * Constructors of arithmetic: one call, one instruction. Those that end in 32 work on the low half of their
 * registers and clear the high half of the destination.
 *
 * All throw a RangeError that names instruction, operand and limit where an operand doesn't fit: an
 * immediate beyond 32 bits, a shift beyond the width, a zero divisor, r10 as destination.
 *
 * Source: RFC 9669, section 4.1.
 */
import { withSourcePosition } from '../error-position.ts';
import type { Instruction, Register } from '../instruction.ts';
import type { Width } from '../width.ts';
import { formNamed, formsBySize, make, registerAndImmediate } from './make.ts';

/** Makes an instruction of a destination and a second operand, a register or an immediate. */
export type Arithmetic = (dst: Register, operand: Register | number) => Instruction;
/** Makes an instruction that changes one register. */
export type Unary = (dst: Register) => Instruction;
/** Makes a byte swap of the low 16, 32 or 64 bits; those above are cleared. */
export type ByteSwap = (bits: 16 | 32 | 64, dst: Register) => Instruction;
/** Makes a move that extends the sign of the source's low bytes. */
export type SignExtension = (width: Width, dst: Register, src: Register) => Instruction;

function arithmetic(name: string): Arithmetic {
  const { register, immediate } = registerAndImmediate(name);
  return (dst, operand) =>
    typeof operand === 'number'
      ? make(immediate, { dst, imm: operand })
      : make(register, { dst, src: operand });
}

function unary(name: string): Unary {
  const form = formNamed(name);
  return (dst) => make(form, { dst });
}

function byteSwap(name: string): ByteSwap {
  const { sizes, of } = formsBySize(name);
  return (bits, dst) => {
    if (!sizes.includes(bits))
      throw withSourcePosition(
        new RangeError(`${name}: ${String(bits)} bits is not one of ${sizes.join(', ')}`),
      );
    return make(of({ size: bits }), { dst });
  };
}

function signExtension(name: string): SignExtension {
  const forms = formsBySize(name);
  return (width, dst, src) => make(forms.of(width), { dst, src });
}

/** `dst = operand`; an immediate is sign-extended to 64 bits. */
export const mov = arithmetic('mov');
/** `dst += operand` */
export const add = arithmetic('add');
/** `dst -= operand` */
export const sub = arithmetic('sub');
/** `dst *= operand` */
export const mul = arithmetic('mul');
/** `dst /= operand`, unsigned; 0 where the operand is 0. An immediate is sign-extended first. */
export const div = arithmetic('div');
/** `dst %= operand`, unsigned; unchanged where the operand is 0. */
export const mod = arithmetic('mod');
/** `dst /= operand`, signed, towards zero (Linux 6.6). */
export const sdiv = arithmetic('sdiv');
/** `dst %= operand`, signed, with the sign of dst (Linux 6.6). */
export const smod = arithmetic('smod');
/** `dst &= operand` */
export const and = arithmetic('and');
/** `dst |= operand` */
export const or = arithmetic('or');
/** `dst ^= operand` */
export const xor = arithmetic('xor');
/** `dst <<= operand`; of a register the low 6 bits count. */
export const lsh = arithmetic('lsh');
/** `dst >>= operand`, filling with zeros. */
export const rsh = arithmetic('rsh');
/** `dst >>= operand`, filling with the sign. */
export const arsh = arithmetic('arsh');
/** `dst = -dst` */
export const neg = unary('neg');

/** `mov` of 32 bits; moving a register to itself clears its high half. */
export const mov32 = arithmetic('mov32');
/** `add` of 32 bits. */
export const add32 = arithmetic('add32');
/** `sub` of 32 bits. */
export const sub32 = arithmetic('sub32');
/** `mul` of 32 bits. */
export const mul32 = arithmetic('mul32');
/** `div` of 32 bits, unsigned. */
export const div32 = arithmetic('div32');
/** `mod` of 32 bits, unsigned. */
export const mod32 = arithmetic('mod32');
/** `sdiv` of 32 bits (Linux 6.6). */
export const sdiv32 = arithmetic('sdiv32');
/** `smod` of 32 bits (Linux 6.6). */
export const smod32 = arithmetic('smod32');
/** `and` of 32 bits. */
export const and32 = arithmetic('and32');
/** `or` of 32 bits. */
export const or32 = arithmetic('or32');
/** `xor` of 32 bits. */
export const xor32 = arithmetic('xor32');
/** `lsh` of 32 bits; of a register the low 5 bits count. */
export const lsh32 = arithmetic('lsh32');
/** `rsh` of 32 bits. */
export const rsh32 = arithmetic('rsh32');
/** `arsh` of 32 bits (Linux 5.0). */
export const arsh32 = arithmetic('arsh32');
/** `neg` of 32 bits. */
export const neg32 = unary('neg32');

/** `dst = (s8|s16|s32) src`: a move of 1, 2 or 4 bytes, sign-extended to 64 bits (Linux 6.6). */
export const movsx = signExtension('movsx');
/** `movsx` of 1 or 2 bytes to 32 bits (Linux 6.6). */
export const movsx32 = signExtension('movsx32');

/** Between host order and little endian: on a little-endian machine clears the bits above and no more. */
export const toLe = byteSwap('toLe');
/** Between host order and big endian: on a little-endian machine swaps the bytes. */
export const toBe = byteSwap('toBe');
/** Swaps the bytes on any machine (Linux 6.6). */
export const bswap = byteSwap('bswap');

const cast = formNamed('addrSpaceCast');

/** `dst = src`, an address of one space (0 to 65535) as one of another: programs with arenas (Linux 6.9). */
export function addrSpaceCast(dst: Register, src: Register, to: number, from: number): Instruction {
  for (const space of [to, from])
    if (!Number.isInteger(space) || space < 0 || space > 0xffff)
      throw withSourcePosition(
        new RangeError(`addrSpaceCast: address space ${String(space)} is not between 0 and 65535`),
      );
  return make(cast, { dst, src, imm: ((to << 16) | from) >>> 0 });
}
