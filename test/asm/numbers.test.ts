/**
 * Typed values: results and errors of comparisons, stores and operators. test/live/arithmetic runs random
 * ones in the kernel.
 */
import * as assert from 'uvu/assert';
import type { Builder } from '../../src/asm/builder/builder.ts';
import { getSmpProcessorId, ktimeGetNs } from '../../src/asm/helpers.ts';
import { kprobe, rawTracepoint, tpBtf } from '../../src/asm/hooks.ts';
import {
  bytes,
  chars,
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
  u32,
  u32be,
  u64,
  u64be,
} from '../../src/asm/layout.ts';
import { hash } from '../../src/asm/map.ts';
import { subprogram } from '../../src/asm/subprogram.ts';
import { target } from '../../src/asm/target.ts';
import { suite } from '../harness.ts';
import { socketTypes } from '../programs/kernel.ts';
import { emitted, errorMessage } from './built.ts';
import { textsOf } from './texts.ts';

const test = suite('asm/numbers');

/** The emitted instructions without the common end. */
function statements(body: (b: Builder) => unknown): string[] {
  const lines = emitted((b) => void body(b));
  return lines.slice(0, lines.lastIndexOf('r0 = 0')).filter((line) => line !== 'exit:');
}

const leave = (b: Builder) => () => b.exit();

// --- comparisons -----------------------------------------------------------------------------------

