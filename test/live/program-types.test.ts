/**
 * The program types that may call each helper, in the table of helpers and on this kernel. The table has one
 * first kernel per helper. Some types got helpers later, so older kernels refuse more.
 */
import * as assert from 'uvu/assert';
import * as helpers from '../../src/asm/helpers.ts';
import type { ProgramKind } from '../../src/asm/program-types.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { suite } from '../harness.ts';
import { isReleased } from './release.ts';

const test = suite('live/program-types');
const { features } = new Kernel();
const KINDS: readonly ProgramKind[] = ['kprobe', 'tracepoint', 'raw_tracepoint', 'tp_btf'];

/**
 * Helpers that some newer kernels refuse to a type of the table, by configuration or because a later kernel
 * added them.
 */
const VARYING = new Set(['override_return', 'ktime_get_coarse_ns', 'get_func_arg_cnt']);

/** From this kernel on, every type has all of its helpers. */
const ALL_TYPES_COMPLETE = '6.12';

function takes(kind: ProgramKind, helper: helpers.Helper): boolean {
  const { answer, feature, reason } = features.support({ helper, in: kind });
  if (answer === 'unknown') throw new Error(`${feature}: ${reason}`);
  return answer === 'yes';
}

for (const kind of KINDS)
  test(`${kind} programs may call the helpers that the table lists for them`, () => {
    const known = helpers.HELPERS.filter(({ name }) => !VARYING.has(name));
    assert.ok(known.length > 40);
    const expected = known.filter(({ only }) => only?.includes(kind) ?? true);
    const taken = known.filter((helper) => takes(kind, helper));
    const names = (some: readonly helpers.Helper[]) => some.map(({ name }) => name);
    assert.equal(names(taken.filter((helper) => !expected.includes(helper))), [], 'unlisted helpers');
    if (isReleased(ALL_TYPES_COMPLETE)) assert.equal(names(taken), names(expected));
  });

test.run();
