import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { exit, mov } from '../../src/asm/constructors.ts';
import type { Instruction } from '../../src/asm/instruction.ts';
import { capture, type Locate } from '../../src/asm/position.ts';
import { r1 } from '../../src/asm/registers.ts';
import { VerifierError } from '../../src/loader/errors.ts';
import { summarize } from '../../src/loader/verifier/log.ts';
import { renderVerifierError } from '../../src/loader/verifier/report.ts';
import { lacksStates, stateBefore } from '../../src/loader/verifier/state.ts';
import { suite } from '../harness.ts';
import { assertLinear } from '../linear.ts';

const test = suite('loader/verifier');

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

/** The report of Linux 7.3 if the program was loaded with source lines. */
const reportWithLines = report
  .replace(
    '  insn 1\n        | ^-- error: R0 is not readable\n',
    `  on_connect @ tool.ts:12:5
  Source context:
      11 | ...
  >>> 12 | b.exit();
         | ^-- error: R0 is not readable
      13 | ...
`,
  )
  .replace(
    'Causal path:\n  no retained diagnostic events on this path\n',
    `Causal path:
  on_connect @ tool.ts:11:5
  Source context:
  >>> 11 | b.mov(r1, 0);
         | ^-- update: R1 changed from context pointer at offset 0 to integer scalar with value 0
  Instruction context:
  >>> 0 | (b7) r1 = 0
      1 | (95) exit
`,
  );

for (const [name, log, summary] of [
  ['the classic form', classic, { reason: 'R0 !read_ok', slot: 1 }],
  [
    'the format of 7.3',
    report,
    {
      reason:
        'Register Type Safety: Unreadable register: R0 has never been initialized on this path, so the verifier cannot use it as an input.',
      slot: 1,
      suggestion: 'Initialize R0 on every path before this instruction.',
    },
  ],
  [
    'the format of 7.3 with source lines',
    reportWithLines,
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
  [
    'a loop, whose states follow the reason',
    '1: (05) goto pc-1\ninfinite loop detected at insn 1\ncur state: R1=ctx()\nold state: R1=ctx()\nprocessed 3 insns',
    { reason: 'infinite loop detected at insn 1', slot: 1 },
  ],
  ['an empty log', '', { reason: 'its log is empty', slot: undefined }],
] as const)
  test(`${name} is summarized`, () => {
    const { reason, slot, suggestion } = summarize(log);
    assert.equal({ reason, slot, suggestion }, { suggestion: undefined, ...summary });
  });

/** The error for a program of `r1 = 0; exit`, whose first instruction has a source line. */
function errorFor(log: string, find?: Locate): VerifierError {
  const assembled = assemble([{ ...mov(r1, 0), position: capture(errorFor) }, exit()]);
  return new VerifierError('on_connect', 13, log, summarize(log), assembled, find);
}

const tool: Locate = (position) =>
  position ? { file: 'tool.ts', line: 12, column: 3, text: '  b.mov(r1, 0);' } : undefined;

test('the message is one line with the location and the reason', () => {
  const error = errorFor('0: (b7) r1 = 0\nR1 is wrong\n', tool);
  assert.is(
    error.message,
    "cannot load the program 'on_connect': bpf(BPF_PROG_LOAD): EACCES (permission denied): the verifier refused it: instruction 0: R1 is wrong (tool.ts:12)",
  );
  assert.match(
    errorFor(report).message,
    / \(\/.*verifier\.test\.[jt]s:\d+\)$/,
    'without a source line, the line that loads the program',
  );
  assert.is(errorFor(report).message.includes('\n'), false);
});

test('line, instruction, registers, reason and hint precede the end of the log', () => {
  const log = [
    '0: R1=ctx() R10=fp0',
    '; b.mov(r1, 0); @ tool.ts:12',
    '0: (b7) r1 = 0                        ; R1_w=0',
    '1: (95) exit',
    "R1 invalid mem access 'scalar'",
    'processed 2 insns (limit 1000000)',
  ].join('\n');
  const assembled = assemble([mov(r1, 0), { ...exit(), position: capture(errorFor) }]);
  const error = new VerifierError('on_connect', 13, log, summarize(log), assembled, tool);
  const [, ...lines] = renderVerifierError(error).split('\n');
  assert.match(lines[4] ?? '', /^hint: the register is a number/);
  assert.equal(
    [...lines.slice(0, 4), ...lines.slice(5)],
    [
      'at tool.ts:12: b.mov(r1, 0);',
      '    1: (95) exit',
      '    r1 is 0',
      "the kernel's reason: R1 invalid mem access 'scalar'",
      'the end of its log:',
      '    0: R1=ctx() R10=fp0',
      '    0: (b7) r1 = 0                        ; R1_w=0',
      '  ; tool.ts:12: b.mov(r1, 0);',
      '    1: (95) exit',
      "    R1 invalid mem access 'scalar'",
    ],
  );
});

test('by default the line is that of the running file', () => {
  const log = '0: (b7) r1 = 0\nsomething about r1\n';
  assert.match(renderVerifierError(errorFor(log)), /\nat \/.*verifier\.test\.[jt]s:\d+\n/);
});

test('a reason without an instruction is reported at the line of the last instruction', () => {
  const assembled = assemble([mov(r1, 0), { ...exit(), position: capture(errorFor) }]);
  const log = 'BPF program is too large. Processed 1000001 insn\nprocessed 1000001 insns';
  const error = new VerifierError('on_connect', 7, log, summarize(log), assembled, tool);
  assert.match(error.message, /Processed 1000001 insn \(tool\.ts:12\)$/);
  assert.match(
    renderVerifierError(error),
    /\nat tool\.ts:12: b\.mov\(r1, 0\);\nthe kernel's reason: BPF program/,
  );
});

test('a source line is shown once, above its instructions', () => {
  const [a, b] = [mov(r1, 0), mov(r1, 1)].map((made) => ({ ...made, position: capture(errorFor) }));
  const log = '0: (b7) r1 = 0\n1: (b7) r1 = 1\n2: (95) exit\nR0 !read_ok';
  const assembled = assemble([a as Instruction, b as Instruction, exit()]);
  const text = renderVerifierError(new VerifierError('twice', 13, log, summarize(log), assembled), tool);
  assert.is(text.split('\n').filter((line) => line === '  ; tool.ts:12: b.mov(r1, 0);').length, 1);
});

test('in the format of 7.3 the marked instruction has its source line', () => {
  const log = report.replace('  >>> 1 |', '  >>> 0 |');
  assert.match(
    renderVerifierError(errorFor(log), tool, 14),
    / {2}; tool\.ts:12: b\.mov\(r1, 0\);\n {6}>>> 0 \| /,
  );
});

test('a long log is cut to its end and marked as cut; the kernel\u2019s suggestion precedes the hint', () => {
  const text = renderVerifierError(errorFor(report), () => undefined, 3);
  assert.match(text, /the kernel suggests: Initialize R0 .*\nhint: the register is not set on a path/);
  const [, end = ''] = text.split('the end of its log (');
  assert.match(end, /^\d+ earlier lines omitted\):\n/);
  assert.is(end.trimEnd().split('\n').length, 4);
});

