/** `b.switch`: its comparisons and errors. */
import type { TSchema } from '@sinclair/typebox';
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import type { Builder } from '../../src/asm/builder/builder.ts';
import type { Place } from '../../src/asm/builder/place.ts';
import type { Case } from '../../src/asm/builder/switch.ts';
import { getSmpProcessorId } from '../../src/asm/helpers.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import { s8, s32, struct, u8, u16be, u32, u64 } from '../../src/asm/layout.ts';
import { target } from '../../src/asm/target.ts';
import { suite } from '../harness.ts';
import { textsOf } from './texts.ts';

const test = suite('asm/switch');

const program = (body: (b: Builder) => void) => rawTracepoint('test', target('x64'), body).instructions;

test('the value is loaded once and compared in case order; the default comes first, and an arm that only leaves needs no jump', () => {
  const text = textsOf(
    program((b) => {
      const slot = b.stack(u64);
      b.switch(
        b.arg(1),
        [
          [60, () => b.exit()],
          [[1, 20], () => slot.set(1)],
          [0, () => slot.set(2)],
        ],
        () => slot.set(3),
      );
      b.exit(slot.get());
    }),
  );
  assert.equal(text, [
    'r0 = *(u64 *)(r1 +8)',
    'if r0 == 0x3c goto exit',
    'if r0 == 0x1 goto case_2',
    'if r0 == 0x14 goto case_2',
    'if r0 == 0x0 goto case_3',
    '*(u64 *)(r10 -8) = 3',
    'goto end_5',
    'case_2:',
    '*(u64 *)(r10 -8) = 1',
    'goto end_5',
    'case_3:',
    '*(u64 *)(r10 -8) = 2',
    'end_5:',
    'r0 = *(u64 *)(r10 -8)',
    'exit',
    'exit:',
    'r0 = 0',
    'exit',
  ]);
});

type Subject = Parameters<Builder['switch']>[0];

/** The comparisons of a switch with these constants, each with its own exit. */
function comparisons(subject: (b: Builder) => Subject, constants: readonly (number | bigint)[]): string[] {
  const text = textsOf(
    program((b) =>
      b.switch(
        subject(b),
        constants.map((constant, index): Case => [constant, () => b.exit(100 + index)]),
      ),
    ),
  );
  const first = text.findIndex((line) => line.startsWith('if '));
  return text.slice(
    first,
    text.findIndex((line) => /^(case|exit)/.test(line)),
  );
}

/** A place in memory with this schema. */
const place = (schema: TSchema) => (b: Builder) => {
  const memory = b.stack(struct({ number: schema }));
  memory.set(0);
  return memory.number as Place;
};

test("more than eight constants are searched by halves, in the operand's order", () => {
  const nine = [9, 8, 7, 6, 5, 4, 3, 2, 1];
  assert.equal(comparisons(place(u8), nine.slice(1)).slice(0, 2), [
    'if r0 == 0x8 goto case_1',
    'if r0 == 0x7 goto case_2',
  ]);
  assert.equal(comparisons(place(u8), nine), [
    'if r0 > 0x4 goto above_12',
    'if r0 == 0x1 goto case_9',
    'if r0 == 0x2 goto case_8',
    'if r0 == 0x3 goto case_7',
    'if r0 == 0x4 goto case_6',
    'goto end_11',
    'above_12:',
    'if r0 == 0x5 goto case_5',
    'if r0 == 0x6 goto case_4',
    'if r0 == 0x7 goto case_3',
    'if r0 == 0x8 goto case_2',
    'if r0 == 0x9 goto case_1',
    'goto end_11',
  ]);
});

test('a field is compared as in memory: constants are swapped or truncated instead', () => {
  assert.equal(comparisons(place(u16be), [80, 443]), [
    'if r0 == 0x5000 goto case_1',
    'if r0 == 0xbb01 goto case_2',
    'goto end_4',
  ]);
  assert.equal(comparisons(place(s8), [-1, 1]).slice(0, 2), [
    'if r0 == 0xff goto case_1',
    'if r0 == 0x1 goto case_2',
  ]);
});

