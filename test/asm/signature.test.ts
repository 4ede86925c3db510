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

test.run();
