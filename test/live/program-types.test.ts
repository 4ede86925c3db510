/**
 * The program types that may call each helper, in the table of helpers and on this kernel. The table has one
 * first kernel per helper. Some types got helpers later, so older kernels refuse more.
 */
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { call, exit, mov } from '../../src/asm/constructors.ts';
import * as helpers from '../../src/asm/helpers.ts';
import type { Attachment, ProgramSpec } from '../../src/asm/program.ts';
import { r0, r2, r3, r4, r5 } from '../../src/asm/registers.ts';
import { VerifierError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { loadProgram } from '../../src/loader/load.ts';
import { suite } from '../harness.ts';
import { isReleased } from './release.ts';

const test = suite('live/program-types');
const kernel = new Kernel();
const btfId = kernel.btf?.find('typedef', 'btf_trace_sys_enter') ?? 0;
const ATTACHMENTS: readonly Attachment[] = [
  { kind: 'kprobe', symbol: 'tcp_v4_connect' },
  { kind: 'tracepoint', category: 'sock', tracepoint: 'inet_sock_set_state' },
  { kind: 'raw_tracepoint', tracepoint: 'sys_enter' },
  { kind: 'tp_btf', tracepoint: 'sys_enter', btfId },
];

/** The verifier's messages for a helper that the program type lacks. */
const REFUSED =
  /unknown func|invalid func|cannot use helper|not supported for program type|supported only for|might sleep|non-sleepable/;

/**
 * Helpers that some newer kernels refuse to a type of the table, by configuration or because a later kernel
 * added them.
 */
const VARYING = new Set(['override_return', 'ktime_get_coarse_ns', 'get_func_arg_cnt']);

/** From this kernel on, every type has all of its helpers. */
const ALL_TYPES_COMPLETE = '6.12';

function takes(attachment: Attachment, helper: helpers.Helper): boolean {
  const others = [r2, r3, r4, r5].map((register) => mov(register, 0));
  const instructions = [...others, call(helper), mov(r0, 0), exit()];
  const spec: ProgramSpec = { name: 'calls', attachment, instructions };
  try {
    loadProgram(kernel, spec, assemble(instructions), new Map()).close();
    return true;
  } catch (error) {
    if (!(error instanceof VerifierError)) throw error;
    return !REFUSED.test(error.log);
  }
}

const all = Object.values(helpers as Record<string, unknown>).filter(
  (each): each is helpers.Helper => typeof each === 'object' && each !== null && 'since' in each,
);

for (const attachment of ATTACHMENTS)
  test(`${attachment.kind} programs may call the helpers that the table lists for them`, () => {
    const known = all.filter(({ name }) => !VARYING.has(name));
    assert.ok(known.length > 40);
    const expected = known.filter(({ only }) => only?.includes(attachment.kind) ?? true);
    const taken = known.filter((helper) => takes(attachment, helper));
    const names = (some: readonly helpers.Helper[]) => some.map(({ name }) => name);
    assert.equal(names(taken.filter((helper) => !expected.includes(helper))), [], 'unlisted helpers');
    if (isReleased(ALL_TYPES_COMPLETE)) assert.equal(names(taken), names(expected));
  });

test.run();