test('constants that are not 64-bit immediates are compared by the low 32 bits or loaded', () => {
  assert.equal(comparisons(place(u32), [0x8000_0000, 0x7fff_ffff]).slice(0, 2), [
    'if w0 == 0x80000000 goto case_1',
    'if r0 == 0x7fffffff goto case_2',
  ]);
  assert.equal(comparisons(place(s32), [-2]).slice(0, 1), ['if w0 == 0xfffffffe goto case_1']);
  assert.equal(comparisons(place(u64), [2n ** 64n - 1n, 2 ** 31, 2n ** 40n]).slice(0, -1), [
    'if r0 == 0xffffffff goto case_1',
    'w2 = -2147483648',
    'if r0 == r2 goto case_2',
    'r2 = 0x10000000000',
    'if r0 == r2 goto case_3',
  ]);
  const int = (b: Builder) => b.call(getSmpProcessorId).asSigned(32);
  assert.equal(comparisons(int, [-1, 2]).slice(0, 2), [
    'if w0 == 0xffffffff goto case_1',
    'if w0 == 0x2 goto case_2',
  ]);
});

test('memory written in one arm is unwritten after the switch, memory written in all is written', () => {
  const body = (cases: (set: () => void) => Case[], otherwise: boolean) => (b: Builder) => {
    const slot = b.stack(u64);
    const set = () => slot.set(1);
    b.switch(b.arg(0), cases(set), otherwise ? set : undefined);
    b.exit(slot.get());
  };
  assert.ok(
    program(
      body(
        (set) => [
          [1, set],
          [2, set],
        ],
        true,
      ),
    ),
  );
  const unwritten = /was never written/;
  assert.throws(
    () =>
      program(
        body(
          (set) => [
            [1, set],
            [2, () => {}],
          ],
          true,
        ),
      ),
    unwritten,
  );
  assert.throws(() => program(body((set) => [[1, set]], false)), unwritten);
});

test('code after arms that all end is unreachable', () => {
  assert.throws(
    () =>
      program((b) => {
        b.switch(b.arg(0), [[1, () => b.exit(1)]], () => b.exit(2));
        b.exit(3);
      }),
    /unreachable: the block ended at/,
  );
});

test('switches nest in each other, in subprograms and in blocks', () => {
  const instructions = program((b) => {
    const second = b.keep(b.arg(1));
    b.block((leave) => {
      b.switch(b.arg(0), [
        [1, () => b.switch(second, [[1, () => b.exit(11)]], leave)],
        [2, leave],
      ]);
      b.exit(3);
    });
    b.exit(4);
  });
  assert.ok(assemble(instructions).bytes.length > 0);
});

const REFUSED: readonly [what: string, body: (b: Builder) => void, message: RegExp][] = [
  [
    'a constant in two cases',
    (b) =>
      b.switch(b.arg(0), [
        [1, () => {}],
        [[2, 3], () => {}],
        [[4, 3n], () => {}],
      ]),
    /^cases 2 and 3 of the switch both contain 3 \(.*switch\.test\.ts:\d+\)$/,
  ],
  [
    'a constant twice in a case',
    (b) => b.switch(b.arg(0), [[[7, 7], () => {}]]),
    /^case 1 of the switch lists 7 twice \(.*switch\.test\.ts:\d+\)$/,
  ],
  [
    'a constant that does not fit the field',
    (b) => b.switch(place(u8)(b), [[256, () => {}]]),
    /^256 doesn't fit .*number \(u8, 0 to 255\) \(.*switch\.test\.ts:\d+\)$/,
  ],
  [
    'a negative constant for an unsigned field',
    (b) => b.switch(b.arg(0).get(), [[-1, () => {}]]),
    /^-1 doesn't fit argument 0 \(u64, 0 to 18446744073709551615\)/,
  ],
  [
    'a constant that is not an integer',
    (b) => b.switch(b.arg(0), [[1.5, () => {}]]),
    /^1\.5 is not an integer/,
  ],
  ['no case', (b) => b.switch(b.arg(0), []), /^a switch needs at least one case/],
  ['an empty case', (b) => b.switch(b.arg(0), [[[], () => {}]]), /^case 1 of the switch has no constant/],
];

for (const [what, body, message] of REFUSED)
  test(`refused at the caller\u2019s line: ${what}`, () => {
    assert.throws(
      () => program(body),
      (error: unknown) => {
        assert.match((error as Error).message, message);
        return true;
      },
    );
  });

test.run();
