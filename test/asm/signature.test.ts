import * as assert from 'uvu/assert';
import { signatureOf } from '../../src/asm/btf/signature.ts';
import { Btf } from '../../src/asm/btf.ts';
import { suite } from '../harness.ts';
import { BtfWriter } from './btf-writer.ts';

const test = suite('asm/signature');

test("a function reads as in bpftool's dumps", () => {
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

/** A function whose parameters are pointers to prototypes, each of which has two to the one before. */
function nested(levels: number): [Btf, number] {
  const types = new BtfWriter();
  let id = types.int('int', 4, 1);
  for (let level = 0; level < levels; level++) id = types.pointer(types.prototype(0, { a: id, b: id }));
  const func = types.func('f', types.prototype(0, { p: id }));
  return [Btf.parse(types.blob()), func];
}

test('prototypes of prototypes are written as far as a line goes', () => {
  const [shallow, small] = nested(2);
  assert.is(signatureOf(shallow, small), 'void f(void (void (int a, int b)* a, void (int a, int b)* b)* p)');
  const [deep, large] = nested(40);
  assert.ok(signatureOf(deep, large).length < 100_000);
});

test('a prototype that has itself as a parameter comes to an end', () => {
  const types = new BtfWriter();
  const pointer = 1;
  types.pointer(2);
  types.prototype(0, { self: pointer });
  const id = types.func('f', 2);
  assert.match(signatureOf(Btf.parse(types.blob()), id), /^void f\(void \(void /);
});

test.run();
