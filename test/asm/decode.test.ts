import * as assert from 'uvu/assert';
import { exit, lddw, mov } from '../../src/asm/constructors.ts';
import { DecodeError, decode } from '../../src/asm/decode.ts';
import { encodeAll } from '../../src/asm/encode.ts';
import { r0, r1 } from '../../src/asm/registers.ts';
import { suite } from '../harness.ts';
import { bytesOf, construct, hexOf, PSEUDO, SAMPLES } from './fixtures/instructions.ts';

const test = suite('asm/decode', { seconds: 60 });

test("the output of LLVM decodes to the constructors' instructions", () => {
  for (const { call, bytes } of [...SAMPLES, ...PSEUDO]) {
    const { reference: _notInBytes, ...instruction } = construct(call);
    assert.equal(decode(bytes), [instruction], call);
  }
});

test('a whole program decodes and encodes back', () => {
  const bytes = Uint8Array.from(SAMPLES.flatMap((sample) => [...sample.bytes]));
  const instructions = decode(bytes);
  assert.is(instructions.length, SAMPLES.length);
  assert.is(hexOf(encodeAll(instructions)), hexOf(bytes));
});

test('bytes in the middle of a buffer decode', () => {
  const whole = encodeAll([mov(r1, 1), lddw(r0, 7), exit()]);
  assert.equal(decode(whole.subarray(8, 24)), [lddw(r0, 7)]);
});

test('no bytes decode to no instructions', () => {
  assert.equal(decode(new Uint8Array()), []);
});

const REFUSED: readonly [hex: string, slot: number | undefined, message: string][] = [
  ['95 00 00 00 00 00 00', undefined, '7 bytes are not a whole number of 8-byte slots'],
  [
    '95 00 00 00 00 00 00 00 ff 00 00 00 01 00 00 00',
    1,
    'slot 1: unknown opcode ff in ff 00 00 00 01 00 00 00',
  ],
  ['00 00 00 00 00 00 00 00', 0, 'slot 0: unknown opcode 00 in 00 00 00 00 00 00 00 00'],
  ['0f 12 00 00 05 00 00 00', 0, 'slot 0: opcode 0f does not allow these fields: 0f 12 00 00 05 00 00 00'],
  ['07 21 00 00 05 00 00 00', 0, 'slot 0: opcode 07 does not allow these fields: 07 21 00 00 05 00 00 00'],
  ['95 00 01 00 00 00 00 00', 0, 'slot 0: opcode 95 does not allow these fields: 95 00 01 00 00 00 00 00'],
  ['d7 01 00 00 08 00 00 00', 0, 'slot 0: opcode d7 does not allow these fields: d7 01 00 00 08 00 00 00'],
  ['bc 21 20 00 00 00 00 00', 0, 'slot 0: opcode bc does not allow these fields: bc 21 20 00 00 00 00 00'],
  ['db 21 00 00 02 00 00 00', 0, 'slot 0: opcode db does not allow these fields: db 21 00 00 02 00 00 00'],
  ['b7 0b 00 00 00 00 00 00', 0, 'slot 0: r11 is not a register, in b7 0b 00 00 00 00 00 00'],
  ['bf f1 00 00 00 00 00 00', 0, 'slot 0: r15 is not a register, in bf f1 00 00 00 00 00 00'],
  ['18 01 00 00 05 00 00 00', 0, 'slot 0: the second slot of an lddw is missing'],
  [
    '18 01 00 00 05 00 00 00 95 00 00 00 00 00 00 00',
    1,
    'slot 1: the second slot of an lddw holds 95 00 00 00 00 00 00 00',
  ],
  [
    '18 71 00 00 05 00 00 00 00 00 00 00 00 00 00 00',
    0,
    'slot 0: opcode 18 does not allow these fields: 18 71 00 00 05 00 00 00',
  ],
];

for (const [hex, slot, message] of REFUSED)
  test(`refused: ${message}`, () => {
    assert.throws(
      () => decode(bytesOf(hex)),
      (error: unknown) => {
        assert.instance(error, DecodeError);
        assert.is((error as DecodeError).message, message);
        assert.is((error as DecodeError).slot, slot);
        return true;
      },
    );
  });

/** A reproducible sequence of 32-bit numbers (xorshift32). */
function* numbers(seed: number): Generator<number, never> {
  for (let state = seed; ; ) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    yield state >>> 0;
  }
}

test('random bytes decode and encode back, or throw DecodeError', () => {
  const random = numbers(2463534242);
  let decoded = 0;
  for (let round = 0; round < 50_000; round++) {
    const bytes = new Uint8Array(Uint32Array.from({ length: 4 }, () => random.next().value).buffer);
    // In random bytes, unused fields are mostly nonzero: clear them half of the time.
    if (round % 2) bytes.fill(0, 1, 4).fill(0, 8);
    const length = round % 17;
    try {
      assert.is(hexOf(encodeAll(decode(bytes.subarray(0, length)))), hexOf(bytes.subarray(0, length)));
      decoded++;
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
    }
  }
  assert.ok(decoded > 1000, `${decoded} decoded`);
});

test.run();