const OUTSIDE: readonly (readonly [string, (b: Builder) => void, RegExp])[] = [
  ['u8 and 257', (b) => b.if(b.stack(u8, 1).eq(257), leave(b)), /^257 doesn't fit stack \(u8, 0 to 255\)/],
  [
    's8 and 255',
    (b) => b.if(b.stack(s8, -1).eq(255), leave(b)),
    /^255 doesn't fit stack \(s8, -128 to 127\)/,
  ],
  ['u32 and -1', (b) => b.if(b.stack(u32, 5).lt(-1), leave(b)), /^-1 doesn't fit stack \(u32, /],
  [
    's32 and 2^32-1',
    (b) => b.if(b.stack(s32, -1).eq(0xffff_ffff), leave(b)),
    /^4294967295 doesn't fit stack \(s32, /,
  ],
  [
    's32 and 2^31',
    (b) =>
      b.if(
        b
          .arg(0)
          .get()
          .asSigned(32)
          .lt(2 ** 31),
        leave(b),
      ),
    /^2147483648 doesn't fit .*\(s32, /,
  ],
  [
    's32 and 2^32',
    (b) =>
      b.if(
        b
          .arg(0)
          .get()
          .asSigned(32)
          .eq(2n ** 32n),
        leave(b),
      ),
    /^4294967296 doesn't fit/,
  ],
  ['a u16 value and 65536', (b) => b.if(b.stack(u16, 1).get().lt(65_536), leave(b)), /^65536 doesn't fit/],
  [
    'a masked value',
    (b) => b.if(b.arg(0).get().and(0xf0).eq(256), leave(b)),
    /^256 doesn't fit .*\(0 to 240\)/,
  ],
  [
    'a mask of another width',
    (b) => b.if(b.stack(u8, 1).bits(0x100), leave(b)),
    /^the mask 256 has bits that stack \(u8, /,
  ],
];
for (const [name, body, message] of OUTSIDE)
  test(`a constant outside the range of the left operand is refused: ${name}`, () => {
    assert.match(errorMessage(body), message);
    assert.match(errorMessage(body), /numbers\.test\.ts:\d+\)$/);
  });

test('numbers of different signs are compared by value', () => {
  assert.equal(statements((b) => b.if(b.stack(u32, 1).lt(b.stack(s32, -1)), leave(b))).slice(2), [
    'r0 = *(u32 *)(r10 -8)',
    'r2 = *(u32 *)(r10 -16)',
    'r2 <<= 32',
    'r2 s>>= 32',
    'if r0 s< r2 goto exit',
  ]);
});

test('numbers without a common 64-bit type cannot be compared', () => {
  assert.match(
    errorMessage((b) => b.if(b.arg(0).lt(b.stack(s64, -1)), leave(b))),
    /^argument 0 \(u64, .*\) and stack \(s64, .*\) have no common 64-bit type: .* as\(s64\) or as\(u64\)/,
  );
  assert.ok(statements((b) => b.if(b.arg(0).get().as(s64).lt(b.stack(s64, -1)), leave(b))));
});

test('an int result of a helper is compared by its low half', () => {
  const table = hash('t', { key: u32, value: u32, maxEntries: 1 });
  assert.ok(
    statements((b) => b.if(b.update(table, 1, 2).lt(0), leave(b))).includes('if w0 s< 0x0 goto exit'),
  );
});

const INEXACT: readonly (readonly [string, number, RegExp])[] = [
  ['past 2^53', 2 ** 53, /^9007199254740992 is beyond 2\^53, where a number is not exact: use a bigint/],
  ['a fraction', 1.5, /^1\.5 is not an integer/],
  ['not a number', Number.NaN, /^NaN is not an integer/],
];
for (const [name, number, message] of INEXACT)
  test(`an inexact JavaScript number is refused: ${name}`, () => {
    assert.match(
      errorMessage((b) => b.if(b.arg(0).eq(number), leave(b))),
      message,
    );
    assert.match(
      errorMessage((b) => b.stack(u64, number)),
      message,
    );
    assert.match(
      errorMessage((b) => b.call(ktimeGetNs).add(number)),
      message,
    );
    assert.match(
      errorMessage((b) => b.switch(b.arg(0), [[number, leave(b)]])),
      message,
    );
    assert.match(
      errorMessage((b) => b.value(number)),
      message,
    );
  });

test('a bigint of more than 64 bits is refused', () => {
  assert.match(
    errorMessage((b) => b.if(b.arg(0).eq(2n ** 64n), leave(b))),
    /^18446744073709551616 does not fit 64 bits/,
  );
});

test('and, or and not combine conditions; the second is tested only if necessary', () => {
  const tested = (condition: (b: Builder) => Parameters<Builder['if']>[0]) =>
    statements((b) => b.if(condition(b), () => b.exit(1))).filter((line) =>
      /^if|goto|^r0 = 1|^exit$|:$/.test(line),
    );
  assert.equal(
    tested((b) => b.arg(0).eq(1).and(b.arg(1).eq(2))),
    ['if r0 != 0x1 goto else_2', 'if r0 != 0x2 goto else_2', 'r0 = 1', 'exit', 'else_2:'],
  );
  assert.equal(
    tested((b) => b.arg(0).eq(1).or(b.arg(1).eq(2))),
    ['if r0 == 0x1 goto then_1', 'if r0 != 0x2 goto else_2', 'then_1:', 'r0 = 1', 'exit', 'else_2:'],
  );
  assert.equal(
    tested((b) => b.arg(0).eq(1).or(b.arg(1).eq(2)).not()),
    tested((b) => b.arg(0).ne(1).and(b.arg(1).ne(2))),
  );
});

// --- stores ----------------------------------------------------------------------------------------

test('a value that may not fit is refused, also from memory; as() truncates it', () => {
  const narrow = struct({ n: u32 });
  assert.match(
    errorMessage((b) => b.stack(narrow).n.set(b.arg(0).get())),
    /^argument 0 \(u64, .*\) doesn't fit stack\.n \(u32, .*\): narrow it on purpose with \.as\(schema\)/,
  );
  assert.match(
    errorMessage((b) => b.stack(narrow).n.set(b.arg(0))),
    /^argument 0 \(u64, .*\) doesn't fit stack\.n/,
  );
  assert.match(
    errorMessage((b) => b.stack(u64, b.stack(s32, -1))),
    /^stack \(s32, .*\) doesn't fit stack \(u64, /,
  );
  assert.equal(
    statements((b) => b.stack(narrow).n.set(b.arg(0).get().as(u32))),
    ['r0 = *(u64 *)(r1 +0)', '*(u32 *)(r10 -8) = r0'],
  );
});

test('a result whose range fits needs no cast', () => {
  assert.equal(
    statements((b) => b.stack(struct({ pid: u32 })).pid.set(b.arg(0).get().rsh(32))),
    ['r0 = *(u64 *)(r1 +0)', 'r0 >>= 32', '*(u32 *)(r10 -8) = r0'],
  );
});

test('widening extends the sign', () => {
  assert.equal(
    statements((b) => b.stack(s64, b.arg(0).get().asSigned(32))),
    ['r0 = *(u64 *)(r1 +0)', 'r0 <<= 32', 'r0 s>>= 32', '*(u64 *)(r10 -8) = r0'],
  );
});

test('stores and comparisons convert the byte order', () => {
  assert.equal(
    statements((b) => b.stack(struct({ n: u32be })).n.set(b.arg(0).get().as(u32))),
    ['r0 = *(u64 *)(r1 +0)', 'r2 = r0', 'r2 = be32 r2', '*(u32 *)(r10 -8) = r2'],
  );
  assert.equal(
    statements((b) => b.stack(u64be, 1n)),
    ['r0 = 0x100000000000000', '*(u64 *)(r10 -8) = r0'],
  );
  assert.equal(statements((b) => b.stack(s64, b.stack(s16be, -2))).slice(1), [
    ...['r0 = *(u16 *)(r10 -8)', 'r0 = be16 r0', 'r0 <<= 48', 'r0 s>>= 48'],
    '*(u64 *)(r10 -16) = r0',
  ]);
  for (const schema of [s32be, s64be])
    assert.ok(
      statements((b) => b.if(b.stack(schema as typeof s32be, -1).lt(0), leave(b)))
        .join()
        .includes(' = be'),
    );
});

test('a kernel field of type __be16 is big-endian in every hook', () => {
  const types = target('x64', socketTypes());
  const body = (b: Builder) => {
    const { sport } = b.kernel('inet_sock', b.arg(0)).fields({ sport: 'inet_sport' });
    b.if(sport.eq(443), () => b.exit(1));
  };
  for (const program of [
    tpBtf('inet_sock_set_state', types, body),
    rawTracepoint('inet_sock_set_state', types, body),
    kprobe('tcp_set_state', types, body),
  ])
    assert.ok(textsOf(program.instructions).join().includes('!= 0xbb01'), program.attachment.kind);
});

for (const [name, body, message] of [
  ['big-endian', (b: Builder) => b.stack(u32be, 1).atomicAdd(1), /^stack is big-endian: an atomic addition/],
  [
    'text',
    (b: Builder) => (b.stack(chars(8)) as never as { atomicAdd(n: number): void }).atomicAdd(1),
    /^stack is chars\(8\), not a number/,
  ],
  [
    'bytes',
    (b: Builder) => (b.stack(bytes(4)) as never as { atomicAdd(n: number): void }).atomicAdd(1),
    /^stack is bytes\(4\), not a number/,
  ],
  [
    'two bytes',
    (b: Builder) => b.stack(u16, 1).atomicAdd(1),
    /^stack has 2 bytes: an atomic addition needs 4 or 8/,
  ],
  [
    'an amount that is too large',
    (b: Builder) => b.stack(u32, 1).atomicAdd(2n ** 33n),
    /doesn't fit the 4 bytes of stack/,
  ],
] as const)
  test(`atomicAdd is refused: ${name}`, () => {
    assert.match(errorMessage(body), message);
  });

test('memory that is not a number cannot be read as one', () => {
  assert.match(
    errorMessage((b) => b.if((b.stack(chars(8)) as never as ReturnType<Builder['arg']>).eq(0), leave(b))),
    /^stack is chars\(8\), not a number: read it as one with b\.as\(memory, u64\)/,
  );
});

// --- operators -------------------------------------------------------------------------------------

test('an operation consumes its temporary: using it again names both lines', () => {
  const message = errorMessage((b) => {
    const a = b.arg(0).get();
    const c = a.add(1);
    b.stack(u64, a);
    b.stack(u64, c);
  });
  assert.match(
    message,
    /^argument 0 of \S+numbers\.test\.ts:\d+ was changed by add\(\) at \S+numbers\.test\.ts:\d+: use the result, or keep\(\) the value before/,
  );
});

test('after a subtraction the minuend cannot be stored', () => {
  const Data = struct({ at: u64, took: u64 });
  assert.match(
    errorMessage((b) => {
      const data = b.stack(Data);
      const start = b.keep(b.call(ktimeGetNs));
      const now = b.call(ktimeGetNs);
      data.took.set(now.sub(start));
      data.at.set(now);
    }),
    /was changed by sub\(\)/,
  );
});

test('an operation on a kept value creates a temporary', () => {
  assert.equal(
    statements((b) => {
      const kept = b.keep(b.arg(0));
      b.stack(u64, kept.add(1));
      b.stack(u64, kept);
    }),
    ['r6 = *(u64 *)(r1 +0)', ...['r0 = r6', 'r0 += 1', '*(u64 *)(r10 -8) = r0'], '*(u64 *)(r10 -16) = r6'],
  );
});

test('an assignment changes the value itself, in its arm and after it', () => {
  assert.equal(
    statements((b) => {
      const sum = b.keep(b.value(0));
      b.if(b.arg(0).ne(0), () => sum.addAssign(b.arg(0)));
      b.stack(u64, sum);
    }).filter((line) => line.includes('r6')),
    ['r6 = r0', 'r6 += r2', '*(u64 *)(r10 -8) = r6'],
  );
});

test('an assignment expires other views of a kept value, in one arm or in all', () => {
  for (const within of [false, true])
    assert.match(
      errorMessage((b) => {
        const kept = b.keep(b.arg(0));
        const low = kept.as(u32);
        if (within) b.if(b.arg(1).ne(0), () => kept.addAssign(1));
        else kept.addAssign(1);
        b.stack(u32, low);
      }),
      /is a cast of a value that was assigned to afterwards/,
    );
});

test('an assignment whose result may not fit is refused', () => {
  assert.match(
    errorMessage((b) => b.keep(b.stack(u32, 1)).addAssign(1)),
    /^the result of addAssign\(\) \(1 to 4294967296\) doesn't fit stack \(u32, .*\): cast the value with as\(u64\) or as\(s64\) when you make it/,
  );
});

const INSTRUCTIONS: readonly (readonly [string, (b: Builder) => unknown, string])[] = [
  ['division of a possibly negative number', (b) => b.stack(s64, -7).get().div(2), 'r0 s/= 2'],
  ['its remainder', (b) => b.stack(s64, -7).get().mod(2), 'r0 s%= 2'],
  ['division of others', (b) => b.arg(0).get().div(2), 'r0 /= 2'],
  ['a shift of a possibly negative number', (b) => b.stack(s64, -7).get().rsh(1), 'r0 s>>= 1'],
  ['a negation', (b) => b.stack(s64, -7).get().neg(), 'r0 = -r0'],
];
for (const [name, body, instruction] of INSTRUCTIONS)
  test(`the sign selects the instruction: ${name}`, () => {
    assert.is(statements((b) => void body(b)).at(-1), instruction);
  });

test('min and max are a jump and a move', () => {
  assert.equal(
    statements((b) => b.stack(u64, b.arg(0).get().min(100))),
    ['r0 = *(u64 *)(r1 +0)', 'if r0 <= 0x64 goto end_1', 'r0 = 100', 'end_1:', '*(u64 *)(r10 -8) = r0'],
  );
  assert.ok(statements((b) => void b.stack(s32, -1).get().max(0)).includes('if r0 s>= 0x0 goto end_1'));
});

for (const [name, body, message] of [
  ['by zero', (b: Builder) => b.arg(0).get().div(0), /^argument 0 \(u64, .*\) is divided by zero/],
  ['by a negative number', (b: Builder) => b.arg(0).get().div(-2), /have no common 64-bit type/],
  [
    'by 64 bits',
    (b: Builder) => b.arg(0).get().lsh(64),
    /^cannot shift argument 0 .* by 64: the amount must be 0 to 63/,
  ],
  [
    'by a possibly larger number',
    (b: Builder) => b.arg(0).get().lsh(b.arg(1)),
    /^cannot shift argument 0 .* by argument 1 .*: the amount must be 0 to 63; mask it with and\(63\)/,
  ],
  [
    'the logarithm',
    (b: Builder) => b.stack(s64, -1).get().log2(),
    /may be negative, which log2\(\) does not allow/,
  ],
  [
    'an arithmetic shift of an unsigned number',
    (b: Builder) => b.arg(0).get().arsh(1),
    /may be 2\^63 or more, which arsh\(\) would treat as negative: use rsh\(\)/,
  ],
] as const)
  test(`an undefined operation is refused: ${name}`, () => {
    assert.match(
      errorMessage((b) => void body(b)),
      message,
    );
  });

// --- subprograms -----------------------------------------------------------------------------------

test('parameters and results of subprograms have types', () => {
  const half = subprogram('half', [s32], (b, x) => b.return(x.div(2)), { returns: s32 });
  assert.match(
    errorMessage((b) => b.call(half, b.arg(0))),
    /^argument 0 \(u64, .*\) doesn't fit argument 0 of half \(s32, /,
  );
  assert.match(
    errorMessage((b) => b.stack(u32, b.call(half, -3))),
    /^half\(\) \(s32, .*\) doesn't fit stack \(u32, /,
  );
  const wide = subprogram('wide', [u64], (b, x) => b.return(x), { returns: u32 });
  assert.match(
    errorMessage((b) => b.call(wide, 1)),
    /doesn't fit the result of wide \(u32, /,
  );
});

test("a helper's result has its type", () => {
  assert.ok(statements((b) => b.stack(u32, b.call(getSmpProcessorId))));
  assert.match(
    errorMessage((b) => b.stack(u32, b.call(ktimeGetNs))),
    /^bpf_ktime_get_ns\(\) \(u64, /,
  );
});

test('a number with few valid bits is extended when widened: a temporary in place, a kept value in a copy', () => {
  for (const [narrow, wide, extended] of [
    [s8, s32, ['<<= 56', 's>>= 56']],
    [s16, s64, ['<<= 48', 's>>= 48']],
    [s32, s64, ['<<= 32', 's>>= 32']],
  ] as const) {
    const temporary = emitted((b) => void b.stack(narrow, -1).get().as(wide));
    assert.equal(temporary.slice(2, 4), [`r0 ${extended[0]}`, `r0 ${extended[1]}`]);
    const kept = emitted((b) => {
      const value = b.keep(b.call(ktimeGetNs).as(narrow));
      b.stack(wide).set(value.as(wide));
      b.stack(narrow).set(value);
    });
    assert.equal(kept.slice(2, 5), ['r1 = r6', `r1 ${extended[0]}`, `r1 ${extended[1]}`]);
  }
});

test('only numbers, values and places are accepted as operands', () => {
  assert.match(
    errorMessage((b) => b.if(b.arg(0).eq('1' as never), () => b.exit())),
    /^1 is not an operand: pass a number/,
  );
});

test('each assignment emits one instruction and keeps its register', () => {
  const rows = [
    ['addAssign', '+='],
    ['subAssign', '-='],
    ['mulAssign', '*='],
    ['divAssign', '/='],
    ['modAssign', '%='],
    ['andAssign', '&='],
    ['orAssign', '|='],
    ['xorAssign', '^='],
    ['lshAssign', '<<='],
    ['rshAssign', '>>='],
  ] as const;
  for (const [name, operator] of rows) {
    const lines = emitted((b) => b.keep(b.call(ktimeGetNs))[name](3));
    assert.equal(lines.slice(1, 3), ['r6 = r0', `r6 ${operator} 3`], name);
  }
});

test.run();
