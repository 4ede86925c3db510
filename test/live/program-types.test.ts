/** The table of helpers says of each which programs may call it, as this kernel does. */
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

const test = suite('live/program-types');
const kernel = new Kernel();
const btfId = kernel.btf?.find('typedef', 'btf_trace_sys_enter') ?? 0;
const ATTACHMENTS: readonly Attachment[] = [
  { kind: 'kprobe', symbol: 'tcp_v4_connect' },
  { kind: 'tracepoint', category: 'sock', tracepoint: 'inet_sock_set_state' },
  { kind: 'raw_tracepoint', tracepoint: 'sys_enter' },
  { kind: 'tp_btf', tracepoint: 'sys_enter', btfId },
];

/** How the verifier says that the type of a program has no such helper. */
const REFUSED =
  /unknown func|cannot use helper|not supported for program type|supported only for|might sleep|non-sleepable/;

/** Helpers that some kernels refuse whatever the type: by their configuration, or since a later release. */
const VARYING = new Set(['override_return', 'ktime_get_coarse_ns']);

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
  test(`a ${attachment.kind} may call the helpers that the table says`, () => {
    const known = all.filter(({ name }) => !VARYING.has(name));
    assert.ok(known.length > 40);
    const wanted = known.filter(({ only }) => only?.includes(attachment.kind) ?? true);
    const taken = known.filter((helper) => takes(attachment, helper));
    assert.equal(
      taken.map(({ name }) => name),
      wanted.map(({ name }) => name),
    );
  });

test.run();
