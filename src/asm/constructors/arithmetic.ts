/**
 * Constructors of arithmetic instructions, one function for each instruction. A name that ends in 32 works on
 * the low 32 bits of its registers and clears the high half of the destination.
 *
 * Source: RFC 9669, section 4.1.
 */
import { withSourcePosition } from '../error-position.ts';
import type { Instruction, Register } from '../instruction.ts';
import type { Width } from '../width.ts';
import { formNamed, formsBySize, make, registerAndImmediate } from './make.ts';

/** Constructor of an instruction with a destination register and an operand, a register or an immediate. */
export type Arithmetic = (dst: Register, operand: Register | number) => Instruction;

/** Constructor of an instruction that changes one register. */
export type Unary = (dst: Register) => Instruction;

/** Constructor of a byte swap of the low 16, 32 or 64 bits of a register; it clears the bits above. */
export type ByteSwap = (bits: 16 | 32 | 64, dst: Register) => Instruction;

/** Constructor of a move that sign-extends the low bytes of the source. */
export type SignExtension = (width: Width, dst: Register, src: Register) => Instruction;

function arithmetic(name: string): Arithmetic {
  const forms = registerAndImmediate(name);
  return (dst, operand) =>
    typeof operand === 'number'
      ? make(forms().immediate, { dst, imm: operand })
      : make(forms().register, { dst, src: operand });
}

function unary(name: string): Unary {
  const form = formNamed(name);
  return (dst) => make(form(), { dst });
}

function byteSwap(name: string): ByteSwap {
  const forms = formsBySize(name);
  return (bits, dst) => {
    const { sizes, of } = forms();
    if (!sizes.includes(bits))
      throw withSourcePosition(
        new RangeError(`${name}: ${String(bits)} bits are not one of ${sizes.join(', ')}`),
      );
    return make(of({ size: bits }), { dst });
  };
}

function signExtension(name: string): SignExtension {
  const forms = formsBySize(name);
  return (width, dst, src) => make(forms().of(width), { dst, src });
}

/**
 * Sets `dst = operand`; sign-extends an immediate to 64 bits.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { mov, r6 } from 'tsbpf/asm';
 * mov(r6, 7); // r6 = 7
 */
export const mov = arithmetic('mov');

/**
 * Adds: `dst += operand`.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { add, r1 } from 'tsbpf/asm';
 * add(r1, 8); // r1 += 8
 */
export const add = arithmetic('add');

/**
 * Subtracts: `dst -= operand`.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { r1, sub } from 'tsbpf/asm';
 * sub(r1, 8); // r1 -= 8
 */
export const sub = arithmetic('sub');

/**
 * Multiplies: `dst *= operand`.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { mul, r1 } from 'tsbpf/asm';
 * mul(r1, 1000); // r1 *= 1000
 */
export const mul = arithmetic('mul');

/**
 * Divides unsigned: `dst /= operand`; the result is 0 if the operand register is 0. Sign-extends an immediate
 * first.
 *
 * @throws {RangeError} if the immediate is 0 or does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { div, r1 } from 'tsbpf/asm';
 * div(r1, 1000); // r1 /= 1000
 */
export const div = arithmetic('div');

/**
 * Takes the unsigned remainder: `dst %= operand`; dst is unchanged if the operand register is 0.
 *
 * @throws {RangeError} if the immediate is 0 or does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { mod, r1 } from 'tsbpf/asm';
 * mod(r1, 16); // r1 %= 16
 */
export const mod = arithmetic('mod');

/**
 * Divides signed, rounding toward zero: `dst s/= operand` (Linux 6.6).
 *
 * @throws {RangeError} if the immediate is 0 or does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { r1, sdiv } from 'tsbpf/asm';
 * sdiv(r1, -2); // r1 s/= -2
 */
export const sdiv = arithmetic('sdiv');

/**
 * Takes the signed remainder, which has the sign of dst: `dst s%= operand` (Linux 6.6).
 *
 * @throws {RangeError} if the immediate is 0 or does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { r1, smod } from 'tsbpf/asm';
 * smod(r1, 16); // r1 s%= 16
 */
export const smod = arithmetic('smod');

/**
 * Bitwise AND: `dst &= operand`.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { and, r1 } from 'tsbpf/asm';
 * and(r1, 255); // r1 &= 255
 */
export const and = arithmetic('and');

/**
 * Bitwise OR: `dst |= operand`.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { or, r1 } from 'tsbpf/asm';
 * or(r1, 1); // r1 |= 1
 */
export const or = arithmetic('or');

