import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { exit, mov } from '../../src/asm/constructors.ts';
import type { Instruction } from '../../src/asm/instruction.ts';
import { capture } from '../../src/asm/position.ts';
import { r1 } from '../../src/asm/registers.ts';
import { VerifierError } from '../../src/loader/errors.ts';
import { summarize } from '../../src/loader/verifier-log.ts';
import { renderVerifierError } from '../../src/loader/verifier-report.ts';
import { suite } from '../harness.ts';

const test = suite('loader/verifier-log');

const classic = `0: R1=ctx() R10=fp0
0: (b7) r1 = 0                        ; R1_w=0
1: (95) exit
R0 !read_ok
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
`;

const report = `0: R1=ctx() R10=fp0
0: (b7) r1 = 0                        ; R1=0
1: (95) exit
R0 !read_ok

Verification failed: Register Type Safety: Unreadable register

Reason:
  R0 has never been initialized on this path,
  so the verifier cannot use it as an input.

At:
  insn 1
        | ^-- error: R0 is not readable
  Instruction context:
      0 | (b7) r1 = 0
  >>> 1 | (95) exit

Causal path:
  no retained diagnostic events on this path

Suggestion:
  Initialize R0 on every path before this instruction.

processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
`;

for (const [name, log, summary] of [
  ['the classic form', classic, { reason: 'R0 !read_ok', slot: 1 }],
  [
    'the form of 7.3',
    report,
    {
      reason:
        'Register Type Safety: Unreadable register: R0 has never been initialized on this path, so the verifier cannot use it as an input.',
      slot: 1,
      suggestion: 'Initialize R0 on every path before this instruction.',
    },
  ],
  [
    'a report without sections',
    'Verification failed: Unknown\n\nprocessed 0 insns',
    { reason: 'Unknown', slot: undefined },
  ],
  [
    'a check before the walk',
    'unreachable insn 7\nprocessed 0 insns (limit 1000000)',
    { reason: 'unreachable insn 7', slot: 7 },
  ],
  [
    'statistics of level 4 and a stack depth',
    '3: (79) r1 = *(u64 *)(r0 +0)\nR0 invalid mem access\nverification time 5 usec\nstack depth 0\nprocessed 4 insns',
    { reason: 'R0 invalid mem access', slot: 3 },
  ],
  ['an empty log', '', { reason: 'its log is empty', slot: undefined }],
] as const)
  test(`${name} is summarised`, () => {
    assert.equal({ suggestion: undefined, ...summarize(log) }, { suggestion: undefined, ...summary });
  });

function errorFor(log: string): VerifierError {
  const assembled = assemble([{ ...mov(r1, 0), position: capture(errorFor) }, exit()]);
  return new VerifierError('on_connect', 13, log, summarize(log), assembled);
}

test('the message is one line that says where and why', () => {
  assert.is(
    errorFor(classic).message,
    "cannot load the program 'on_connect': bpf(BPF_PROG_LOAD): EACCES (permission denied): the verifier refused it: instruction 1: R0 !read_ok",
  );
  assert.is(errorFor(report).message.includes('\n'), false);
});

test('the log is shown below the source lines of its instructions', () => {
  const error = errorFor(classic);
  const text = renderVerifierError(error, (position) =>
    position ? { file: 'tool.ts', line: 12, column: 3, text: '  b.mov(r1, 0);' } : undefined,
  );
  assert.equal(text.split('\n'), [
    error.message,
    '    0: R1=ctx() R10=fp0',
    '  ; tool.ts:12: b.mov(r1, 0);',
    '    0: (b7) r1 = 0                        ; R1_w=0',
    '    1: (95) exit',
    '    R0 !read_ok',
  ]);
});

test('the culprit is named, and by default by its own file', () => {
  const log = '0: (b7) r1 = 0\nsomething about r1\n';
  assert.match(renderVerifierError(errorFor(log)), /\nat \/.*verifier-log\.test\.[jt]s:\d+\n/);
});

test('a source line stands once above the instructions it made', () => {
  const [a, b] = [mov(r1, 0), mov(r1, 1)].map((made) => ({ ...made, position: capture(errorFor) }));
  const log = '0: (b7) r1 = 0\n1: (b7) r1 = 1\n2: (95) exit\nR0 !read_ok';
  const assembled = assemble([a as Instruction, b as Instruction, exit()]);
  const error = new VerifierError('twice', 13, log, summarize(log), assembled);
  const text = renderVerifierError(error, (position) =>
    position ? { file: 'tool.ts', line: 5, column: 1 } : undefined,
  );
  assert.is(text.split('\n').filter((line) => line === '  ; tool.ts:5').length, 1);
});

test('in the form of 7.3 the instruction that is pointed at has its source line', () => {
  const log = report.replace('  >>> 1 |', '  >>> 0 |');
  const text = renderVerifierError(
    errorFor(log),
    (position) => (position ? { file: 'tool.ts', line: 12, column: 1, text: 'b.mov(r1, 0);' } : undefined),
    14,
  );
  assert.match(text, / {2}; tool\.ts:12: b\.mov\(r1, 0\);\n {6}>>> 0 \| /);
});

test('a long log is cut to its end, and says so; advice of the kernel is shown', () => {
  const text = renderVerifierError(errorFor(report), () => undefined, 3);
  assert.match(text, /the kernel suggests: Initialize R0/);
  assert.match(text, /earlier lines of the log left out/);
  assert.is(text.split('\n').filter((line) => line.startsWith('    ')).length, 3);
});

test.run();
