/**
 * Random programs of the builder, run by the kernel and compared with BigInt arithmetic: random operands of
 * every type and source, operators, comparisons, conversions, assignments and stores. property-runs.ts
 * documents how to run more cases.
 */
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import type { Builder } from '../../src/asm/builder/builder.ts';
import type { NumberType } from '../../src/asm/builder/number-type.ts';
import type { Condition } from '../../src/asm/builder/operand.ts';
import type { Place } from '../../src/asm/builder/place.ts';
import { Value } from '../../src/asm/builder/value.ts';
import { getSmpProcessorId } from '../../src/asm/helpers.ts';
import {
  type BigIntSchema,
  type NumberSchema,
  s8,
  s16,
  s16be,
  s32,
  s32be,
  s64,
  s64be,
  struct,
  u8,
  u16,
  u16be,
  u32,
  u32be,
  u64,
  u64be,
} from '../../src/asm/layout.ts';
import { array } from '../../src/asm/map.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { propertySuite } from './property-runs.ts';
import { isReleased } from './release.ts';
import { cannotRun, withProgram } from './run-program.ts';

const { test, cases } = propertySuite('live/arithmetic', 3000);

const HOST = { u8, u16, u32, u64, s8, s16, s32, s64 };
const SCHEMAS = { ...HOST, u16be, u32be, u64be, s16be, s32be, s64be };
type Name = keyof typeof SCHEMAS;
const NAMES = Object.keys(SCHEMAS) as Name[];
const HOST_NAMES = Object.keys(HOST) as (keyof typeof HOST)[];

const bitsOf = (name: Name) => Number(/\d+/.exec(name)?.[0]);
const isSigned = (name: Name) => name.startsWith('s');
const cast = (name: Name, number: bigint) =>
  isSigned(name) ? BigInt.asIntN(bitsOf(name), number) : BigInt.asUintN(bitsOf(name), number);

/** Numbers at the limits of types, and random numbers. */
const numbers = fc.oneof(
  fc.constantFrom(...[0n, 1n, 2n, 3n, 7n, 63n, 64n, 255n, 1000n]),
  fc
    .integer({ min: 0, max: 64 })
    .chain((bit) => fc.integer({ min: -2, max: 2 }).map((near) => (1n << BigInt(bit)) + BigInt(near))),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
);
const anyNumber = fc.tuple(numbers, fc.boolean()).map(([number, negate]) => (negate ? -number : number));

const SOURCES = ['stack', 'temporary', 'kept', 'argument'] as const;
const operandSpec = fc.record({
  source: fc.constantFrom(...SOURCES),
  name: fc.constantFrom(...NAMES),
  number: anyNumber,
  /** Random upper bits for arguments narrower than 64 bits. */
  junk: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
});
type OperandSpec = typeof operandSpec extends fc.Arbitrary<infer T> ? T : never;

const BINARY: Readonly<Record<string, (a: bigint, b: bigint) => bigint>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => (b === 0n ? 0n : a / b),
  mod: (a, b) => (b === 0n ? a : a % b),
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  lsh: (a, b) => a << b,
  rsh: (a, b) => a >> b,
  arsh: (a, b) => a >> b,
  min: (a, b) => (a < b ? a : b),
  max: (a, b) => (a > b ? a : b),
};
const ASSIGN = ['add', 'sub', 'mul', 'div', 'mod', 'and', 'or', 'xor', 'lsh', 'rsh'];

const swapBytes = (number: bigint, bytes: number) => {
  let swapped = 0n;
  for (let i = 0; i < bytes; i++) swapped = (swapped << 8n) | ((number >> BigInt(8 * i)) & 0xffn);
  return swapped;
};

/** The bucket by its definition: 2^(i/8) s < n <= 2^((i+1)/8) s, compared as eighth powers. */
function bucketOf(ns: bigint): bigint {
  const second = 1_000_000_000n ** 8n;
  const power = (ns === 0n ? 1n : ns) ** 8n;
  const isAbove = (i: number) => (i < 0 ? power << BigInt(-i) > second : power > second << BigInt(i));
  let [low, high] = [-300, 300]; // the largest i whose boundary lies below the number
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (isAbove(middle)) low = middle;
    else high = middle - 1;
  }
  return BigInt(low);
}

