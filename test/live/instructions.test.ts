/**
 * The instructions that this kernel supports: the loader's probes agree with the first kernels in the
 * instruction table.
 */
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { exit, gotox, mov } from '../../src/asm/constructors.ts';
import { allForms, type Form } from '../../src/asm/isa.ts';
import { capture } from '../../src/asm/position.ts';
import type { ProgramSpec } from '../../src/asm/program.ts';
import { r0, r1 } from '../../src/asm/registers.ts';
import { UnsupportedInstructionError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { knowsForm } from '../../src/loader/load/instruction-probe.ts';
import { loadProgram } from '../../src/loader/load.ts';
import { needsRoot, suite } from '../harness.ts';
import { isReleased, series } from './release.ts';

const test = suite('live/instructions', { seconds: 60 });

/** Backports to stable series: 6.1.y has gotol, without a text for it. */
const BACKPORTED: readonly (readonly [series: string, text: string])[] = [['6.1', 'gotol {target}']];

function isExpected({ text, since }: Form): boolean {
  return isReleased(since) || BACKPORTED.some(([to, form]) => to === series && form === text);
}

test.skipIf(needsRoot, 'every instruction is supported from its first kernel on', () => {
  const kernel = new Kernel();
  const mistaken = allForms().filter((form) => knowsForm(kernel, form) !== isExpected(form));
  assert.equal(
    mistaken.map(({ text, since }) => `${text} (${since})`),
    [],
  );
});

const unknown = allForms().some(({ since }) => since !== undefined && !isReleased(since))
  ? false
  : 'this kernel knows every instruction';

test.skipIf(needsRoot || unknown, 'an error names the first unsupported instruction of a program', () => {
  const position = capture(capture);
  // In the middle, so that the verifier does not check it first.
  const instructions = [mov(r0, 0), mov(r1, 0), { ...gotox(r1), position }, mov(r0, 0), exit()];
  const attachment = { kind: 'raw_tracepoint', tracepoint: 'sys_enter' } as const;
  const spec: ProgramSpec = { name: 'jumps', attachment, instructions };
  assert.throws(
    () => loadProgram(new Kernel(), spec, assemble(instructions), new Map()),
    (error: unknown) => {
      assert.instance(error, UnsupportedInstructionError);
      const { message, since, placed } = error as UnsupportedInstructionError;
      assert.is(since, '6.19');
      assert.is(placed.slot, 2);
      assert.match(
        message,
        /^this kernel has no instruction 'gotox r1' \(Linux 6\.19 and later\): program 'jumps', slot 2 \(.*:\d+\)$/,
      );
      return true;
    },
  );
});

test.run();
