/** Registers that are read before they are set. test/live/register-check compares with the verifier. */
import * as assert from 'uvu/assert';
import { checkRegisters } from '../../../src/asm/cfg/register-check.ts';
import {
  add,
  atomic,
  call,
  callKernelFunction,
  callSubprogram,
  exit,
  gotox,
  ja,
  jeq,
  jset,
  label,
  lddw,
  ldx,
  loadFunction,
  loadPacket,
  mayGoto,
  mov,
  st,
  stx,
} from '../../../src/asm/constructors.ts';
import { getCurrentComm, ktimeGetNs, mapUpdateElem, tracePrintk } from '../../../src/asm/helpers.ts';
import type { Item } from '../../../src/asm/instruction.ts';
import { jumpTable, jumpThrough } from '../../../src/asm/jump-table.ts';
import { u64 } from '../../../src/asm/layout.ts';
import { r0, r1, r2, r3, r4, r5, r6, r7, r9, r10 } from '../../../src/asm/registers.ts';
import { resolve } from '../../../src/asm/resolve.ts';
import { suite } from '../../harness.ts';

const test = suite('asm/cfg/register-check');

/** The error with the number of its instruction; undefined if there is none. */
function errorIn(...items: Item[]): string | undefined {
  let error: string | undefined;
  try {
    checkRegisters(resolve(items).graph, (message, index) => {
      error = `${index}: ${message}`;
      throw new Error(error);
    });
  } catch (error) {
    if (error === undefined) throw error;
  }
  return error;
}

const SETS: Readonly<Record<string, readonly Item[]>> = {
  'the context and the frame pointer': [mov(r0, r1), ldx(u64, r2, r10, -8), exit()],
  'the result of a call': [call(ktimeGetNs), exit()],
  'a register set in both arms': [
    jeq(r1, 0, 'a'),
    mov(r7, 1),
    ja('b'),
    label('a'),
    mov(r7, 2),
    label('b'),
    mov(r0, r7),
    exit(),
  ],
  'a register set before a loop': [mov(r0, 0), label('top'), add(r0, 1), jset(r0, 4, 'top'), exit()],
  'r6 to r9 after a call': [mov(r6, r1), call(ktimeGetNs), ldx(u64, r0, r6, 0), exit()],
  'arguments in a subprogram': [
    mov(r2, 1),
    callSubprogram('f'),
    exit(),
    label('f'),
    mov(r0, r1),
    add(r0, r2),
    exit(),
  ],
  'all arguments of a callback': [loadFunction(r2, 'f'), mov(r0, 0), exit(), label('f'), mov(r0, r5), exit()],
  'an unread result of a subprogram without a result': [
    callSubprogram('f'),
    mov(r0, 0),
    exit(),
    label('f'),
    exit(),
  ],
  'r6 to r9 after a second call of a subprogram without a result': [
    ...[mov(r6, 1), jeq(r6, 0, 'a'), callSubprogram('f'), mov(r0, r6), exit()],
    ...[label('a'), callSubprogram('f'), mov(r0, r6), exit()],
    ...[label('f'), exit()],
  ],
  'missing optional arguments': [mov(r2, 4), call(tracePrintk), exit()],
  'unreachable code': [mov(r0, 0), exit(), label('dead'), mov(r0, r9), exit()],
  'an instruction missing from the table': [
    { opcode: 0xf7, dst: 1, src: 9, off: 3, imm: 4 },
    mov(r0, 0),
    exit(),
  ],
  'computed jumps that may lead anywhere': [ldx(u64, r1, r1, 0), gotox(r1), mov(r0, r9), exit()],
};

for (const [what, items] of Object.entries(SETS))
  test(`accepted: ${what}`, () => {
    assert.is(errorIn(...items), undefined);
  });