/**
 * Bitwise XOR: `dst ^= operand`.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { r1, xor } from 'tsbpf/asm';
 * xor(r1, -1); // r1 ^= -1
 */
export const xor = arithmetic('xor');

/**
 * Shifts left: `dst <<= operand`; the low 6 bits of an operand register count.
 *
 * @throws {RangeError} if the shift is not 0 to 63, or dst is r10.
 *
 * @example
 * import { lsh, r1 } from 'tsbpf/asm';
 * lsh(r1, 32); // r1 <<= 32
 */
export const lsh = arithmetic('lsh');

/**
 * Shifts right, filling with zeros: `dst >>= operand`; the low 6 bits of an operand register count.
 *
 * @throws {RangeError} if the shift is not 0 to 63, or dst is r10.
 *
 * @example
 * import { r1, rsh } from 'tsbpf/asm';
 * rsh(r1, 32); // r1 >>= 32
 */
export const rsh = arithmetic('rsh');

/**
 * Shifts right, filling with the sign bit: `dst s>>= operand`; the low 6 bits of an operand register count.
 *
 * @throws {RangeError} if the shift is not 0 to 63, or dst is r10.
 *
 * @example
 * import { arsh, r1 } from 'tsbpf/asm';
 * arsh(r1, 32); // r1 s>>= 32
 */
export const arsh = arithmetic('arsh');

/**
 * Negates: `dst = -dst`.
 *
 * @throws {RangeError} if dst is r10.
 *
 * @example
 * import { neg, r1 } from 'tsbpf/asm';
 * neg(r1); // r1 = -r1
 */
export const neg = unary('neg');

/**
 * Sets the low 32 bits of dst and clears the high half: `mov32(r1, r1)` truncates r1.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { mov32, r6 } from 'tsbpf/asm';
 * mov32(r6, 7); // w6 = 7
 */
export const mov32 = arithmetic('mov32');

/**
 * Adds in 32 bits, and clears the high half of dst.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { add32, r1 } from 'tsbpf/asm';
 * add32(r1, 8); // w1 += 8
 */
export const add32 = arithmetic('add32');

/**
 * Subtracts in 32 bits, and clears the high half of dst.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { r1, sub32 } from 'tsbpf/asm';
 * sub32(r1, 8); // w1 -= 8
 */
export const sub32 = arithmetic('sub32');

/**
 * Multiplies in 32 bits, and clears the high half of dst.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { mul32, r1 } from 'tsbpf/asm';
 * mul32(r1, 1000); // w1 *= 1000
 */
export const mul32 = arithmetic('mul32');

/**
 * Divides unsigned in 32 bits, and clears the high half of dst; the result is 0 if the operand register is 0.
 *
 * @throws {RangeError} if the immediate is 0 or does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { div32, r1 } from 'tsbpf/asm';
 * div32(r1, 1000); // w1 /= 1000
 */
export const div32 = arithmetic('div32');

/**
 * Takes the unsigned remainder in 32 bits, and clears the high half of dst.
 *
 * @throws {RangeError} if the immediate is 0 or does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { mod32, r1 } from 'tsbpf/asm';
 * mod32(r1, 16); // w1 %= 16
 */
export const mod32 = arithmetic('mod32');

/**
 * Divides signed in 32 bits, and clears the high half of dst (Linux 6.6).
 *
 * @throws {RangeError} if the immediate is 0 or does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { r1, sdiv32 } from 'tsbpf/asm';
 * sdiv32(r1, -2); // w1 s/= -2
 */
export const sdiv32 = arithmetic('sdiv32');

/**
 * Takes the signed remainder in 32 bits, and clears the high half of dst (Linux 6.6).
 *
 * @throws {RangeError} if the immediate is 0 or does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { r1, smod32 } from 'tsbpf/asm';
 * smod32(r1, 16); // w1 s%= 16
 */
export const smod32 = arithmetic('smod32');

/**
 * Bitwise AND in 32 bits; clears the high half of dst.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { and32, r1 } from 'tsbpf/asm';
 * and32(r1, 255); // w1 &= 255
 */
export const and32 = arithmetic('and32');

/**
 * Bitwise OR in 32 bits; clears the high half of dst.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { or32, r1 } from 'tsbpf/asm';
 * or32(r1, 1); // w1 |= 1
 */
export const or32 = arithmetic('or32');

/**
 * Bitwise XOR in 32 bits; clears the high half of dst.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { r1, xor32 } from 'tsbpf/asm';
 * xor32(r1, -1); // w1 ^= -1
 */
