/** What programs are attached to, and where they find what they are given. */
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { Btf } from '../../src/asm/btf.ts';
import type { Builder } from '../../src/asm/builder/builder.ts';
import { disassemble } from '../../src/asm/disassemble.ts';
import { fentry } from '../../src/asm/hooks.ts';
import type { ProgramSpec } from '../../src/asm/program.ts';
import { NoKernelTypes, target } from '../../src/asm/target.ts';
import { suite } from '../harness.ts';
import { BtfWriter } from './btf-writer.ts';

const test = suite('asm/hooks');

const text = ({ instructions }: ProgramSpec): string[] =>
  assemble(instructions).instructions.map(({ instruction }) => disassemble(instruction));

/** Types with a function, and its id. */
function withFunction(name: string): { readonly kernel: Btf; readonly id: number } {
  const w = new BtfWriter();
  const sock = w.struct('sock', 16, [{ name: 'sk_err', type: w.int('int', 4, 1), bits: 64 }]);
  const id = w.func(name, w.prototype(0, { sk: w.pointer(sock) }));
  return { kernel: Btf.parse(w.blob()), id };
}

const readError = (b: Builder) => {
  const { err } = b.kernel('sock', b.arg(0)).fields({ err: 'sk_err' });
  b.if(err.ne(0), () => b.exit());
};

test('fentry: the function by its BTF id, its arguments as an array, its structures by plain loads', () => {
  const { kernel, id } = withFunction('tcp_connect');
  const program = fentry('tcp_connect', target('arm64', kernel), readError);
  assert.equal(program.attachment, { kind: 'fentry', symbol: 'tcp_connect', btfId: id });
  assert.is(program.name, 'tcp_connect');
  assert.is(program.optional, false);
  assert.equal(text(program).slice(0, 2), ['(79) r0 = *(u64 *)(r1 +0)', '(61) r2 = *(u32 *)(r0 +8)']);
});

test('fentry: a function that the types don\u2019t have is no error yet: the loader may leave it out', () => {
  const { kernel } = withFunction('tcp_connect');
  const { attachment, optional } = fentry('tcp_konnect', target('x64', kernel), () => {}, { optional: true });
  assert.equal(attachment, { kind: 'fentry', symbol: 'tcp_konnect', btfId: undefined });
  assert.is(optional, true);
});

test('fentry: needs the kernel\u2019s types', () => {
  assert.throws(
    () => fentry('tcp_connect', target('x64'), () => {}),
    (error: unknown) =>
      error instanceof NoKernelTypes && /^the function tcp_connect is needed/.test(error.message),
  );
});

test.run();