// --- hints ---------------------------------------------------------------------------------------

/** Reasons whose wording differs from those in test/rejections, by kernel. */
const WORDINGS: readonly [kernels: string, reason: string, hint: RegExp][] = [
  ['5.10', "R1 invalid mem access 'inv'", /is a number and not a pointer/],
  ['5.10', 'invalid stack type R2 off=-16 access_size=0', /512 bytes/],
  ['5.10 to 6.2', 'invalid indirect read from stack R2 off -8+0 size 8', /512 bytes/],
  ['5.10', 'invalid stack off=-520 size=8', /512 bytes/],
  ['before 5.3', 'back-edge from insn 3 to 1', /see the end of a loop/],
  ['up to 6.8', 'unknown func bpf_skb_load_bytes#26', /this program type may not call/],
  ['all', 'R1 type=ctx expected=map_ptr', /has the wrong type/],
  ['6.12', "R1 invalid mem access 'trusted_ptr_or_null_'", /compare the pointer with 0/],
  ['6.12', 'combined stack size of 2 calls is 544. Too large', /share 512 bytes/],
  [
    '6.12',
    'tail_calls are not allowed when call stack of previous frames is 256 bytes. Too large',
    /256 bytes/,
  ],
  [
    '5.10',
    'tail_calls are not allowed in non-JITed programs with bpf-to-bpf calls',
    /does not support tail calls/,
  ],
  ['all', 'The sequence of 8193 jumps is too complex.', /fewer comparisons/],
  ['all', 'cannot call GPL-restricted function from non-GPL compatible program', /GPL-compatible license/],
  ['all', 'At program exit the register R0 has smin=1 smax=1 should have been in [0, 0]', /certain values/],
  ['all', "R2 unbounded memory access, use 'var &= const' or 'if (var < const)'", /size for a helper/],
  [
    'all',
    'R0 min value is negative, either use unsigned index or do a if (index >=0) check.',
    /a lower and an upper bound/,
  ],
];

