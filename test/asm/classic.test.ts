/** The assembler for classic BPF, compared with the kernel's documentation and with the kernel. */
import koffi from 'koffi';
import * as assert from 'uvu/assert';
import {
  assembleClassic,
  BPF_JUMP,
  BPF_STMT,
  Classic,
  type ClassicInstruction,
} from '../../src/asm/classic.ts';
import { label } from '../../src/asm/constructors.ts';
import type { Label } from '../../src/asm/instruction.ts';
import { suite } from '../harness.ts';

const test = suite('asm/classic');

const { BPF_LD, BPF_LDX, BPF_ST, BPF_STX, BPF_ALU, BPF_JMP, BPF_RET, BPF_MISC } = Classic;
const { BPF_W, BPF_H, BPF_B, BPF_ABS, BPF_IND, BPF_MEM, BPF_MSH, BPF_K, BPF_X } = Classic;
const { BPF_JA, BPF_JEQ, BPF_JSET, BPF_DIV, BPF_LSH, BPF_TAX } = Classic;

const loadHalf = (k: number) => BPF_STMT(BPF_LD | BPF_H | BPF_ABS, k);
const loadByte = (k: number) => BPF_STMT(BPF_LD | BPF_B | BPF_ABS, k);
const ifEqual = (k: number, jt?: string, jf?: string) => BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, k, jt, jf);
const ret = (k: number) => BPF_STMT(BPF_RET | BPF_K, k);

/** The instructions as the kernel's bpf_asm -c and tcpdump -dd print them, without spaces. */
function inC(items: readonly (ClassicInstruction | Label)[]): string[] {
  const bytes = assembleClassic(items);
  const view = new DataView(bytes.buffer);
  return Array.from({ length: bytes.length / 8 }, (_, i) => {
    const [code, jt, jf] = [view.getUint16(i * 8, true), view.getUint8(i * 8 + 2), view.getUint8(i * 8 + 3)];
    return `0x${code.toString(16).padStart(2, '0')},${jt},${jf},0x${view.getUint32(i * 8 + 4, true).toString(16)}`;
  });
}

test('the ARP filter of Documentation/networking/filter.rst', () => {
  const arp = [loadHalf(12), ifEqual(0x806, undefined, 'drop'), ret(0xffff_ffff), label('drop'), ret(0)];
  assert.equal(inC(arp), ['0x28,0,0,0xc', '0x15,0,1,0x806', '0x06,0,0,0xffffffff', '0x06,0,0,0x0']);
});

test('the filter "port 22" of Documentation/networking/filter.rst', () => {
  const port22 = [
    ...[loadHalf(12), ifEqual(0x86dd, undefined, 'not6')],
    ...[loadByte(20), ifEqual(0x84, 'ports6'), ifEqual(6, 'ports6'), ifEqual(0x11, undefined, 'drop')],
    ...[label('ports6'), loadHalf(54), ifEqual(22, 'accept')],
    ...[loadHalf(56), ifEqual(22, 'accept', 'drop')],
    ...[label('not6'), ifEqual(0x800, undefined, 'drop')],
    ...[loadByte(23), ifEqual(0x84, 'ports4'), ifEqual(6, 'ports4'), ifEqual(0x11, undefined, 'drop')],
    ...[label('ports4'), loadHalf(20), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x1fff, 'drop')],
    BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 14),
    ...[BPF_STMT(BPF_LD | BPF_H | BPF_IND, 14), ifEqual(22, 'accept')],
    ...[BPF_STMT(BPF_LD | BPF_H | BPF_IND, 16), ifEqual(22, undefined, 'drop')],
    ...[label('accept'), ret(0xffff), label('drop'), ret(0)],
  ];
  assert.equal(inC(port22), [
    ...['0x28,0,0,0xc', '0x15,0,8,0x86dd', '0x30,0,0,0x14', '0x15,2,0,0x84', '0x15,1,0,0x6'],
    ...['0x15,0,17,0x11', '0x28,0,0,0x36', '0x15,14,0,0x16', '0x28,0,0,0x38', '0x15,12,13,0x16'],
    ...['0x15,0,12,0x800', '0x30,0,0,0x17', '0x15,2,0,0x84', '0x15,1,0,0x6', '0x15,0,8,0x11'],
    ...['0x28,0,0,0x14', '0x45,6,0,0x1fff', '0xb1,0,0,0xe', '0x48,0,0,0xe', '0x15,2,0,0x16'],
    ...['0x48,0,0,0x10', '0x15,0,1,0x16', '0x06,0,0,0xffff', '0x06,0,0,0x0'],
  ]);
});

test('BPF_JA has its distance in k, beyond the reach of conditions', () => {
  const far = (count: number) => [
    BPF_JUMP(BPF_JMP | BPF_JA, 7, 'end'),
    ...Array(count).fill(ret(1)),
    label('end'),
    ret(0),
  ];
  assert.is(inC(far(1))[0], '0x05,0,0,0x1');
  assert.is(inC(far(1000))[0], '0x05,0,0,0x3e8');
});

