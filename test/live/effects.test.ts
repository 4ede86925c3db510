/**
 * The registers that each instruction reads, sets and clobbers, in the instruction table and in the verifier.
 */
import * as assert from 'uvu/assert';
import { registersLost, registersRead, registersSet } from '../../src/asm/cfg/effects.ts';
import { type InstructionArgument, make } from '../../src/asm/constructors/make.ts';
import { call, exit, label, mov, st } from '../../src/asm/constructors.ts';
import * as helpers from '../../src/asm/helpers.ts';
import type { Instruction, Item } from '../../src/asm/instruction.ts';
import { allForms, FIELDS, type FieldName, type Form } from '../../src/asm/isa.ts';
import { takesLabel } from '../../src/asm/operands.ts';
import { r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10 } from '../../src/asm/registers.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { knowsForm } from '../../src/loader/load/instruction-probe.ts';
import { needsRoot, sameOnEveryKernel, suite } from '../harness.ts';
import { RAW_TRACEPOINT, verifierLog } from './raw-load.ts';

const test = suite('live/effects', { seconds: 60 });

const REGISTERS = [r0, r1, r2, r3, r4, r5, r6, r7, r8, r9];
/** A helper without arguments. */
const HELPER = helpers.getSmpProcessorId.id;

/** The table is the same on every kernel; older kernels lack forms and helpers. */
const skipped = needsRoot || sameOnEveryKernel;
const kernel = skipped ? undefined : new Kernel();

/**
/** Forms that need more than registers (a map, BTF or another function), which the verifier checks first. */
function needsMore({ imm, name }: Form): boolean {
  return (
    ['fd', 'btfId', 'index', 'spaces'].includes(String(imm)) || /Function|Subprogram|Argument/.test(name)
  );
}

const forms = allForms().filter(
  (form) => !needsMore(form) && kernel !== undefined && knowsForm(kernel, form),
);

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

/** Initializes the registers that the instruction needs, except those in `unset`. */
function before(form: Form, unset: number): Item[] {
  const bases = [form.dst === 'base' ? 7 : -1, form.src === 'base' ? 8 : -1];
  const items: Item[] = [st({ size: 8 }, r10, -8, 0)];
  for (const register of [r6, r0, r2, r3, r4, r5, r7, r8, r9]) {
    const { register: number } = register;
    if ((unset >> number) & 1) continue;
    // Packet loads expect the packet in r6.
    if (number === 6) items.push(mov(r6, r1));
    else items.push(bases.includes(number) ? mov(register, r10) : mov(register, 1));
  }
  return items;
}

/** The register that the verifier reports as unset, if it reports one. */
function unsetAt(items: readonly Item[]): number | undefined {
  const found = /^R(\d+) !read_ok$/m.exec(verifierLog(kernel as Kernel, items))?.[1];
  return found === undefined ? undefined : Number(found);
}

const describe = ({ name, text }: Form) => `${name} (${text})`;

test.skipIf(skipped, 'the verifier accepts every form when all registers are set', () => {
  assert.ok(forms.length > 150, `${forms.length} forms`);
  const refused = forms.filter((form) => {
    const end = form.flow === 'exit' ? [] : [label('next'), mov(r0, 0), exit()];
    return verifierLog(kernel as Kernel, [...before(form, 0), sample(form), ...end]) !== '';
  });
  assert.equal(refused.map(describe), []);
});

test.skipIf(skipped, 'the table and the verifier agree on the registers that an instruction reads', () => {
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

test.skipIf(skipped, 'the table and the verifier agree on the registers that it sets and clobbers', () => {
  for (const form of forms.filter(({ flow }) => flow !== 'exit')) {
    const instruction = sample(form);
    const reads = registersRead(instruction, form);
    for (const register of REGISTERS) {
      const { register: number } = register;
      const bit = 1 << number;
      const end = [label('next'), mov(r0, register), mov(r0, 0), exit()];
      const isClobbered = unsetAt([...before(form, 0), instruction, ...end]) === number;
      assert.is(isClobbered, (registersLost(form) & bit) !== 0, `${describe(form)} clobbers r${number}`);
      if (number === 1 || reads & bit || isClobbered) continue;
      const isSet = unsetAt([...before(form, bit), instruction, ...end]) === undefined;
      assert.is(isSet, (registersSet(instruction, form) & bit) !== 0, `${describe(form)} sets r${number}`);
    }
  }
});

test.skipIf(skipped, 'a helper reads r1 up to its last required argument', () => {
  for (const helper of helpers.HELPERS) {
    const instruction = call(helper);
    const form = allForms().find(({ name }) => name === 'call') as Form;
    const count = helper.args.length - (helper.optional ?? 0);
    assert.is(registersRead(instruction, form), ((1 << count) - 1) << 1, helper.name);
    const items = [mov(r6, r1), call(HELPER), instruction, mov(r0, 0), exit()];
    const objection = verifierLog(kernel as Kernel, items, { type: RAW_TRACEPOINT });
    // The verifier first refuses helpers that this program type lacks or that may sleep.
    if (/unknown func|cannot use helper|might sleep/.test(objection)) continue;
    assert.is(/^R1 !read_ok$/m.test(objection), count > 0, `${helper.name}: ${objection}`);
  }
});

test.run();
