/** Struct names with several definitions, and pointers to one of them. */
import * as assert from 'uvu/assert';
import { AmbiguousStructError, Btf, type StructRef } from '../../src/asm/btf.ts';
import type { Builder } from '../../src/asm/builder/builder.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import { target } from '../../src/asm/target.ts';
import { suite } from '../harness.ts';
import { thrown } from '../thrown.ts';
import { BtfWriter } from './btf-writer.ts';
import { textsOf } from './texts.ts';

const test = suite('asm/struct-names');

const w = new BtfWriter();
const int = w.int('int', 4, 1);
const long = w.int('long', 8, 1);
const member = (name: string, type: number, offset: number) => ({ name, type, bits: 8 * offset });
const small = w.struct('chan', 16, [member('lock', int, 0), member('id', int, 8)]);
const inner = w.struct('', 8, [member('cookie', int, 4)]);
const large = w.struct('chan', 112, [
  member('device', long, 0),
  { name: '', type: inner, bits: 64 },
  member('id', int, 96),
]);
w.struct('same', 8, [member('a', int, 0), member('p', w.pointer(small), 0)]);
w.struct('same', 8, [member('a', int, 0), member('p', w.pointer(large), 0)]);
w.struct('twin', 8, [member('a', int, 0)]);
w.struct('twin', 8, [member('b', int, 0)]);
w.struct('alone', 8, [member('x', int, 4)]);
const declared = (name: string) => w.pointer(w.raw(name, 7 << 24, 0));
w.struct('descriptor', 32, [
  member('chan', w.pointer(large), 0),
  member('alone', declared('alone'), 8),
  member('either', declared('chan'), 16),
]);
const btf = Btf.parse(w.blob());
const on = target('x64', btf);

test('an ambiguous name is refused, and the error lists the definitions', () => {
  const error = thrown(() => btf.member('chan', 'id'));
  assert.ok(error instanceof AmbiguousStructError);
  assert.match(
    error.message,
    "2 different structs named 'chan': 16 bytes (lock, id), 112 bytes (device, id, cookie); " +
      "select one by its size or by a member: { name: 'chan', size: 16 } or { name: 'chan', size: 112 }",
  );
  assert.equal(
    error.candidates.map(({ id, size }) => [id, size]),
    [
      [small, 16],
      [large, 112],
    ],
  );
  assert.match(thrown(() => btf.sizeOf('twin')).message, "{ name: 'twin', having: 'a' }");
  assert.throws(() => btf.has('chan', 'id'), /2 different structs/);
});

const choices: [StructRef, number][] = [
  [{ name: 'chan', size: 112 }, 96],
  [{ name: 'chan', having: 'lock' }, 8],
  [{ name: 'chan', having: 'cookie' }, 96],
  [small, 8],
  [large, 96],
];
for (const [choice, offset] of choices)
  test(`${JSON.stringify(choice)} selects a definition`, () =>
    assert.is(btf.member(choice, 'id').offset, offset));

test('a choice without a match is refused, and the error lists the definitions', () =>
  assert.match(
    thrown(() => btf.sizeOf({ name: 'chan', size: 5 })).message,
    "no struct 'chan' of 5 bytes: 16 bytes (lock, id)",
  ));

test('definitions with equal layouts are one, even with pointers to other structs', () =>
  assert.is(btf.member('same', 'a').offset, 0));

const failing = (body: (b: Builder) => void) => thrown(() => rawTracepoint('x', on, body)).message;
const offsetOf = (body: (b: Builder) => void) =>
  textsOf(rawTracepoint('x', on, body).instructions)
    .filter((line) => line.startsWith('r3 +='))
    .at(-1);

test('errors name a struct chosen by id, and the id of an anonymous one', () => {
  assert.match(
    failing((b) => b.kernel(large, b.arg(0)).follow('id')),
    /^chan\.id is no pointer/,
  );
  assert.match(
    failing((b) => b.kernel(inner, b.arg(0)).follow('cookie')),
    `${inner}.cookie is no pointer`,
  );
  assert.match(
    failing((b) => b.kernel(large, b.arg(0)).fields({ id: 'idd' })),
    /struct chan: no member 'idd'/,
  );
});

test('an error lists at most four members of a definition', () => {
  const w = new BtfWriter();
  const number = w.int('int', 4, 1);
  for (const count of [4, 5])
    w.struct(
      'twin',
      4 * count,
      [...'abcde'].slice(0, count).map((name, at) => member(name, number, 4 * at)),
    );
  assert.match(
    thrown(() => Btf.parse(w.blob()).sizeOf('twin')).message,
    '16 bytes (a, b, c, d), 20 bytes (a, b, c, d, ...)',
  );
});

