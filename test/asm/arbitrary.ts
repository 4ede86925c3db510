/** Instructions for property tests: every form, with valid operands or with one invalid operand. */
import fc from 'fast-check';
import { type InstructionArgument, make } from '../../src/asm/constructors/make.ts';
import type { Instruction } from '../../src/asm/instruction.ts';
import { allForms, FIELDS, type FieldName, type Form } from '../../src/asm/isa.ts';
import { type Kind, limitsOf } from '../../src/asm/operands.ts';

/** Any form that a constructor makes. */
const anyForm = fc.constantFrom(...allForms().filter(({ onlyIn }) => onlyIn !== 'dumps'));

/** A form and valid operands for its fields. */
function operandsOf(form: Form): fc.Arbitrary<Partial<Record<FieldName, InstructionArgument>>> {
  const open = FIELDS.filter((field) => typeof form[field] === 'string');
  return fc.record(
    Object.fromEntries(open.map((field) => [field, operandOf(form, field, form[field] as Kind)])),
  );
}

function operandOf(form: Form, field: FieldName, kind: Kind): fc.Arbitrary<InstructionArgument> {
  if (kind === 'register' || kind === 'base') {
    const written = (form.writes as readonly string[]).includes(field);
    return fc.integer({ min: 0, max: written ? 9 : 10 }).map((register) => ({ register }));
  }
  const { min, max, nonzero, step = 1 } = limitsOf(kind);
  return fc
    .oneof(fc.integer({ min: min / step, max: max / step }), fc.constantFrom(min / step, max / step))
    .map((number) => number * step)
    .filter((number) => !nonzero || number !== 0);
}

/** Any instruction that a constructor makes. */
export const anyInstruction: fc.Arbitrary<Instruction> = anyForm.chain((form) =>
  operandsOf(form).map((operands) => make(form, operands)),
);

/** A form with one invalid operand, and its field. */
export const invalidOperand: fc.Arbitrary<{
  readonly form: Form;
  readonly field: FieldName;
  readonly operands: Partial<Record<FieldName, InstructionArgument>>;
}> = anyForm
  .filter((form) => FIELDS.some((field) => typeof form[field] === 'string'))
  .chain((form) =>
    fc
      .constantFrom(...FIELDS.filter((field) => typeof form[field] === 'string'))
      .chain((field) =>
        fc
          .tuple(operandsOf(form), wrongOperand(form[field] as Kind))
          .map(([operands, wrong]) => ({ form, field, operands: { ...operands, [field]: wrong } })),
      ),
  );

function wrongOperand(kind: Kind): fc.Arbitrary<InstructionArgument> {
  if (kind === 'register' || kind === 'base')
    return fc
      .oneof(fc.integer({ min: 11, max: 300 }), fc.integer({ max: -1 }), fc.constantFrom(0.5, Number.NaN))
      .map((register) => ({ register }));
  const { min, max } = limitsOf(kind);
  return fc.oneof(
    fc.integer({ min: max + 1, max: Number.MAX_SAFE_INTEGER }),
    fc.integer({ min: Number.MIN_SAFE_INTEGER, max: min - 1 }),
    fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, min + 0.5),
  );
}
