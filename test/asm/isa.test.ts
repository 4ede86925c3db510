import * as assert from 'uvu/assert';
import * as constructors from '../../src/asm/constructors.ts';
import { disassemble } from '../../src/asm/disassemble.ts';
import { allForms, type Field, type FieldName, type Form, formOf, formsOf } from '../../src/asm/isa.ts';
import * as opcodes from '../../src/asm/opcodes.ts';
import { limitsOf } from '../../src/asm/operands.ts';
import { suite } from '../harness.ts';
import { construct, PSEUDO, SAMPLES } from './fixtures/instructions.ts';

const test = suite('asm/isa');

const FIELDS = ['dst', 'src', 'off', 'imm', 'high'] as const;

function isOperand(field: Field | undefined): boolean {
  return typeof field === 'string';
}

function describe(form: Form): string {
  return `${form.name} (${form.opcode.toString(16)}, ${form.text})`;
}

/** Whether no number is valid for both fields. */
function isApart(field: Field | undefined, other: Field | undefined): boolean {
  if (typeof field !== 'number') return false;
  if (typeof other === 'number') return field !== other;
  // r11 is not a program register; and if another form has zero, only that form has it.
  if (other === 'register' || other === 'base') return field > 10;
  return other !== undefined && field === 0 && limitsOf(other).zeroIsOtherForm === true;
}

test('every instruction has one form: forms with the same opcode differ in a fixed field', () => {
  for (const form of allForms()) {
    const others = formsOf(form.opcode).filter((other) => other !== form);
    for (const other of others) {
      const apart = FIELDS.some(
        (name) => isApart(form[name], other[name]) || isApart(other[name], form[name]),
      );
      assert.ok(apart, `${describe(form)} and ${describe(other)}`);
    }
  }
});

test('every form has a constructor and an independent encoding', () => {
  const seen = new Set([...SAMPLES, ...PSEUDO].map(({ call }) => formOf(construct(call))));
  const written = allForms().filter(({ onlyIn }) => onlyIn !== 'dumps');
  assert.equal(written.filter((form) => !seen.has(form)).map(describe), []);
});

test('LLVM knows all forms except some pseudo loads and kernel function calls', () => {
  const seen = new Set(SAMPLES.map(({ call }) => formOf(construct(call))));
  const own = allForms()
    .filter((form) => !seen.has(form) && form.onlyIn !== 'dumps')
    .map(({ text }) => text);
  assert.equal(own, [
    'call kernel-function#{imm}',
    'call kernel-function#{imm} in module[{module}]',
    'r{dst} = variable[id:{imm}] in module[fd:{high}]',
  ]);
});

test('the samples cover every register in every operand', () => {
  const seen = new Map<Form, Record<'dst' | 'src', Set<number>>>();
  for (const { call } of SAMPLES) {
    const { dst, src, ...rest } = construct(call);
    const form = formOf({ dst, src, ...rest }) as Form;
    const places = seen.get(form) ?? { dst: new Set(), src: new Set() };
    seen.set(form, places);
    places.dst.add(dst);
    places.src.add(src);
  }
  for (const [form, places] of seen)
    for (const name of ['dst', 'src'] as const)
      if (isOperand(form[name]))
        assert.is(places[name].size, form.writes.includes(name) ? 10 : 11, `${describe(form)}: ${name}`);
});

test("a sample's form is named like its constructor", () => {
  for (const { call } of [...SAMPLES, ...PSEUDO])
    assert.is(formOf(construct(call))?.name, call.split(' ')[0]);
});

test('every constructor has its forms in the table', () => {
  const { atomic, label: _label, ...rest } = constructors;
  const names = [...Object.keys(rest), ...Object.keys(atomic).map((name) => `atomic.${name}`)];
  const written = allForms().filter(({ onlyIn }) => onlyIn !== 'dumps');
  assert.equal(names.sort(), [...new Set(written.map(({ name }) => name))].sort());
});

/** The placeholders that show each field. */
const SHOWN: Readonly<Record<FieldName, RegExp>> = {
  dst: /\{dst\}/,
  src: /\{src\}/,
  off: /\{(off|target|module)\}/,
  imm: /\{(imm|uimm|imm64|imm\.hi|helper|map|target|distance)\}/,
  high: /\{(high|imm64)\}/,
};

test('a text shows every operand', () => {
  for (const form of allForms())
    for (const name of FIELDS)
      if (isOperand(form[name])) assert.ok(SHOWN[name].test(form.text), `${describe(form)}: ${name}`);
});

test('a printed text has no placeholders left', () => {
  for (const { call } of [...SAMPLES, ...PSEUDO]) assert.not.match(disassemble(construct(call)), /[{}]/);
});

test('a written operand is a field of the form, or a register by name', () => {
  for (const form of allForms())
    for (const written of form.writes)
      if (written === 'dst' || written === 'src') assert.is(form[written], 'register', describe(form));
});

test('reads and writes of a form match its text', () => {
  const registers = (text: string) =>
    [...text.matchAll(/[rw]\{(dst|src)\}/g)].map(([, name]) => name as string);
  for (const form of allForms()) {
    const [, target = '', operator = '', value = form.text] =
      /^(?!if )(.*?) (\S*=) (.*)$/.exec(form.text) ?? [];
    const isMemory = target.includes('*(');
    const changed = isMemory ? [] : registers(target);
    const used = [...registers(value), ...(isMemory || operator !== '=' ? registers(target) : [])];
    const operands = (names: readonly string[]) => names.filter((name) => /^(dst|src)$/.test(name)).sort();
    assert.equal(operands(form.reads), [...new Set(used)].sort(), describe(form));
    assert.equal(operands(form.writes), changed, describe(form));
    assert.is(
      form.affects.includes('memory') || form.affects.includes('stack arguments'),
      isMemory || /call|store_release|atomic/.test(form.text),
      describe(form),
    );
    assert.is(form.affects.includes('control flow'), form.flow !== 'next', describe(form));
  }
});

test('a form has its first Linux release, or names its only source', () => {
  for (const form of allForms())
    if (form.since === undefined) assert.ok(form.onlyIn, describe(form));
    else assert.match(form.since, /^[3-7]\.\d+$/, describe(form));
});

test('unknown field values match no form', () => {
  const add = { opcode: 0x07, dst: 1, src: 0, off: 0, imm: 5 };
  assert.is(formOf(add)?.name, 'add');
  assert.is(formOf({ ...add, src: 1 }), undefined);
  assert.is(formOf({ ...add, off: 1 }), undefined);
  assert.is(formOf({ ...add, dst: 11 }), undefined);
  assert.is(formOf({ ...add, high: 0 }), undefined);
  assert.is(formOf({ ...add, opcode: 0xff }), undefined);
});

test('named opcodes are those of their forms', () => {
  const rows = [
    ['ja', opcodes.JA],
    ['gotol', opcodes.GOTOL],
    ['gotox', opcodes.GOTOX],
    ['call', opcodes.CALL],
    ['exit', opcodes.EXIT],
    ['lddw', opcodes.LDDW],
  ] as const;
  assert.is(Object.keys(opcodes).length, rows.length);
  for (const [name, opcode] of rows)
    assert.ok(
      allForms().some((form) => form.name === name && form.opcode === opcode),
      name,
    );
});

test.run();
