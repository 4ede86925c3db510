/**
 * What the instruction table says of registers, against the verifier: which an instruction reads, sets and
 * loses.
 */
import * as assert from 'uvu/assert';
import { registersLost, registersRead, registersSet } from '../../src/asm/cfg/effects.ts';
import { type InstructionArgument, make } from '../../src/asm/constructors/make.ts';
import { call, exit, label, mov, st } from '../../src/asm/constructors.ts';
import * as helpers from '../../src/asm/helpers.ts';
import type { Instruction, Item } from '../../src/asm/instruction.ts';
import { FIELDS, type FieldName, FORMS, type Form } from '../../src/asm/isa.ts';
import { takesLabel } from '../../src/asm/operands.ts';
import { r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10 } from '../../src/asm/registers.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { knowsForm } from '../../src/loader/load/instruction-probe.ts';
import { needsRoot, sameOnEveryKernel, suite } from '../harness.ts';
import { objectionTo, RAW_TRACEPOINT } from './raw-load.ts';

const test = suite('live/effects', { seconds: 60 });

const REGISTERS = [r0, r1, r2, r3, r4, r5, r6, r7, r8, r9];
/** A helper without arguments. */
const HELPER = helpers.getSmpProcessorId.id;

/** The table is the same on every kernel; older ones lack forms and helpers, and refuse them first. */
const skipped = needsRoot || sameOnEveryKernel;
const kernel = skipped ? undefined : new Kernel();

/**
 * Forms that need more than registers: a map, types, or another function. The verifier looks at that first.
 */
function needsMore({ imm, name }: Form): boolean {
  return (
    ['fd', 'btfId', 'index', 'spaces'].includes(String(imm)) || /Function|Subprogram|Argument/.test(name)
  );
}

const forms = FORMS.filter((form) => !needsMore(form) && kernel !== undefined && knowsForm(kernel, form));

/** The instruction on r7 and r8, or memory at them. */
function sample(form: Form): Instruction {
  const operands: Partial<Record<FieldName, InstructionArgument>> = {};
  for (const field of FIELDS) {
    const kind = form[field];
    if (typeof kind !== 'string') continue;
    if (kind === 'register' || kind === 'base') operands[field] = field === 'dst' ? r7 : r8;
    else if (takesLabel(kind)) operands[field] = 'next';
    else operands[field] = { offset: -8, helper: HELPER }[kind as string] ?? 1;
  }
  return make(form, operands);
}

/** What comes before the instruction: every register but those in `unset` holds what it takes there. */
function before(form: Form, unset: number): Item[] {
  const bases = [form.dst === 'base' ? 7 : -1, form.src === 'base' ? 8 : -1];
  const items: Item[] = [st({ size: 8 }, r10, -8, 0)];
  for (const register of [r6, r0, r2, r3, r4, r5, r7, r8, r9]) {
    const { register: number } = register;
    if ((unset >> number) & 1) continue;
    // Packet loads find the packet in r6.
    if (number === 6) items.push(mov(r6, r1));
    else items.push(bases.includes(number) ? mov(register, r10) : mov(register, 1));
  }
  return items;
}

/** The register that the verifier says is unset, if it says so of the instruction at `slot`. */
function unsetAt(items: readonly Item[]): number | undefined {
  const found = /^R(\d+) !read_ok$/m.exec(objectionTo(kernel as Kernel, items))?.[1];
  return found === undefined ? undefined : Number(found);
}

const describe = ({ name, text }: Form) => `${name} (${text})`;

test.skipIf(skipped, 'the verifier takes each of the forms with everything set', () => {
  assert.ok(forms.length > 150, `${forms.length} forms`);
  const refused = forms.filter((form) => {
    const end = form.flow === 'exit' ? [] : [label('next'), mov(r0, 0), exit()];
    return objectionTo(kernel as Kernel, [...before(form, 0), sample(form), ...end]) !== '';
  });
  assert.equal(refused.map(describe), []);
});

test.skipIf(skipped, 'an instruction reads those registers, and no others', () => {
  for (const form of forms) {
    const instruction = sample(form);
    const reads = registersRead(instruction, form);
    for (const number of [0, 2, 3, 4, 5, 6, 7, 8, 9]) {
      const end = form.flow === 'exit' ? [] : [label('next'), mov(r0, 0), exit()];
      const unset = unsetAt([...before(form, 1 << number), instruction, ...end]);
      assert.is(unset, (reads >> number) & 1 ? number : undefined, `${describe(form)}: r${number}`);
    }
  }
});

test.skipIf(skipped, 'it sets those registers and loses those, and leaves all others as they were', () => {
  for (const form of forms.filter(({ flow }) => flow !== 'exit')) {
    const instruction = sample(form);
    const reads = registersRead(instruction, form);
    for (const register of REGISTERS) {
      const { register: number } = register;
      const bit = 1 << number;
      const end = [label('next'), mov(r0, register), mov(r0, 0), exit()];
      const isLost = unsetAt([...before(form, 0), instruction, ...end]) === number;
      assert.is(isLost, (registersLost(form) & bit) !== 0, `${describe(form)} loses r${number}`);
      if (number === 1 || reads & bit || isLost) continue;
      const isSet = unsetAt([...before(form, bit), instruction, ...end]) === undefined;
      assert.is(isSet, (registersSet(instruction, form) & bit) !== 0, `${describe(form)} sets r${number}`);
    }
  }
});

test.skipIf(skipped, 'a helper reads r1 up to its last required argument', () => {
  for (const helper of Object.values(helpers)) {
    const instruction = call(helper);
    const form = FORMS.find(({ name }) => name === 'call') as Form;
    const count = helper.args.length - (helper.optional ?? 0);
    assert.is(registersRead(instruction, form), ((1 << count) - 1) << 1, helper.name);
    const items = [mov(r6, r1), call(HELPER), instruction, mov(r0, 0), exit()];
    const objection = objectionTo(kernel as Kernel, items, { type: RAW_TRACEPOINT });
    // Some helpers are not for such programs, and some sleep: the verifier says that first.
    if (/unknown func|cannot use helper|might sleep/.test(objection)) continue;
    assert.is(/^R1 !read_ok$/m.test(objection), count > 0, `${helper.name}: ${objection}`);
  }
});

test.run();
