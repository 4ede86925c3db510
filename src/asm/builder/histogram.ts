/**
 * Histogram buckets: the power of two of a number, and the bucket of a duration in an OpenTelemetry
 * exponential histogram.
 */

import * as insn from '../constructors.ts';
import type { Register } from '../instruction.ts';
import { once } from '../once.ts';
import type { Machine } from './machine.ts';
import { loadInto } from './operand.ts';

/** Replaces an unsigned number with the index of its highest set bit: floor(log2(n)), and 0 for 0. */
export function emitLog2(machine: Machine, register: Register): void {
  const result = machine.scratch();
  machine.emit(insn.mov(result, 0));
  for (const bits of [32, 16, 8, 4, 2, 1]) {
    const below = machine.freshLabel('below');
    machine.withScratch(() => {
      const bound = bits < 32 ? 2 ** bits : machine.scratch();
      if (typeof bound !== 'number') loadInto(machine, bound, 2n ** 32n);
      machine.emit(insn.jlt(register, bound, below));
    });
    machine.emit(insn.rsh(register, bits), insn.add(result, bits), insn.label(below));
  }
  machine.emit(insn.mov(register, result));
}

/** The number of buckets per power of two: 2^scale for OpenTelemetry's scale 3. */
const PER_OCTAVE = 8;
const NS_PER_S = 1_000_000_000n;

/**
 * The mantissas of the bucket boundaries in ascending order, from 1 to 2, as fixed-point numbers with 63
 * fractional bits. A boundary is 2^(i/8) seconds in ns; its mantissa is the boundary divided by the largest
 * power of two that does not exceed it.
 *
 * Mantissas are rounded down. The comparison with a 64-bit integer whose highest bit is set is still exact:
 * an integer is above the rounded boundary if and only if it is above the true boundary, because no integer
 * lies between the two.
 */
const boundaries = once(mantissas);
/** The index of the lowest boundary that is at least 1 ns: ceil(8 log2(1e-9)). */
const FIRST_BOUNDARY = -239;

function mantissas(): readonly bigint[] {
  const values: bigint[] = [];
  for (let i = 0n; i < PER_OCTAVE; i++) {
    // The integer eighth root of (1e9^8 * 2^i) * 2^(8 * 63), shifted to 64 bits.
    const root = eighthRoot(((NS_PER_S ** 8n) << i) << (8n * 63n));
    values.push(root >> BigInt(root.toString(2).length - 64));
  }
  return values.sort((a, b) => (a < b ? -1 : 1));
}

/** The largest integer whose eighth power does not exceed `number`, by bisection. */
function eighthRoot(number: bigint): bigint {
  let [low, high] = [0n, 1n << BigInt(Math.ceil(number.toString(2).length / 8))];
  while (low < high) {
    const middle = (low + high + 1n) >> 1n;
    if (middle ** 8n <= number) low = middle;
    else high = middle - 1n;
  }
  return low;
}

/**
 * Replaces a duration in ns with the index of its bucket. Shifts the duration left until bit 63 is set,
 * subtracting eight buckets per bit, and then adds 1 for each boundary below it in that power of two.
 *
 * Without jumps: after jumps, the verifier knows the index as a number, and verifies what follows for each of
 * the 500 indices.
 */
export function emitExponentialBucket(machine: Machine, register: Register): void {
  const index = machine.scratch();
  const scratch = machine.scratch();
  machine.emit(insn.mov(index, PER_OCTAVE * 63 + FIRST_BOUNDARY - 1));
  for (const [power, bits] of [32, 16, 8, 4, 2, 1].entries()) {
    // `bits` if the upper bits are all 0, and otherwise 0: only 0 - 1 has the sign bit.
    machine.emit(insn.mov(scratch, register), insn.rsh(scratch, 64 - bits), insn.sub(scratch, 1));
    machine.emit(insn.rsh(scratch, 63), insn.lsh(scratch, 5 - power), insn.lsh(register, scratch));
    machine.emit(insn.lsh(scratch, Math.log2(PER_OCTAVE)), insn.sub(index, scratch));
  }
  // 0 ns counts as 1 ns.
  machine.emit(insn.lddw(scratch, 2n ** 63n), insn.or(register, scratch));
  for (const mantissa of boundaries()) {
    // Both have bit 63, so the sign of the difference says which one is larger.
    machine.emit(insn.lddw(scratch, mantissa), insn.sub(scratch, register), insn.rsh(scratch, 63));
    machine.emit(insn.add(index, scratch));
  }
  machine.emit(insn.mov(register, index));
}
