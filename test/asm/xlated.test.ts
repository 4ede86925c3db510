import * as assert from 'uvu/assert';
import { DecodeError } from '../../src/asm/decode.ts';
import { dumpInstructions, type Symbols } from '../../src/asm/xlated.ts';
import { suite } from '../harness.ts';
import { bytesOf } from './fixtures/instructions.ts';

const test = suite('asm/xlated');

const BASE = 0xffff_ffff_8100_0000n;
const NAMES = new Map([
  [BASE + 0x100n, 'bpf_ktime_get_ns'],
  [BASE - 0x20n, 'bpf_task_acquire'],
  [0xffff_ffff_c000_1000n, 'bpf_prog_6deef7357e7b4530_sum'],
]);
const SYMBOLS: Symbols = {
  base: BASE,
  nameAt: (address) => NAMES.get(address),
  functions: [0xffff_ffff_c000_0000n, 0xffff_ffff_c000_1000n],
};
const HIDDEN: Symbols = { base: 0n, nameAt: () => undefined, functions: [] };

const LINES: readonly [what: string, hex: string, text: string, symbols?: Symbols][] = [
  ['a helper by address', '8500000000010000', '(85) call bpf_ktime_get_ns#256'],
  ['a helper by number', '850000000c000000', '(85) call bpf_tail_call#12'],
  ['an address before the base', '85200000e0ffffff', '(85) call bpf_task_acquire#-32'],
  ['an address without a name', '8500000000020000', '(85) call 0xffffffff81000200#512'],
  ['hidden addresses', '8500000000020000', '(85) call 0x200#512', HIDDEN],
  [
    'a function, with its distance in the offset',
    '8510030001000000',
    '(85) call pc+3#bpf_prog_6deef7357e7b4530_sum',
  ],
  ['a function without a name', '8510fdff00000000', '(85) call pc-3#0xffffffffc0000000'],
  ['a function of an interpreted program', '8510030003000000', '(85) call pc+3', HIDDEN],
  ['the address of a function', '18430000060000000000000001000000', '(18) r3 = subprog[+6]'],
  ['a register added by the verifier', 'bf2b000000000000', '(bf) r11 = r2'],
  ['an added register in a comparison', '250b040001000000', '(25) if r11 > 0x1 goto pc+4'],
  ['an added register twice', 'bfbb000000000000', '(bf) r11 = r11'],
  ['an added register with r8', '0fb8000000000000', '(0f) r8 += r11'],
  ['two added registers', '0fcb000000000000', '(0f) r11 += r12'],
  ['an added register with 32 bits', 'bc9b000000000000', '(bc) w11 = w9'],
  ['an added register in a load', '799b0800 00000000', '(79) r11 = *(u64 *)(r9 +8)'],
  ['an address on this CPU', 'bf11ffff00000000', '(bf) r1 = &(void __percpu *)(r1)'],
  ['a barrier', 'c200000000000000', '(c2) nospec'],
  ['an invalid instruction', 'ff00000000000000', 'BUG_ff'],
];

for (const [what, hex, text, symbols = SYMBOLS] of LINES)
  test(`${what}: ${text}`, () => {
    assert.equal(dumpInstructions(bytesOf(hex), symbols), [{ slot: 0, text }]);
  });

test('maps print their id, and an lddw counts as two slots', () => {
  const bytes = bytesOf(`18110000070000000000000000000000 18220000080000000000000010000000 9500000000000000`);
  assert.equal(dumpInstructions(bytes, SYMBOLS), [
    { slot: 0, text: '(18) r1 = map[id:7]', map: 7 },
    { slot: 2, text: '(18) r2 = map[id:8][0]+16', map: 8 },
    { slot: 4, text: '(95) exit' },
  ]);
});

test('bytes that end inside an instruction are refused', () => {
  assert.throws(
    () => dumpInstructions(bytesOf('1811000007000000'), SYMBOLS),
    (error: unknown) => error instanceof DecodeError,
  );
});

test("a kernel function whose distance is a helper's number is not a helper", () => {
  const symbols = { ...SYMBOLS, nameAt: (address: bigint) => (address === BASE + 5n ? 'near' : undefined) };
  assert.is(dumpInstructions(bytesOf('8520000005000000'), symbols)[0]?.text, '(85) call near#5');
});

test.run();