test('b.kernel and cast refuse an ambiguous name at their line, and accept a choice', () => {
  assert.match(
    failing((b) => b.kernel('chan', b.arg(0))),
    /different structs named 'chan'.*struct-names\.test\.ts/,
  );
  assert.match(
    failing((b) => b.kernel('alone', b.arg(0)).cast('chan')),
    /different structs named 'chan'.*struct-names\.test\.ts/,
  );
  assert.is(
    offsetOf((b) => b.kernel({ name: 'chan', size: 112 }, b.arg(0)).fields({ id: 'id' })),
    'r3 += 96',
  );
  assert.is(
    offsetOf((b) => b.kernel('alone', b.arg(0)).cast({ name: 'chan', having: 'lock' }).fields({ id: 'id' })),
    'r3 += 8',
  );
});

test("follow uses the pointer's type, not its name", () => {
  const descriptor = (b: Builder) => b.kernel('descriptor', b.arg(0));
  assert.is(
    offsetOf((b) => descriptor(b).follow('chan').fields({ id: 'id' })),
    'r3 += 96',
  );
  assert.is(
    offsetOf((b) => b.kernel(descriptor(b).fields({ c: 'chan' }).c).fields({ id: 'id' })),
    'r3 += 96',
  );
  assert.is(
    offsetOf((b) => b.keep(descriptor(b).follow('chan')).fields({ id: 'id' })),
    'r3 += 96',
  );
  assert.is(
    offsetOf((b) => descriptor(b).follow('alone').fields({ x: 'x' })),
    'r3 += 4',
  );
  assert.match(
    failing((b) => descriptor(b).follow('either')),
    /different structs named 'chan'/,
  );
});

test('structs of one name are equal if their members read equally', () => {
  type Members = (types: BtfWriter) => Parameters<BtfWriter['struct']>[2];
  const number = (types: BtfWriter, size: number, encoding = 0) => types.int('number', size, encoding);
  const one =
    (type: (types: BtfWriter) => number): Members =>
    (types) => [{ name: 'a', type: type(types), bits: 0 }];
  const pair =
    (second: string, bits: number): Members =>
    (types) => [
      { name: 'a', type: number(types, 4), bits: 0 },
      { name: second, type: number(types, 4), bits },
    ];
  const inside = (name: string): Members =>
    one((types) => {
      const type = number(types, 4);
      return types.struct('', 4, [{ name, type, bits: 0 }]);
    });
  const rows: readonly [isSame: boolean, left: Members, right: Members][] = [
    [true, one((types) => number(types, 4)), one((types) => number(types, 4))],
    [true, one((types) => number(types, 4)), one((types) => types.typedef('t', number(types, 4)))],
    [false, one((types) => number(types, 4)), one((types) => number(types, 8))],
    [false, one((types) => number(types, 4)), one((types) => number(types, 4, 1))],
    [false, one((types) => number(types, 4)), one((types) => types.enum('e', 4, { A: 1 }))],
    [true, one((types) => types.pointer(0)), one((types) => types.pointer(0))],
    [false, one((types) => types.pointer(0)), one((types) => types.pointer(number(types, 4)))],
    [false, one((types) => types.pointer(0)), one((types) => number(types, 8))],
    [
      true,
      one((types) => types.array(number(types, 4), 2)),
      one((types) => types.array(number(types, 4), 2)),
    ],
    [
      false,
      one((types) => types.array(number(types, 4), 2)),
      one((types) => types.array(number(types, 4), 3)),
    ],
    [
      false,
      one((types) => types.array(number(types, 4), 2)),
      one((types) => types.array(number(types, 2), 2)),
    ],
    [true, pair('b', 32), pair('b', 32)],
    [false, pair('b', 32), pair('c', 32)],
    [false, pair('b', 32), pair('b', 64)],
    [false, pair('b', 32), one((types) => number(types, 4))],
    [true, inside('x'), inside('x')],
    [false, inside('x'), inside('y')],
  ];
  for (const [i, [isSame, left, right]] of rows.entries()) {
    const types = new BtfWriter();
    for (const members of [left, right]) types.struct('double', 16, members(types));
    const read = Btf.parse(types.blob());
    if (isSame) assert.is(read.member('double', 'a').offset, 0, `row ${i}`);
    else assert.ok(thrown(() => read.member('double', 'a')) instanceof AmbiguousStructError, `row ${i}`);
  }
});

test.run();
