import * as assert from 'uvu/assert';
import { Kernel } from '../../src/loader/kernel.ts';
import { SymbolTable } from '../../src/loader/symbol-table.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';

const test = suite('loader/symbol-table');

const KALLSYMS = [
  '0000000000001000 A per_cpu_symbol',
  'ffffffff81000000 T _text',
  'ffffffff81000000 T _stext',
  'ffffffff81000100 t do_one',
  'ffffffff81000400 T do_two',
  'ffffffffc0000000 t module_open\t[nf tables]',
  'ffffffff81000200 t bpf_prog_out_of_order\t[bpf]',
  '',
].join('\n');

for (const [what, address, expected] of [
  ['the start of a function', 0xffff_ffff_8100_0100n, { name: 'do_one', offset: 0 }],
  ['an address in a function', 0xffff_ffff_8100_01ffn, { name: 'do_one', offset: 0xff }],
  ['the first of several names', 0xffff_ffff_8100_0010n, { name: '_text', offset: 0x10 }],
  ['a function of a module', 0xffff_ffff_c000_0004n, { name: 'module_open', offset: 4, module: 'nf tables' }],
  [
    'a symbol that is listed out of order',
    0xffff_ffff_8100_0201n,
    { name: 'bpf_prog_out_of_order', offset: 1, module: 'bpf' },
  ],
  ['an address before all symbols', 0xffff_ffff_80ff_ffffn, undefined],
  ['an address far behind a symbol', 0xffff_ffff_8110_0400n, undefined],
  ['an address of a process', 0x1000n, undefined],
] as const)
  test(`${what}`, () => assert.equal(new SymbolTable(Buffer.from(KALLSYMS)).at(address), expected));

test('without addresses there are no names', () => {
  assert.is(new SymbolTable(Buffer.from('0000000000000000 T _text\n')).at(0xffff_ffff_8100_0000n), undefined);
  assert.is(new SymbolTable(Buffer.alloc(0)).at(0xffff_ffff_8100_0000n), undefined);
});

test('a kernel names its addresses, and none if /proc/kallsyms cannot be read', () => {
  const fake = new FakeSyscalls();
  assert.is(new Kernel(fake).symbolAt(0xffff_ffff_8100_0400n), undefined);
  fake.files.set('/proc/kallsyms', KALLSYMS);
  assert.equal(new Kernel(fake).symbolAt(0xffff_ffff_8100_0404n), { name: 'do_two', offset: 4 });
});

test.run();
