/** Which instructions this kernel knows: what the loader finds out by asking is what the releases in the table say. */
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { exit, gotox, mov } from '../../src/asm/constructors.ts';
import { FORMS, type Form } from '../../src/asm/isa.ts';
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

/** What stable releases of a series were given later: 6.1.y has the far jump, and no text for it. */
const BACKPORTED: readonly (readonly [series: string, text: string])[] = [['6.1', 'gotol {target}']];

function isExpected({ text, since }: Form): boolean {
  return isReleased(since) || BACKPORTED.some(([to, form]) => to === series && form === text);
}

test.skipIf(needsRoot, 'every instruction is known from its release on, and not before', () => {
  const kernel = new Kernel();
  const mistaken = FORMS.filter((form) => knowsForm(kernel, form) !== isExpected(form));
  assert.equal(
    mistaken.map(({ text, since }) => `${text}, of ${since}`),
    [],
  );
});

const unknown = FORMS.some(({ since }) => since !== undefined && !isReleased(since))
  ? false
  : 'this kernel knows every instruction';

test.skipIf(
  needsRoot || unknown,
  'a program with an instruction that this kernel lacks is refused by its name',
  () => {
    const position = capture(capture);
    // In the middle, and not the first thing that the verifier looks at.
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
  },
);

test.run();
