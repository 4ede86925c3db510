/** Histogram code, run by a small interpreter and compared with the definitions of the buckets. */
import * as assert from 'uvu/assert';
import type { Value } from '../../src/asm/builder/value.ts';
import { disassemble } from '../../src/asm/disassemble.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import { type Instruction, type Item, isLabel } from '../../src/asm/instruction.ts';
import { suite } from '../harness.ts';
import { x64 } from './built.ts';

const test = suite('asm/histogram');

const OPERATIONS: Readonly<Record<string, (a: bigint, b: bigint) => bigint>> = {
  '=': (_, b) => b,
  '+=': (a, b) => a + b,
  '-=': (a, b) => a - b,
  '|=': (a, b) => a | b,
  '>>=': (a, b) => a >> b,
  '<<=': (a, b) => a << b,
};
const COMPARISONS: Readonly<Record<string, (a: bigint, b: bigint) => boolean>> = {
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '!=': (a, b) => a !== b,
};

/**
 * Runs unsigned arithmetic and comparisons from the text of instructions. The first one loads `input`.
 * Returns the last result.
 */
function run(items: readonly Item[], input: bigint): bigint {
  const registers = new Map<string, bigint>();
  const numberOf = (operand: string): bigint => registers.get(operand) ?? BigInt(operand);
  let last = input;
  for (let at = 0; at < items.length; at++) {
    const item = items[at] as Item;
    if (isLabel(item)) continue;
    if (item.opcode === 0x95) break;
    const [, register = '', operator = '', operand = ''] =
      /^\(..\) (?:if )?(\w+) (\S+) (\S+)/.exec(disassembled(item)) ?? [];
    const jump = item.reference?.kind === 'label' ? item.reference.label : undefined;
    if (jump !== undefined) {
      const isTrue = COMPARISONS[operator]?.(numberOf(register), numberOf(operand));
      if (isTrue) at = items.findIndex((each) => isLabel(each) && each.label === jump);
      continue;
    }
    const right = at === 0 ? input : numberOf(operand);
    last = BigInt.asUintN(64, OPERATIONS[operator]?.(registers.get(register) ?? 0n, right) as bigint);
    registers.set(register, last);
  }
  return BigInt.asIntN(64, last);
}

function disassembled(instruction: Instruction): string {
  return disassemble({ ...instruction, reference: undefined });
}

/** The instructions from the load of the argument to the last statement. */
function codeOf(compute: (value: Value) => Value): Item[] {
  const { instructions } = rawTracepoint('test', x64, (b) => void compute(b.arg(0).get()));
  // The program ends with r0 = 0 and exit.
  return instructions.slice(0, -2);
}

/** Numbers around the powers of two, and the limits. */
const EDGES = Array.from({ length: 64 }, (_, i) => 1n << BigInt(i)).flatMap((power) => [
  power - 1n,
  power,
  power + 1n,
]);
EDGES.push(2n ** 64n - 1n);

test('log2 is the number of the highest bit', () => {
  const code = codeOf((value) => value.log2());
  for (const number of EDGES)
    assert.is(run(code, number), BigInt(Math.max(0, number.toString(2).length - 1)), `log2 of ${number}`);
});

/** Whether ns exceed 2^(i/8) seconds, compared as eighth powers in integers. */
function isAbove(ns: bigint, i: bigint): boolean {
  const second = 10n ** 72n;
  return i >= 0n ? ns ** 8n > second << i : (ns ** 8n) << -i > second;
}

test('exponential bucket i ranges from above 2^(i/8) seconds to 2^((i+1)/8)', () => {
  const code = codeOf((value) => value.exponentialBucket());
  const numbers = [...EDGES, ...[1n, 3n, 1_000n, 999_999_999n, 10n ** 9n, 10n ** 9n + 1n, 5n * 10n ** 10n]];
  for (let ns = 2n; ns < 2n ** 64n; ns = (ns * 21n) / 20n + 1n) numbers.push(ns);
  for (const ns of numbers) {
    const bucket = run(code, ns);
    const counted = ns === 0n ? 1n : ns;
    assert.ok(isAbove(counted, bucket) && !isAbove(counted, bucket + 1n), `${ns} ns in bucket ${bucket}`);
  }
  assert.is(run(code, 1n), -240n);
  assert.is(run(code, 2n ** 64n - 1n), 272n);
});

test.run();