export const xor32 = arithmetic('xor32');

/**
 * Shifts left in 32 bits, and clears the high half of dst; the low 5 bits of an operand register count.
 *
 * @throws {RangeError} if the shift is not 0 to 31, or dst is r10.
 *
 * @example
 * import { lsh32, r1 } from 'tsbpf/asm';
 * lsh32(r1, 8); // w1 <<= 8
 */
export const lsh32 = arithmetic('lsh32');

/**
 * Shifts right in 32 bits, filling with zeros; clears the high half of dst.
 *
 * @throws {RangeError} if the shift is not 0 to 31, or dst is r10.
 *
 * @example
 * import { r1, rsh32 } from 'tsbpf/asm';
 * rsh32(r1, 8); // w1 >>= 8
 */
export const rsh32 = arithmetic('rsh32');

/**
 * Shifts right in 32 bits, filling with the sign bit; clears the high half of dst (Linux 5.0).
 *
 * @throws {RangeError} if the shift is not 0 to 31, or dst is r10.
 *
 * @example
 * import { arsh32, r1 } from 'tsbpf/asm';
 * arsh32(r1, 8); // w1 s>>= 8
 */
export const arsh32 = arithmetic('arsh32');

/**
 * Negates in 32 bits, and clears the high half of dst.
 *
 * @throws {RangeError} if dst is r10.
 *
 * @example
 * import { neg32, r1 } from 'tsbpf/asm';
 * neg32(r1); // w1 = -w1
 */
export const neg32 = unary('neg32');

/**
 * Moves the low 1, 2 or 4 bytes of src, sign-extended to 64 bits (Linux 6.6).
 *
 * @throws {RangeError} if the width does not fit the instruction, or dst is r10.
 *
 * @example
 * import { movsx, r0, r1 } from 'tsbpf/asm';
 * movsx({ size: 2 }, r0, r1); // r0 = (s16)r1
 */
export const movsx = signExtension('movsx');

/**
 * Moves the low 1 or 2 bytes of src, sign-extended to 32 bits, and clears the high half of dst (Linux 6.6).
 *
 * @throws {RangeError} if the width does not fit the instruction, or dst is r10.
 *
 * @example
 * import { movsx32, r0, r1 } from 'tsbpf/asm';
 * movsx32({ size: 1 }, r0, r1); // w0 = (s8)w1
 */
export const movsx32 = signExtension('movsx32');

/**
 * Converts the low bits of dst between host order and little endian, and clears the bits above. On a
 * little-endian machine it only clears.
 *
 * @throws {RangeError} if the number of bits is not 16, 32 or 64, or dst is r10.
 *
 * @example
 * import { r1, toLe } from 'tsbpf/asm';
 * toLe(32, r1); // r1 = le32 r1
 */
export const toLe = byteSwap('toLe');

/**
 * Converts the low bits of dst between host order and big endian, and clears the bits above. On a
 * little-endian machine it swaps the bytes.
 *
 * @throws {RangeError} if the number of bits is not 16, 32 or 64, or dst is r10.
 *
 * @example
 * import { r1, toBe } from 'tsbpf/asm';
 * toBe(16, r1); // r1 = be16 r1
 */
export const toBe = byteSwap('toBe');

/**
 * Swaps the low bytes of dst on any machine, and clears the bits above (Linux 6.6).
 *
 * @throws {RangeError} if the number of bits is not 16, 32 or 64, or dst is r10.
 *
 * @example
 * import { bswap, r1 } from 'tsbpf/asm';
 * bswap(64, r1); // r1 = bswap64 r1
 */
export const bswap = byteSwap('bswap');

const cast = formNamed('addrSpaceCast');

/**
 * Converts an address between address spaces: `dst = src`, from space `from` to space `to`, 0 to 65535 each.
 * For programs with arenas (Linux 6.9).
 *
 * @throws {RangeError} if a space is not 0 to 65535, or dst is r10.
 *
 * @example
 * import { addrSpaceCast, r1, r2 } from 'tsbpf/asm';
 * addrSpaceCast(r1, r2, 0, 1); // r1 = addr_space_cast(r2, 0, 1)
 */
export function addrSpaceCast(dst: Register, src: Register, to: number, from: number): Instruction {
  for (const space of [to, from])
    if (!Number.isInteger(space) || space < 0 || space > 0xffff)
      throw withSourcePosition(
        new RangeError(`addrSpaceCast: address space ${String(space)} is not between 0 and 65535`),
      );
  return make(cast(), { dst, src, imm: ((to << 16) | from) >>> 0 });
}
