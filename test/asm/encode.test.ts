import * as assert from 'uvu/assert';
import { exit, gotol, lddw, loadMap, loadMapValue } from '../../src/asm/constructors.ts';
import { encode, encodeAll, slotsOf } from '../../src/asm/encode.ts';
import type { MapSpec } from '../../src/asm/map.ts';
import { r1 } from '../../src/asm/registers.ts';
import { suite } from '../harness.ts';
import { byConstructor, construct, hexOf, PSEUDO, SAMPLES } from './fixtures/instructions.ts';

const test = suite('asm/encode');

for (const [name, samples] of byConstructor(SAMPLES))
  test(`${name} encodes like LLVM`, () => {
    assert.equal(
      samples.map(({ call, llvm }) => `${llvm}: ${hexOf(encode(construct(call)))}`),
      samples.map(({ bytes, llvm }) => `${llvm}: ${hexOf(bytes)}`),
    );
  });

for (const [name, samples] of byConstructor(PSEUDO))
  test(`${name} encodes as linux/bpf.h defines`, () => {
    assert.equal(
      samples.map(({ call }) => `${call}: ${hexOf(encode(construct(call)))}`),
      samples.map(({ bytes, call }) => `${call}: ${hexOf(bytes)}`),
    );
  });

test('gotol reaches 2^31 slots', () => {
  assert.is(hexOf(encode(gotol(2 ** 31 - 1))), '06 00 00 00 ff ff ff 7f');
  assert.is(hexOf(encode(gotol(-(2 ** 31)))), '06 00 00 00 00 00 00 80');
});

test('a map reference is encoded with a zero fd', () => {
  const map = { kind: 'map', name: 'attempts' } as MapSpec;
  assert.is(hexOf(encode(loadMap(r1, map))), '18 11 00 00 00 00 00 00 00 00 00 00 00 00 00 00');
  assert.is(hexOf(encode(loadMapValue(r1, map, 24))), '18 21 00 00 00 00 00 00 00 00 00 00 18 00 00 00');
});

test('an lddw takes two slots', () => {
  assert.is(slotsOf(exit()), 1);
  assert.is(slotsOf(lddw(r1, 5)), 2);
  assert.is(
    hexOf(encodeAll([lddw(r1, 5), exit()])),
    '18 01 00 00 05 00 00 00 00 00 00 00 00 00 00 00 95 00 00 00 00 00 00 00',
  );
});

const plain = { opcode: 0x07, dst: 1, src: 0, off: 0, imm: 5 };
const REFUSED = [
  [{ ...plain, opcode: 256 }, /opcode 256 is not between 0 and 255/],
  [{ ...plain, dst: 11 }, /opcode 0x07: destination register 11 is not between 0 and 10/],
  [{ ...plain, src: -1 }, /opcode 0x07: source register -1 is not between 0 and 10/],
  [{ ...plain, off: 40000 }, /opcode 0x07: offset 40000 is not between -32768 and 32767/],
  [{ ...plain, imm: 2 ** 31 }, /opcode 0x07: immediate 2147483648 is not between/],
  [{ ...plain, imm: 0.5 }, /opcode 0x07: immediate 0.5 is not between/],
  [{ ...plain, high: 0 }, /opcode 0x07: only lddw/],
  [{ ...plain, opcode: 0x18 }, /opcode 0x18: only lddw/],
  [{ ...plain, opcode: 0x18, high: 2 ** 32 }, /second immediate 4294967296 is not between/],
] as const;

for (const [instruction, message] of REFUSED)
  test(`numbers out of range are refused: ${message.source}`, () => {
    assert.throws(
      () => encode(instruction),
      (error: unknown) => error instanceof RangeError && message.test(error.message),
    );
  });

test.run();