const UNARY: Readonly<Record<string, { of: (a: bigint) => bigint; apply: (v: Value) => Value }>> = {
  neg: { of: (a) => -a, apply: (v) => v.neg() },
  log2: { of: (a) => (a === 0n ? 0n : BigInt(a.toString(2).length - 1)), apply: (v) => v.log2() },
  exponentialBucket: { of: bucketOf, apply: (v) => v.exponentialBucket() },
  toBe16: { of: (a) => swapBytes(BigInt.asUintN(16, a), 2), apply: (v) => v.toBe(16) },
  toBe32: { of: (a) => swapBytes(BigInt.asUintN(32, a), 4), apply: (v) => v.toBe(32) },
  toBe64: { of: (a) => swapBytes(BigInt.asUintN(64, a), 8), apply: (v) => v.toBe(64) },
};

const COMPARE: Readonly<Record<string, (a: bigint, b: bigint) => boolean>> = {
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  gt: (a, b) => a > b,
  ge: (a, b) => a >= b,
  lt: (a, b) => a < b,
  le: (a, b) => a <= b,
  bits: (a, b) => (a & b) !== 0n,
};

const index = fc.nat({ max: 31 });
const right = fc.oneof(
  { arbitrary: anyNumber.map((constant) => ({ constant })), weight: 1 },
  { arbitrary: index.map((operand) => ({ operand })), weight: 2 },
);
const comparison = fc.record({ how: fc.constantFrom(...Object.keys(COMPARE)), left: index, right });
const step = fc.oneof(
  fc.record({
    kind: fc.constant('binary' as const),
    operator: fc.constantFrom(...Object.keys(BINARY)),
    left: index,
    right,
  }),
  fc.record({
    kind: fc.constant('assign' as const),
    operator: fc.constantFrom(...ASSIGN),
    left: index,
    right,
  }),
  fc.record({
    kind: fc.constant('unary' as const),
    operator: fc.constantFrom(...Object.keys(UNARY)),
    left: index,
  }),
  fc.record({ kind: fc.constant('as' as const), left: index, name: fc.constantFrom(...HOST_NAMES) }),
  fc.record({ kind: fc.constant('compare' as const), first: comparison }),
  fc.record({
    kind: fc.constant('both' as const),
    first: comparison,
    second: comparison,
    how: fc.constantFrom('and', 'or', 'nand', 'nor'),
  }),
  fc.record({ kind: fc.constant('store' as const), left: index, name: fc.constantFrom(...NAMES) }),
  fc.record({ kind: fc.constant('keep' as const), left: index }),
  fc.record({ kind: fc.constant('call' as const) }),
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
type Right = typeof right extends fc.Arbitrary<infer T> ? T : never;
type Comparison = typeof comparison extends fc.Arbitrary<infer T> ? T : never;

const RESULTS = 24;
const Results = struct(Object.fromEntries(Array.from({ length: RESULTS }, (_, i) => [`r${i}`, u64])));

/** The builder's messages for operations that it refuses. */
const REFUSED =
  /doesn't fit|have no common 64-bit type|is divided by zero|cannot shift|may be negative, which|has bits that|which arsh\(\) would treat as negative|is a cast of a kept value|is not a number|no (temporary|kept) register is free|does not fit 64 bits|no stack space/;

interface Held {
  readonly operand: Value | Place;
  number: bigint;
  readonly isTemporary: boolean;
}

/** Builds a program step by step, together with a model of its results. */
class Trial {
  readonly #b: Builder;
  readonly #out: Record<string, Place>;
  readonly expected: bigint[] = [];
  #held: Held[] = [];
  #temporaries = 0;
  refused = 0;

  constructor(b: Builder) {
    this.#b = b;
    this.#out = b.keep(b.global(results)) as unknown as Record<string, Place>;
  }

  operand({ source, name, number, junk }: OperandSpec, position: number): void {
    const schema = SCHEMAS[name] as NumberSchema | BigIntSchema;
    const b = this.#b;
    const exact = cast(name, number);
    if (source === 'argument') {
      if (!HOST_NAMES.includes(name as never)) return;
      this.arguments[position] = BigInt.asUintN(
        64,
        (junk << BigInt(bitsOf(name))) | BigInt.asUintN(bitsOf(name), exact),
      );
      const place = b.arg(position);
      this.#hold(junk % 2n === 0n ? place.get().as(schema) : place.as(schema), exact);
      return;
    }
    const place = b.stack(schema, exact) as unknown as Place;
    if (source === 'stack') this.#hold(place, exact);
    else this.#hold(source === 'kept' ? b.keep(place) : place.get(), exact);
  }

  readonly arguments: bigint[] = [0n, 0n, 0n, 0n, 0n];

  #hold(operand: Value | Place, number: bigint): void {
    const isTemporary = operand instanceof Value && !operand.isKept;
    if (isTemporary) this.#temporaries += 1;
    assert.ok(
      operand.type.min <= number && number <= operand.type.max,
      `${number} is not in ${operand.type.min}..${operand.type.max}`,
    );
    this.#held.push({ operand, number, isTemporary });
  }

  #pick(i: number): Held | undefined {
    return this.#held.length === 0 ? undefined : this.#held[i % this.#held.length];
  }

  #rightOperand(
    choice: Right,
  ): { readonly operand: bigint | Value | Place; readonly number: bigint } | undefined {
    if ('constant' in choice) return { operand: choice.constant, number: choice.constant };
    return this.#pick(choice.operand);
  }

  /** The result of an operation: exact if its type holds it, else wrapped to 64 bits. */
  #wrapped(exact: bigint, { min, max }: NumberType): bigint {
    if (exact >= min && exact <= max) return exact;
    if (min === 0n && max === 2n ** 64n - 1n) return BigInt.asUintN(64, exact);
    assert.is(min, -(2n ** 63n), `${exact} is not in ${min}..${max}, and the type does not wrap`);
    assert.is(max, 2n ** 63n - 1n);
    return BigInt.asIntN(64, exact);
  }

  #report(operand: Value | Place | bigint, number: bigint): void {
    const place = this.#out[`r${this.expected.length}`];
    if (!place) return;
    if (typeof operand !== 'bigint' && operand.type.min < 0n) place.as(s64).set(operand);
    else place.set(operand);
    this.expected.push(BigInt.asUintN(64, number));
  }

  #temporaryFits(): boolean {
    return this.#temporaries < 2;
  }

  #drop(held: Held): void {
    this.#held = this.#held.filter((other) => other !== held);
    this.#temporaries -= 1;
  }

  /** The value that an operation changes. */
  #subject(held: Held): Value | undefined {
    if (held.operand instanceof Value) return held.operand;
    return this.#temporaryFits() ? held.operand.get() : undefined;
  }

  #change(held: Held, apply: (value: Value) => Value, compute: () => bigint): void {
    if (!held.isTemporary && !this.#temporaryFits()) return;
    const subject = this.#subject(held);
    if (!subject) return;
    const isNew = subject !== held.operand;
    if (isNew) this.#temporaries += 1;
    const result = apply(subject);
    if (held.isTemporary) this.#drop(held);
    else if (isNew) this.#temporaries -= 1;
    const number = this.#wrapped(compute(), result.type);
    if (result.isKept) this.#held.push({ operand: result, number, isTemporary: false });
    else this.#hold(result, number);
    this.#report(result, number);
  }

  #condition({ how, left, right }: Comparison): { condition: Condition; holds: boolean } | undefined {
    const [a, b] = [this.#pick(left), this.#rightOperand(right)];
    if (!a || !b) return undefined;
    const compare = a.operand[how as 'eq'].bind(a.operand);
    return {
      condition: compare(b.operand),
      holds: (COMPARE[how] as (a: bigint, b: bigint) => boolean)(a.number, b.number),
    };
  }

  #branch(condition: Condition, holds: boolean): void {
    const place = this.#out[`r${this.expected.length}`];
    if (!place) return;
    this.#b.if(
      condition,
      () => place.set(1),
      () => place.set(2),
    );
    this.expected.push(holds ? 1n : 2n);
  }

  do(one: Step): void {
    const before = this.expected.length;
    try {
      this.#do(one);
    } catch (error) {
      if (!(error instanceof Error) || !REFUSED.test(error.message)) throw error;
      assert.is(this.expected.length, before);
      this.refused += 1;
    }
  }

  #do(one: Step): void {
    switch (one.kind) {
      case 'binary': {
        const [left, right] = [this.#pick(one.left), this.#rightOperand(one.right)];
        if (!left || !right) return;
        const [a, b] = [left.number, right.number];
        const operator = one.operator as 'add';
        this.#change(
          left,
          (value) => value[operator](right.operand === left.operand ? value : right.operand),
          () => (BINARY[operator] as (a: bigint, b: bigint) => bigint)(a, b),
        );
        return;
      }
      case 'unary': {
        const left = this.#pick(one.left);
        const row = UNARY[one.operator];
        if (left && row) this.#change(left, row.apply, () => row.of(left.number));
        return;
      }
      case 'as': {
        const left = this.#pick(one.left);
        if (left)
          this.#change(
            left,
            (value) => value.as(SCHEMAS[one.name]),
            () => cast(one.name, left.number),
          );
        return;
      }
      case 'assign': {
        const [left, right] = [this.#pick(one.left), this.#rightOperand(one.right)];
        if (!left || !right || !(left.operand instanceof Value)) return;
        const others = this.#held.filter(
          (other) =>
            other !== left &&
            other.operand instanceof Value &&
            other.operand.register === (left.operand as Value).register,
        );
        const [a, b] = [left.number, right.number];
        left.operand[`${one.operator as 'add'}Assign`](right.operand);
        const exact = (BINARY[one.operator] as (a: bigint, b: bigint) => bigint)(a, b);
        left.number = this.#wrapped(exact, left.operand.type);
        for (const other of others) {
          assert.throws(() => this.#report(other.operand, 0n), /was assigned to afterwards/);
          this.#held = this.#held.filter((each) => each !== other);
        }
        this.#report(left.operand, left.number);
        return;
      }
      case 'compare': {
        const condition = this.#condition(one.first);
        if (condition) this.#branch(condition.condition, condition.holds);
        return;
      }
      case 'both': {
        const [first, second] = [this.#condition(one.first), this.#condition(one.second)];
        if (!first || !second) return;
        const isOr = one.how.endsWith('or');
        const joined = first.condition[isOr ? 'or' : 'and'](second.condition);
        const holds = isOr ? first.holds || second.holds : first.holds && second.holds;
        const negated = one.how.startsWith('n');
        this.#branch(negated ? joined.not() : joined, holds !== negated);
        return;
      }
      case 'store': {
        const left = this.#pick(one.left);
        if (!left) return;
        const place = this.#b.stack(SCHEMAS[one.name] as typeof u64);
        place.set(left.operand);
        this.#hold(place, left.number);
        this.#report(place, left.number);
        return;
      }
      case 'keep': {
        const left = this.#pick(one.left);
        if (!left) return;
        const kept = this.#b.keep(left.operand) as Value;
        this.#hold(kept, left.number);
        this.#report(kept, left.number);
        return;
      }
      case 'call': {
        this.#b.call(getSmpProcessorId);
        this.#held = this.#held.filter(({ isTemporary }) => !isTemporary);
        this.#temporaries = 1; // the result
        for (const { operand, number } of [...this.#held])
          if (operand instanceof Value) this.#report(operand, number);
      }
    }
  }
}

const results = array('results', { value: Results });

test.skipIf(
  cannotRun || (!isReleased('6.6') && 'signed division is an instruction of Linux 6.6'),
  'programs compute the same as BigInt, or are refused',
  () => {
    const kernel = new Kernel();
    const counts = { results: 0, refused: 0 };
    const property = fc.property(
      fc.array(operandSpec, { minLength: 1, maxLength: 4 }),
      fc.array(step, { minLength: 1, maxLength: 8 }),
      (operands, steps) => {
        let trial: Trial | undefined;
        withProgram(
          [results],
          (b) => {
            b.keep(b.context);
            trial = new Trial(b);
            for (const [i, spec] of operands.slice(0, 2).entries()) trial.operand(spec, i);
            for (const one of steps) trial.do(one);
          },
          ({ run, map }) => {
            const { expected, arguments: args } = trial as unknown as Trial;
            run(...args);
            const values = Object.values(map(results).lookup(0) as Record<string, bigint>);
            assert.equal(values.slice(0, expected.length), expected);
            counts.results += expected.length;
            counts.refused += (trial as unknown as Trial).refused;
          },
          kernel,
        );
      },
    );
    fc.assert(property, { numRuns: cases, includeErrorInReport: true });
    assert.ok(counts.results > cases, `only ${counts.results} results were compared`);
  },
);

test.run();
