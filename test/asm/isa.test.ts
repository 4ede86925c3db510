import * as assert from 'uvu/assert';
import * as constructors from '../../src/asm/constructors.ts';
import { disassemble } from '../../src/asm/disassemble.ts';
import { type Field, type FieldName, FORMS, type Form, formOf, formsOf } from '../../src/asm/isa.ts';
import type { MapSpec } from '../../src/asm/map.ts';
import { r1 } from '../../src/asm/registers.ts';
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

test('no instruction has two forms: those that share an opcode differ in a fixed field', () => {
  for (const form of FORMS) {
    const others = formsOf(form.opcode).filter((other) => other !== form);
    for (const other of others) {
      const apart = FIELDS.some(
        (name) =>
          typeof form[name] === 'number' && typeof other[name] === 'number' && form[name] !== other[name],
      );
      assert.ok(apart, `${describe(form)} and ${describe(other)}`);
    }
  }
});

test('every form is made by a constructor, and checked against an independent encoding', () => {
  const map = { kind: 'map', name: 'attempts' } as MapSpec;
  const maps = [constructors.loadMap(r1, map), constructors.loadMapValue(r1, map)];
  const seen = new Set([...[...SAMPLES, ...PSEUDO].map(({ call }) => construct(call)), ...maps].map(formOf));
  assert.equal(FORMS.filter((form) => !seen.has(form)).map(describe), []);
});

test('a sample is an instruction of the form that its constructor is named after', () => {
  for (const { call } of [...SAMPLES, ...PSEUDO])
    assert.is(formOf(construct(call))?.name, call.split(' ')[0]);
});

test('every constructor has its forms in the table', () => {
  const { atomic, label: _label, ...rest } = constructors;
  const names = [...Object.keys(rest), ...Object.keys(atomic).map((name) => `atomic.${name}`)];
  assert.equal(names.sort(), [...new Set(FORMS.map(({ name }) => name))].sort());
});

/** The placeholders that can show each field. */
const SHOWN: Readonly<Record<FieldName, RegExp>> = {
  dst: /\{dst\}/,
  src: /\{src\}/,
  off: /\{(off|target)\}/,
  imm: /\{(imm|uimm|imm64|imm\.hi|helper|map|target)\}/,
  high: /\{(high|imm64)\}/,
};

test("a text shows every operand, as far as the kernel's does", () => {
  for (const form of FORMS)
    for (const name of FIELDS)
      if (isOperand(form[name]) && form[name] !== 'module')
        assert.ok(SHOWN[name].test(form.text), `${describe(form)}: ${name}`);
});

test('no text keeps a placeholder when it is printed', () => {
  for (const { call } of [...SAMPLES, ...PSEUDO]) assert.not.match(disassemble(construct(call)), /[{}]/);
});

test('what a form writes is an operand of its own, or a register by name', () => {
  for (const form of FORMS)
    for (const written of form.writes)
      if (written === 'dst' || written === 'src') assert.is(form[written], 'register', describe(form));
});

test('releases are numbers of Linux releases', () => {
  for (const form of FORMS) assert.match(form.since, /^[3-7]\.\d+$/, describe(form));
});

test('unknown fields make no form', () => {
  const add = { opcode: 0x07, dst: 1, src: 0, off: 0, imm: 5 };
  assert.is(formOf(add)?.name, 'add');
  assert.is(formOf({ ...add, src: 1 }), undefined);
  assert.is(formOf({ ...add, off: 1 }), undefined);
  assert.is(formOf({ ...add, dst: 11 }), undefined);
  assert.is(formOf({ ...add, high: 0 }), undefined);
  assert.is(formOf({ ...add, opcode: 0xff }), undefined);
});

test.run();
