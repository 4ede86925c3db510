/**
 * Slots of histograms: powers of two, and the buckets of an exponential histogram.
 */
import * as insn from '../constructors.ts';
import type { Register } from '../instruction.ts';
import type { Machine } from './machine.ts';
import { loadInto } from './operand.ts';

/** Replaces an unsigned number by the number of its highest bit; 0 stays 0. */
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

/** Buckets in a power of two: 2^scale of OpenTelemetry's scale 3. */
const PER_OCTAVE = 8;
const NS_PER_S = 1_000_000_000n;

/**
 * The boundaries of 2^(i/8) seconds in ns, divided by the power of two below each, ascending from 1 to 2,
 * with 63 bits behind the point, rounded down. A number of 64 bits whose highest bit is set is above one of
 * them if and only if it is above the exact boundary: it is a whole number, and each boundary except the
 * exact one lies between two whole numbers.
 */
let boundaries: readonly bigint[] | undefined;
/** The number of the first boundary from 1 ns on: ceil(8 log2(1e-9)). */
const FIRST_BOUNDARY = -239;

function mantissas(): readonly bigint[] {
  const values: bigint[] = [];
  for (let i = 0n; i < PER_OCTAVE; i++) {
    // The eighth root of (1e9^8 * 2^i) * 2^(8 * 63), taken in whole numbers, shifted to 64 bits.
    const root = eighthRoot(((NS_PER_S ** 8n) << i) << (8n * 63n));
    values.push(root >> BigInt(root.toString(2).length - 64));
  }
  return values.sort((a, b) => (a < b ? -1 : 1));
}

/** The largest whole number whose eighth power isn't above `number`, by bisection. */
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
 * Replaces a duration in ns by the index of its bucket: shifts it until its highest bit is bit 63, counting
 * eight buckets a shift, and then counts the boundaries below it within that power of two.
 */
export function emitExponentialBucket(machine: Machine, register: Register): void {
  const index = machine.scratch();
  const scratch = machine.scratch();
  machine.emit(insn.mov(index, PER_OCTAVE * 63 + FIRST_BOUNDARY - 1));
  for (const bits of [32, 16, 8, 4, 2, 1]) {
    const normal = machine.freshLabel('normal');
    machine.emit(insn.mov(scratch, register), insn.rsh(scratch, 64 - bits), insn.jne(scratch, 0, normal));
    machine.emit(insn.lsh(register, bits), insn.sub(index, PER_OCTAVE * bits), insn.label(normal));
  }
  const end = machine.freshLabel('end');
  boundaries ??= mantissas();
  for (const mantissa of boundaries) {
    machine.emit(insn.lddw(scratch, mantissa), insn.jle(register, scratch, end), insn.add(index, 1));
  }
  machine.emit(insn.label(end), insn.mov(register, index));
}