test('a condition reaches 255 instructions, and not one more', () => {
  const over = (count: number) => [ifEqual(1, 'end'), ...Array(count).fill(ret(1)), label('end'), ret(0)];
  assert.is(inC(over(255))[0], '0x15,255,0,0x1');
  assert.throws(
    () => assembleClassic(over(256)),
    /^slot 0: a condition cannot jump over 256 instructions; the limit is 255 \(.*classic\.test\.ts:\d+\)$/,
  );
});

const INVALID: readonly (readonly [string, readonly (ClassicInstruction | Label)[], RegExp])[] = [
  ['an empty program', [], /the program is empty/],
  ['a label only', [label('end')], /the program is empty/],
  ['4097 instructions', Array(4097).fill(ret(0)), /4097 instructions; the limit is 4096/],
  ['an unknown label', [ifEqual(1, 'end'), ret(0)], /^slot 0: undefined label 'end'/],
  ['a label twice', [label('a'), label('a'), ret(0)], /label 'a' is defined twice/],
  ['an earlier label', [ret(0), label('a'), ifEqual(1, 'a'), ret(0)], /^slot 1: label 'a' is behind/],
  ['a label at the end', [ifEqual(1, 'end'), ret(0), label('end')], /^slot 0: label 'end' is past the last/],
  ['no return at the end', [ret(0), loadHalf(1)], /^slot 1: the last instruction must be BPF_RET/],
  ['an eBPF opcode', [BPF_STMT(0xb7, 0), ret(0)], /^slot 0: 0xb7 is no opcode of classic BPF/],
  ['a negative operand', [ret(-1)], /^slot 0: the operand -1 does not fit/],
  ['an operand of 33 bits', [ret(2 ** 32)], /does not fit 32 unsigned bits/],
  ['a fraction', [ret(0.5)], /does not fit 32 unsigned bits/],
  ['word 16 of memory', [BPF_STMT(BPF_ST, 16), ret(0)], /scratch memory has words 0 to 15, not 16/],
  ['a division by 0', [BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), ret(0)], /division by zero/],
  ['a shift by 32', [BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 32), ret(0)], /a shift by 32/],
  ['a label of a load', [{ ...loadHalf(0), jt: 'a' }, label('a'), ret(0)], /only jumps have labels/],
  ['BPF_JA without a label', [BPF_JUMP(BPF_JMP | BPF_JA, 0), ret(0)], /BPF_JA has exactly one label/],
];
for (const [what, items, message] of INVALID)
  test(`${what} is an error`, () => {
    assert.throws(() => assembleClassic(items), message);
  });

// --- the kernel as judge -----------------------------------------------------------------------------

const libc = koffi.load(null);
const socket = libc.func('int socket(int family, int type, int protocol)');
const setsockopt = libc.func('int setsockopt(int fd, int level, int option, void *value, unsigned int size)');
const close = libc.func('int close(int fd)');

/** Whether the kernel accepts a classic program as a socket filter, which needs no privileges. */
function kernelAccepts(fd: number, bytes: Uint8Array): boolean {
  const [SOL_SOCKET, SO_ATTACH_FILTER] = [1, 26];
  const program = new DataView(new ArrayBuffer(16));
  program.setUint16(0, bytes.length / 8, true);
  program.setBigUint64(8, koffi.address(bytes), true);
  return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, new Uint8Array(program.buffer), 16) === 0;
}

test('exactly the opcodes and operands that the kernel accepts are accepted', () => {
  const [AF_INET, SOCK_DGRAM] = [2, 2];
  const fd: number = socket(AF_INET, SOCK_DGRAM, 0);
  // Scratch memory must be written before it is read.
  const before = [
    BPF_STMT(BPF_ST, 1),
    BPF_STMT(BPF_ST, 15),
    BPF_STMT(BPF_STX, 0),
    BPF_STMT(BPF_MISC | BPF_TAX, 0),
  ];
  const differences: string[] = [];
  let accepted = 0;
  try {
    for (let code = 0; code < 0x200; code++)
      for (const k of [0, 1, 15, 16, 31, 32]) {
        const isJa = code === (BPF_JMP | BPF_JA);
        const raw = assembleClassic([...before, ret(0), ret(0)]);
        new DataView(raw.buffer).setUint16(32, code, true);
        new DataView(raw.buffer).setUint32(36, isJa ? 0 : k, true);
        let ours: Uint8Array | undefined;
        try {
          const item = isJa ? BPF_JUMP(code, k, 'next') : BPF_STMT(code, k);
          ours = assembleClassic([...before, item, label('next'), ret(0)]);
        } catch {
          // refused
        }
        if (ours) assert.equal(ours, raw);
        if (kernelAccepts(fd, raw) !== (ours !== undefined)) differences.push(`0x${code.toString(16)} ${k}`);
        else if (ours) accepted += 1;
      }
  } finally {
    close(fd);
  }
  assert.equal(differences, []);
  assert.ok(accepted > 200, String(accepted));
});

test('the names are those of linux/filter.h', () => {
  assert.is(BPF_LD | BPF_W | BPF_ABS, 0x20);
  assert.is(BPF_LDX | BPF_MEM, 0x61);
  assert.is(BPF_ALU | BPF_DIV | BPF_X, 0x3c);
});

test.run();
