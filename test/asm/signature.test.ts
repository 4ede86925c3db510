import * as assert from 'uvu/assert';
import { signatureOf } from '../../src/asm/btf/signature.ts';
import { Btf } from '../../src/asm/btf.ts';
import { suite } from '../harness.ts';
import { BtfWriter } from './btf-writer.ts';

const test = suite('asm/signature');

test("a signature reads as in bpftool's dumps", () => {
  const types = new BtfWriter();
  const int = types.int('int', 4, 1);
  const skb = types.struct('__sk_buff', 4, [{ name: 'len', type: int, bits: 0 }]);
  const kind = types.enum('kind', 4, { A: 0 });
  const u32 = types.typedef('u32', int);
  const callback = types.pointer(types.prototype(int, { '': 0 }));
  const text = types.pointer(types.const(types.int('char', 1)));
  const id = types.func(
    'filter',
    types.prototype(types.pointer(0), {
      skb: types.pointer(skb),
      kind,
      count: u32,
      name: text,
      table: types.array(int, 4),
      callback,
    }),
  );
  const plain = types.func('count', types.prototype(0, {}));
  const btf = Btf.parse(types.blob());
  assert.is(
    signatureOf(btf, id),
    'void * filter(struct __sk_buff * skb, enum kind kind, u32 count, const char * name, int [4]table, int (...)* callback)',
  );
  assert.is(signatureOf(btf, plain), 'void count()');
});

/**
 * A function whose parameters are pointers to prototypes; each prototype refers to the previous one twice.
 */
function nested(levels: number): [Btf, number] {
  const types = new BtfWriter();
  let id = types.int('int', 4, 1);
  for (let level = 0; level < levels; level++) id = types.pointer(types.prototype(0, { a: id, b: id }));
  const func = types.func('f', types.prototype(0, { p: id }));
  return [Btf.parse(types.blob()), func];
}

test('nested prototypes are written up to the length of a line', () => {
  const [shallow, small] = nested(2);
  assert.is(signatureOf(shallow, small), 'void f(void (void (int a, int b)* a, void (int a, int b)* b)* p)');
  const [deep, large] = nested(40);
  assert.ok(signatureOf(deep, large).length < 100_000);
});

test('each kind of type is written as in C', () => {
  const types = new BtfWriter();
  const int = types.int('int', 4, 1);
  const raw = (name: string, kind: number, type: number) => types.raw(name, kind * 0x100_0000, type);
  const cases: [number, string][] = [
    [0, 'void'],
    [int, 'int'],
    [types.pointer(types.volatile(int)), 'volatile int *'],
    [types.const(types.pointer(int)), 'const int *'],
    [raw('', 11, types.pointer(int)), 'restrict int *'],
    [types.pointer(types.typeTag('rcu', int)), 'int *'],
    [types.struct('s', 4, []), 'struct s'],
    [types.union('u', 4, []), 'union u'],
    [types.enum('e', 4, { A: 1 }), 'enum e'],
    [types.enum64('wide', { B: 1n }), 'enum wide'],
    [raw('ahead', 7, 0), 'struct ahead'],
    [types.raw('either', 0x8700_0000, 0), 'union either'],
    [raw('double', 16, 8), 'double'],
    [types.array(types.array(int, 2), 3), 'int [2][3]'],
    [types.prototype(int, { a: int }), 'int (int a)'],
    [types.func('named_only', int), 'named_only'],
  ];
  const btf = Btf.parse(types.blob());
  assert.equal(
    cases.map(([id]) => signatureOf(btf, id)),
    cases.map(([, text]) => text),
  );
});

/**
 * The signature of a function that returns `self`, the first type, and has the parameters `self` and `int`.
 */
function headingWith(self: (types: BtfWriter) => unknown): string {
  const types = new BtfWriter();
  self(types);
  const int = types.int('int', 4, 1);
  const id = types.func('f', types.prototype(1, { a: 1, b: int }));
  return signatureOf(Btf.parse(types.blob()), id);
}

test('a recursive type is written to a depth of 64, followed by the rest', () => {
  const self: [(types: BtfWriter) => number, string][] = [
    [(types) => types.pointer(1), '* '],
    [(types) => types.const(1), 'const '],
    [(types) => types.volatile(1), 'volatile '],
    [(types) => types.raw('', 11 << 24, 1), 'restrict '],
    [(types) => types.typeTag('tag', 1), ''],
    [(types) => types.array(1, 2, 1), '[2]'],
  ];
  for (const [make, part] of self)
    assert.is(headingWith(make), `${part.repeat(64)}f(${part.repeat(64)}a, int b)`);
});

test('a prototype that returns itself is written to a depth of 64', () => {
  assert.is(
    headingWith((types) => types.prototype(1, {})),
    `${'()'.repeat(64)}f(${'()'.repeat(64)}a, int b)`,
  );
});

test('a signature has up to 1000 types and parameters', () => {
  const withParameters = (count: number) => {
    const types = new BtfWriter();
    const int = types.int('int', 4, 1);
    const names = Array.from({ length: count }, (_, n) => [`p${n}`, int]);
    const id = types.func('f', types.prototype(int, Object.fromEntries(names)));
    return signatureOf(Btf.parse(types.blob()), id);
  };
  assert.match(withParameters(499), /^int f\(int p0, .*, int p498\)$/);
  assert.match(withParameters(500), /^f\(int p0, .*, int p499\)$/);
  assert.is(withParameters(501), withParameters(500));
});

test('a prototype with itself as a parameter terminates', () => {
  const types = new BtfWriter();
  const pointer = 1;
  types.pointer(2);
  types.prototype(0, { self: pointer });
  const id = types.func('f', 2);
  const heading = signatureOf(Btf.parse(types.blob()), id);
  assert.is(heading, `void f(${'void ('.repeat(31)}(${'self)* '.repeat(32)}self)`);
});

test.run();
