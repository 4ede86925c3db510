import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { make } from '../../src/asm/constructors/make.ts';
import { DecodeError, decode } from '../../src/asm/decode.ts';
import { disassemble } from '../../src/asm/disassemble.ts';
import { encode, encodeAll } from '../../src/asm/encode.ts';
import { suite } from '../harness.ts';
import { anyInstruction, invalidOperand } from './arbitrary.ts';

const test = suite('asm/properties', { seconds: 60 });

test('encoded instructions decode back', () => {
  fc.assert(
    fc.property(fc.array(anyInstruction, { maxLength: 20 }), (instructions) => {
      assert.equal(decode(encodeAll(instructions)), instructions);
    }),
    { numRuns: 2000 },
  );
});

test("an operand out of range is refused with the instruction's name", () => {
  fc.assert(
    fc.property(invalidOperand, ({ form, operands }) => {
      assert.throws(
        () => make(form, operands),
        (error: unknown) => error instanceof RangeError && error.message.startsWith(`${form.name}: `),
      );
    }),
    { numRuns: 5000 },
  );
});

test('any instruction object is encoded faithfully or refused', () => {
  const number = fc.oneof(
    fc.integer(),
    fc.integer({ min: -40000, max: 40000 }),
    fc.double(),
    fc.maxSafeInteger(),
  );
  const raw = fc.record(
    { opcode: number, dst: number, src: number, off: number, imm: number, high: number },
    { requiredKeys: ['opcode', 'dst', 'src', 'off', 'imm'] },
  );
  fc.assert(
    fc.property(raw, (instruction) => {
      let bytes: Uint8Array;
      try {
        bytes = encode(instruction);
      } catch (error) {
        assert.instance(error, RangeError);
        return;
      }
      const view = new DataView(bytes.buffer);
      const { opcode, dst, src, off, imm, high } = instruction;
      assert.equal(
        [view.getUint8(0), view.getUint8(1), view.getInt16(2, true), view.getInt32(4, true)],
        [opcode, (src << 4) | dst, off, imm],
      );
      if (high !== undefined) assert.is(view.getInt32(12, true), high);
    }),
    { numRuns: 5000 },
  );
});

/** Bytes that often contain valid instructions. */
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc
    .tuple(
      fc.array(anyInstruction, { maxLength: 8 }),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
    )
    .map(([instructions, changes]) => {
      const made = encodeAll(instructions);
      for (const [at, byte] of changes) if (made.length > 0) made[at % made.length] = byte;
      return made;
    }),
);

test('any bytes decode to instructions that encode back and print, or are refused', () => {
  fc.assert(
    fc.property(bytes, (input) => {
      let instructions: ReturnType<typeof decode>;
      try {
        instructions = decode(input);
      } catch (error) {
        assert.instance(error, DecodeError);
        return;
      }
      assert.equal(Buffer.from(encodeAll(instructions)), Buffer.from(input));
      for (const instruction of instructions) assert.match(disassemble(instruction), /^\([0-9a-f]{2}\) \S/);
    }),
    { numRuns: 5000 },
  );
});

test.run();
