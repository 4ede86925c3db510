/** The dialect and file format of the conformance suite, without a kernel. */
import * as assert from 'uvu/assert';
import { disassemble } from '../../src/asm/disassemble.ts';
import { type Instruction, type Item, isLabel } from '../../src/asm/instruction.ts';
import { suite } from '../harness.ts';
import { readTest } from './data-file.ts';
import { DialectError, readProgram } from './ubpf.ts';

const test = suite('conformance/dialect');

function listing(items: readonly Item[]): string[] {
  return items.map((item) => (isLabel(item) ? `${item.label}:` : disassemble(item as Instruction)));
}

const LINES: readonly [dialect: string, kernel: string][] = [
  ['mov32 %r1, 0xffffffff', '(b4) w1 = -1'],
  ['add %r1, %r2', '(0f) r1 += r2'],
  ['smod32 %r3, -13', '(94) w3 s%= -13'],
  ['neg %r5', '(87) r5 = -r5'],
  ['swap16 %r0', '(d7) r0 = bswap16 r0'],
  ['le64 %r0', '(d4) r0 = le64 r0'],
  ['movsx1632 %r4, %r3', '(bc) w4 = (s16)w3'],
  ['lddw %r0, 0x1122334455667788', '(18) r0 = 0x1122334455667788'],
  ['ldxdw %r0, [%r1]', '(79) r0 = *(u64 *)(r1 +0)'],
  ['ldxsb %r0, [%r10-1]', '(91) r0 = *(s8 *)(r10 -1)'],
  ['stb [%r10-1], 0x180', '(72) *(u8 *)(r10 -1) = 128'],
  ['stxh [%r1+0x10], %r2', '(6b) *(u16 *)(r1 +16) = r2'],
  ['jsgt32 %r1, -1, +4', '(66) if w1 s> 0xffffffff goto pc+4'],
  ['ja32 out', '(06) gotol out'],
  ['call 5', '(85) call bpf_ktime_get_ns#5'],
  ['call local func', '(85) call func'],
  ['call runtime 9', '(85) call kernel-function#9'],
  ['call %r2', '(8d) callx r2'],
  ['lock add32 [%r10-8], %r1', '(c3) lock *(u32 *)(r10 -8) += r1'],
  ['lock fetch xor [%r10-8], %r1', '(db) r1 = atomic64_fetch_xor((u64 *)(r10 -8), r1)'],
  ['lock fetch xchg [%r10-8], %r1', '(db) r1 = atomic64_xchg((u64 *)(r10 -8), r1)'],
  ['lock cmpxchg32 [%r10-8], %r1', '(c3) r0 = atomic_cmpxchg((u32 *)(r10 -8), r0, r1)'],
];

for (const [dialect, kernel] of LINES)
  test(`${dialect} reads as ${kernel}`, () => {
    assert.equal(listing(readProgram(dialect)), [kernel]);
  });

test('the label exit is the first exit', () => {
  assert.equal(listing(readProgram('ja exit # leave\nexit\nexit')), [
    '(05) goto exit',
    'exit:',
    '(95) exit',
    '(95) exit',
  ]);
});

for (const [line, message] of [
  ['ldxq %r0, [%r1]', /line 1, 'ldxq %r0, \[%r1\]': no instruction 'ldxq'/],
  ['mov %r0', /mov has 2 operands, not 1/],
  ['mov r0, 1', /'r0' is no register/],
  ['ldxb %r0, %r1', /'%r1' is no memory operand/],
  ['mov %r0, 0x100000000', /0x100000000 does not fit in 32 bits/],
  ['lock nand [%r1], %r0', /no atomic operation/],
] as const)
  test(`refused: ${line}`, () => {
    assert.throws(
      () => readProgram(line),
      (error: unknown) => error instanceof DialectError && message.test(error.message),
    );
  });

test('a file has a program, optional memory, and a result', () => {
  const { program, memory, result } = readTest(
    '-- asm\nexit\n-- mem\naa bb\ncc\n-- result\n0xffffffffffffffff\n',
  );
  assert.equal(listing(program()), ['exit:', '(95) exit']);
  assert.equal([...memory], [0xaa, 0xbb, 0xcc]);
  assert.is(result, 0xffff_ffff_ffff_ffffn);
});

test('a program may be given as numbers, with an expected error', () => {
  const { program, result } = readTest('-- raw\n0x00000007000000b7\n149\n-- error\nrefused\n');
  assert.equal(listing(program()), ['(b7) r0 = 7', '(95) exit']);
  assert.is(result, undefined);
});

test('a file without a program or an expectation is refused', () => {
  assert.throws(() => readTest('-- result\n1\n'), /it has no program/);
  assert.throws(() => readTest('-- asm\nexit\n'), /it has neither result nor error/);
});

test.run();
