/** `b.switch`, run by the kernel: every constant selects its arm, all other numbers the default. */
import type { TSchema } from '@sinclair/typebox';
import * as assert from 'uvu/assert';
import type { Builder } from '../../src/asm/builder/builder.ts';
import type { Place } from '../../src/asm/builder/place.ts';
import type { Case } from '../../src/asm/builder/switch.ts';
import type { Value } from '../../src/asm/builder/value.ts';
import { s16, s32, s64, struct, u8, u16be, u32, u32be, u64 } from '../../src/asm/layout.ts';
import { subprogram } from '../../src/asm/subprogram.ts';
import { inGuest, suite } from '../harness.ts';
import { cannotRun, withProgram } from './run-program.ts';

const test = suite('live/switch', { seconds: 60 });

/** A switch operand, made from the program's first argument. */
interface Subject {
  readonly of: (b: Builder) => Value | Place;
  readonly bits: number;
  readonly signed: boolean;
  /** Whether the number is in the other byte order in memory. */
  readonly swapped?: true;
}

/** The low bytes of the argument as a field with this schema. */
const field = (schema: TSchema) => (b: Builder) => {
  const whole = b.stack(u64);
  whole.set(b.arg(0).get());
  return b.as(whole, struct({ number: schema })).number as Place;
};

const SUBJECTS: Readonly<Record<string, Subject>> = {
  'a value': { of: (b) => b.arg(0).get(), bits: 64, signed: false },
  'a signed value': { of: (b) => b.arg(0).get().asSigned(), bits: 64, signed: true },
  'the low half of a value': { of: (b) => b.arg(0).get().asSigned(32), bits: 32, signed: true },
  u8: { of: field(u8), bits: 8, signed: false },
  s16: { of: field(s16), bits: 16, signed: true },
  u16be: { of: field(u16be), bits: 16, signed: false, swapped: true },
  u32: { of: field(u32), bits: 32, signed: false },
  s32: { of: field(s32), bits: 32, signed: true },
  u32be: { of: field(u32be), bits: 32, signed: false, swapped: true },
  u64: { of: field(u64), bits: 64, signed: false },
  s64: { of: field(s64), bits: 64, signed: true },
};

/** Test numbers of `bits` bits, including the limits of all widths. */
function numbers(bits: number, signed: boolean): bigint[] {
  const edges = [0n, 1n, 7n, 8n, 15n, 16n, 31n, 32n, 40n, 63n].flatMap((at) => {
    const power = 1n << at;
    return [power - 1n, power, power + 1n, -power, -power - 1n];
  });
  const cut = (number: bigint) => (signed ? BigInt.asIntN(bits, number) : BigInt.asUintN(bits, number));
  return [...new Set(edges.map(cut))];
}

/** An argument with the number in its low bytes and other bits above. */
function argument(number: bigint, { bits, swapped }: Subject): bigint {
  const cut = BigInt.asUintN(bits, number);
  const bytes = Buffer.from(cut.toString(16).padStart(bits / 4, '0'), 'hex');
  const low = swapped ? BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`) : cut;
  return bits === 64 ? low : low | ((0x5aa5_5aa5_5aa5_5aa5n << BigInt(bits)) & (2n ** 64n - 1n));
}

/** Numbers of cases: small ones become a chain of comparisons, large ones a tree. */
const SIZES = inGuest ? [3, 20] : [1, 3, 8, 9, 20, 40];

for (const [name, subject] of Object.entries(SUBJECTS))
  test.skipIf(cannotRun, `${name}: each constant selects its arm, other numbers the default`, () => {
    const all = numbers(subject.bits, subject.signed);
    for (const size of SIZES) {
      // Chosen with gaps, so that each constant has neighbors that are not cases.
      const chosen = all.filter((_, index) => index % Math.ceil(all.length / size) === 0);
      withProgram(
        [],
        (b) =>
          b.switch(
            subject.of(b),
            chosen.map((constant, index): Case => [constant, () => b.exit(100 + index)]),
            () => b.exit(7),
          ),
        ({ run }) => {
          for (const number of all) {
            const index = chosen.indexOf(number);
            const expected = index < 0 ? 7 : 100 + index;
            assert.is(run(argument(number, subject)), expected, `${number} of ${size}`);
          }
        },
      );
    }
  });

test.skipIf(cannotRun, 'constants share an arm, arms join, and a missing default does nothing', () => {
  const weigh = subprogram('weigh', [u64], (b, kind) => {
    b.switch(kind, [[9, () => b.return(90)]]);
    b.return(1);
  });
  withProgram(
    [],
    (b) => {
      const sum = b.stack(u64, 0);
      const kind = b.keep(b.arg(0));
      b.switch(kind, [
        [[1, 2, 3], () => sum.set(10)],
        [4, () => sum.set(b.call(weigh, kind))],
        [9, () => sum.set(b.call(weigh, kind))],
        [5, () => b.exit(50)],
      ]);
      b.exit(sum.get().add(kind));
    },
    ({ run }) => {
      assert.equal(
        [0n, 1n, 2n, 3n, 4n, 5n, 6n, 9n].map((kind) => run(kind)),
        [0, 11, 12, 13, 5, 50, 6, 99],
      );
    },
  );
});

test.run();
