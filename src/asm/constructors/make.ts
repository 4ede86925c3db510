/**
 * Forms filled with operands: how every constructor gets from the instruction table to an instruction.
 */
import type { Instruction, Reference, Register } from '../instruction.ts';
import { type FieldName, FORMS, type Form } from '../isa.ts';
import { checkNumber, checkRegister, type Kind, takesLabel } from '../operands.ts';

/** What a constructor was given for the fields of a form that are not fixed. */
export type Operands = Readonly<Partial<Record<FieldName, Register | number | string>>>;

const byName = new Map<string, Form[]>();
for (const form of FORMS) {
  const others = byName.get(form.name);
  if (others) others.push(form);
  else byName.set(form.name, [form]);
}

/** The forms that one constructor makes. */
export function formsNamed(name: string): readonly Form[] {
  const forms = byName.get(name);
  if (forms === undefined) throw new TypeError(`the instruction table has no '${name}'`);
  return forms;
}

/** The form of a constructor that has just one. */
export function formNamed(name: string): Form {
  return theOne(name, formsNamed(name));
}

/** The form of `name` with this size. */
export function formSized(name: string, size: number): Form {
  return theOne(
    `${name} of size ${size}`,
    formsNamed(name).filter((form) => form.size === size),
  );
}

/** The sizes that the forms of `name` come in, ascending. */
export function sizesOf(name: string): readonly number[] {
  return formsNamed(name)
    .map((form) => form.size ?? 0)
    .sort((a, b) => a - b);
}

/** The form of `name` whose second operand is a register, and the one where it is an immediate. */
export function registerAndImmediate(name: string): { readonly register: Form; readonly immediate: Form } {
  const forms = formsNamed(name);
  const register = forms.find(({ src }) => src === 'register');
  const immediate = forms.find(({ src }) => src !== 'register');
  if (register === undefined || immediate === undefined || forms.length !== 2)
    throw new TypeError(
      `the instruction table has no two forms of ${name}, one with a register and one without`,
    );
  return { register, immediate };
}

function theOne(what: string, forms: readonly Form[]): Form {
  const [form] = forms;
  if (form === undefined || forms.length !== 1)
    throw new TypeError(`the instruction table has no one form ${what}`);
  return form;
}

/** `form` with its operands, each checked; a label among them, or else `reference`, becomes the reference. */
export function make(form: Form, operands: Operands, reference?: Reference): Instruction {
  let named = reference;
  const fill = (field: FieldName, kind: number | Kind): number => {
    if (typeof kind === 'number') return kind;
    const value = operands[field];
    if (kind === 'register' || kind === 'base')
      return checkRegister(form.name, ROLES[kind][field] ?? field, value as Register, writes(form, field));
    if (typeof value === 'string' && takesLabel(kind)) {
      named = { kind: 'label', label: value };
      return 0;
    }
    // Of a number above 2^31-1, allowed only where the bits are all that counts, the field holds the same bits.
    return checkNumber(form.name, kind, value as number) | 0;
  };
  const filled = {
    opcode: form.opcode,
    dst: fill('dst', form.dst),
    src: fill('src', form.src),
    off: fill('off', form.off),
    imm: fill('imm', form.imm),
  };
  const wide = form.high === undefined ? filled : { ...filled, high: fill('high', form.high) };
  return named === undefined ? wide : { ...wide, reference: named };
}

const ROLES: Record<'register' | 'base', Partial<Record<FieldName, string>>> = {
  register: { dst: 'destination', src: 'source' },
  base: { dst: 'base', src: 'base' },
};

function writes(form: Form, field: FieldName): boolean {
  return (form.writes as readonly string[]).includes(field);
}