for (const [kernels, reason, hint] of WORDINGS)
  test(`${kernels}: "${reason}" has a hint`, () => {
    assert.match(summarize(`0: (79) r1 = *(u64 *)(r2 +0)\n${reason}\nprocessed 1 insns`).hint ?? '', hint);
  });

test('an unknown reason has no hint, nor has text before the last instruction', () => {
  assert.is(summarize('0: (95) exit\nthe moon is full\nprocessed 1 insns').hint, undefined);
  assert.is(summarize('R9 !read_ok\n0: (95) exit\nthe moon is full\nprocessed 1 insns').hint, undefined);
});

// --- states --------------------------------------------------------------------------------------

const walk = `func#0 @0
0: R1=ctx() R10=fp0
; first(); @ tool.ts:1
0: (79) r6 = *(u64 *)(r1 +0)          ; R1=ctx() R6_w=scalar(smin=0,smax=umax=0xff,var_off=(0x0; 0xff))
1: (7a) *(u64 *)(r10 -8) = 0          ; R10=fp0 fp-8_w=0
2: (85) call bpf_map_lookup_elem#1    ; R0_w=map_value_or_null(id=1,map=a,ks=4,vs=8)
3: (15) if r0 == 0x0 goto pc+2        ; R0_w=map_value(map=a,ks=4,vs=8)
4: (79) r1 = *(u64 *)(r0 +0)          ; R0_w=map_value(map=a,ks=4,vs=8) R1_w=scalar()

from 3 to 6 (speculative execution): R0=0 R6=scalar() R10=fp0 fp-8=0
6: R0=0 R6=scalar() R10=fp0 fp-8=0
6: (95) exit
`;

test('the state before an instruction is collected from the log up to it', () => {
  const at = (slot: number) => Object.fromEntries(stateBefore(walk, slot));
  assert.equal(at(0), { R1: 'ctx()', R10: 'fp0' });
  assert.equal(at(2), {
    R1: 'ctx()',
    R6: 'scalar(smin=0,smax=umax=0xff,var_off=(0x0; 0xff))',
    R10: 'fp0',
    'fp-8': '0',
  });
  assert.is(at(3).R1, undefined, 'lost at the call');
  assert.is(at(4).R0, 'map_value(map=a,ks=4,vs=8)');
  assert.equal(at(6), { R0: '0', R6: 'scalar()', R10: 'fp0', 'fp-8': '0' }, 'the state of the other path');
  assert.equal(at(9), {}, 'the log does not contain this instruction');
});

test('the state format of old kernels is read', () => {
  const old = `0: R1=ctx(id=0,off=0,imm=0) R10=fp0
0: (79) r6 = *(u64 *)(r1 +0)
1: R1=ctx(id=0,off=0,imm=0) R6_w=inv(id=0,umax_value=255,var_off=(0x0; 0xff)) R10=fp0 fp-8=mmmm????
1: (95) exit`;
  assert.equal(Object.fromEntries(stateBefore(old, 1)), {
    R1: 'ctx(id=0,off=0,imm=0)',
    R6: 'inv(id=0,umax_value=255,var_off=(0x0; 0xff))',
    R10: 'fp0',
    'fp-8': 'mmmm????',
  });
});

for (const [what, log] of [
  ['a reason', (size: number) => `0: (95) exit\n${'value '.repeat(size)}\n`],
  ['an instruction', (size: number) => `0: (b7) r1 = 0 ${'; '.repeat(size)}\n1: (95) exit\n`],
  ['a state', (size: number) => `0: ${'R1=(() '.repeat(size)}\n0: (95) exit\n`],
] as const)
  test(`a long line is read in linear time: ${what}`, () => {
    const read = (text: string) => [summarize(text), lacksStates(text), stateBefore(text, 1)];
    const [small, large] = [log(10_000), log(80_000)];
    assertLinear(
      () => read(small),
      () => read(large),
    );
  });

test.run();