const UNSET: readonly (readonly [what: string, items: readonly Item[], message: string])[] = [
  ['a register never set', [mov(r0, r7), exit()], '0: mov reads r7, which no instruction sets'],
  ['the end of a program', [exit()], '0: exit reads r0, which no instruction sets'],
  ['arithmetic in place', [add(r0, 1), exit()], '0: add reads r0, which is not set on every path to it'],
  [
    'an arm that does not set it',
    [jeq(r1, 0, 'a'), mov(r7, 1), label('a'), mov(r0, r7), exit()],
    '2: mov reads r7, which is not set on every path to it',
  ],
  [
    'a jump past its assignment',
    [mov(r0, 0), ja('b'), label('a'), mov(r7, 1), label('b'), mov(r0, r7), jeq(r0, 1, 'a'), exit()],
    '3: mov reads r7, which is not set on every path to it',
  ],
  [
    'may_goto past its assignment',
    [mayGoto('a'), mov(r0, 1), label('a'), exit()],
    '2: exit reads r0, which is not set on every path to it',
  ],
  [
    'an arm beside one that calls a helper',
    [jeq(r1, 0, 'a'), call(ktimeGetNs), exit(), label('a'), mov(r0, r7), exit()],
    '3: mov reads r7, which no instruction sets',
  ],
  [
    'an arm before one that calls a helper',
    [jeq(r1, 0, 'a'), mov(r0, r7), exit(), label('a'), call(ktimeGetNs), exit()],
    '1: mov reads r7, which no instruction sets',
  ],
  [
    'the context after a call',
    [call(ktimeGetNs), ldx(u64, r0, r1, 0), exit()],
    '1: ldx reads r1, which is not set on every path to it: a call leaves r1 to r5 unreadable',
  ],
  [
    'an argument after the call of a subprogram',
    [mov(r2, 1), callSubprogram('f'), mov(r0, r2), exit(), label('f'), mov(r0, 0), exit()],
    '2: mov reads r2, which is not set on every path to it: a call leaves r1 to r5 unreadable',
  ],
  [
    'an argument after the call of a kernel function',
    [callKernelFunction(1), mov(r0, r1), exit()],
    '1: mov reads r1, which is not set on every path to it: a call leaves r1 to r5 unreadable',
  ],
  [
    'a loop that clobbers it',
    [
      mov(r6, 3),
      label('top'),
      ldx(u64, r0, r1, 0),
      call(ktimeGetNs),
      add(r6, -1),
      jset(r6, 3, 'top'),
      exit(),
    ],
    '1: ldx reads r1, which is not set on every path to it: a call leaves r1 to r5 unreadable',
  ],
  ['the base of a load', [ldx(u64, r0, r3, 0), exit()], '0: ldx reads r3, which no instruction sets'],
  ['the base of a store', [st(u64, r3, 0, 1), exit()], '0: st reads r3, which no instruction sets'],
  ['a stored register', [stx(u64, r10, -8, r3), exit()], '0: stx reads r3, which no instruction sets'],
  [
    'r0 of a compare and exchange',
    [mov(r2, 1), atomic.cmpxchg(u64, r10, -8, r2), exit()],
    '1: atomic.cmpxchg reads r0, which is not set on every path to it',
  ],
  [
    'the operand of an atomic addition',
    [atomic.fetchAdd(u64, r10, -8, r2), mov(r0, r2), exit()],
    '0: atomic.fetchAdd reads r2, which is not set on every path to it',
  ],
  ['the packet', [loadPacket({ size: 4 }, 0), exit()], '0: loadPacket reads r6, which no instruction sets'],
  [
    'the second argument of a helper',
    [mov(r1, r10), call(getCurrentComm), exit()],
    '1: call reads r2, which is not set on every path to it: a call leaves r1 to r5 unreadable',
  ],
  [
    'the last argument of a helper',
    [mov(r2, 1), mov(r3, 1), call(mapUpdateElem), exit()],
    '2: call reads r4, which is not set on every path to it: a call leaves r1 to r5 unreadable',
  ],
  [
    'a caller’s r6 in a subprogram',
    [mov(r6, 1), callSubprogram('f'), exit(), label('f'), mov(r0, r6), exit()],
    '3: mov reads r6, which no instruction sets',
  ],
  [
    'an argument that one of two callers does not set',
    [...[mov(r2, 1), callSubprogram('f'), callSubprogram('f'), exit()], ...[label('f'), mov(r0, r2), exit()]],
    '4: mov reads r2, which not every caller sets',
  ],
  [
    'the result of a subprogram that sets none on one of its paths',
    [
      ...[callSubprogram('f'), mov(r7, r0), mov(r0, 0), exit()],
      ...[label('f'), jeq(r1, 0, 'out'), mov(r0, 1), label('out'), exit()],
    ],
    '1: mov reads r0, which is not set on every path to it',
  ],
  [
    'a missing result of a subprogram called on both paths',
    [
      ...[jeq(r1, 0, 'a'), callSubprogram('f'), mov(r7, r0), mov(r0, 0), exit()],
      ...[label('a'), callSubprogram('f'), mov(r0, 0), exit()],
      ...[label('f'), exit()],
    ],
    '2: mov reads r0, which is not set on every path to it',
  ],
  [
    'a missing result of a subprogram called before, too',
    [
      ...[jeq(r1, 0, 'a'), callSubprogram('f'), mov(r0, 0), exit()],
      ...[label('a'), callSubprogram('f'), mov(r7, r0), mov(r0, 0), exit()],
      ...[label('f'), exit()],
    ],
    '5: mov reads r0, which is not set on every path to it',
  ],
  [
    'an entry of a jump table',
    [mov(r6, r1), ...jumpThrough(jumpTable('t', ['a']), r6, r2), label('a'), mov(r0, r7), exit()],
    '6: mov reads r7, which no instruction sets',
  ],
];

for (const [what, items, message] of UNSET)
  test(`refused: ${what}`, () => {
    assert.is(errorIn(...items), message);
  });

for (const register of [r1, r2, r3, r4, r5])
  test(`r${register.register} is unreadable after a call`, () => {
    const message = /reads r\d, which is not set on every path to it: a call leaves r1 to r5 unreadable/;
    assert.match(errorIn(mov(register, 1), call(ktimeGetNs), mov(r0, register), exit()) ?? '', message);
  });

test('a long list with many loops is checked quickly', () => {
  const items: Item[] = [mov(r0, 0)];
  for (let n = 0; n < 30_000; n++)
    items.push(label(`l${n}`), lddw(r2, 1n), add(r0, r2), jset(r0, 1, `l${Math.max(n >> 1, n - 5000)}`));
  assert.is(errorIn(...items, exit()), undefined);
});

test('a second call of a function without a result has no result, either', () => {
  assert.is(
    errorIn(callSubprogram('f'), callSubprogram('f'), mov(r6, r0), mov(r0, 0), exit(), label('f'), exit()),
    '2: mov reads r0, which is not set on every path to it',
  );
});

test('an instruction missing from the table reads and sets nothing', () => {
  const unknown = { opcode: 0xff, dst: 0, src: 0, off: 0, imm: 0 };
  assert.is(errorIn(jeq(r1, 0, 'x'), unknown, label('x'), mov(r0, 0), exit()), undefined);
  assert.match(errorIn(jeq(r1, 0, 'x'), unknown, label('x'), mov(r0, r2), exit()) ?? '', /^2: mov reads r2/);
});

test.run();
