/**
 * Raw instructions among statements: the registers that they may read and write, and their labels and jumps.
 */
import * as assert from 'uvu/assert';
import { AssembleError } from '../../src/asm/assemble.ts';
import type { Builder } from '../../src/asm/builder/builder.ts';
import type { Value } from '../../src/asm/builder/value.ts';
import {
  add,
  atomic,
  call,
  callSubprogram,
  exit,
  gotol,
  ja,
  jeq,
  jlt,
  jne,
  label,
  lddw,
  ldx,
  loadFunction,
  mayGoto,
  mov,
  mov32,
  st,
  stx,
} from '../../src/asm/constructors.ts';
import { getCurrentComm, ktimeGetNs } from '../../src/asm/helpers.ts';
import type { Instruction, Item, Register } from '../../src/asm/instruction.ts';
import { jumpTable, jumpThrough } from '../../src/asm/jump-table.ts';
import { struct, u32, u64 } from '../../src/asm/layout.ts';
import { globals, hash } from '../../src/asm/map.ts';
import { r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10 } from '../../src/asm/registers.ts';
import { subprogram } from '../../src/asm/subprogram.ts';
import { suite } from '../harness.ts';
import { thrown } from '../thrown.ts';
import { emitted, errorMessage, program } from './built.ts';

const test = suite('asm/raw');

/** The emitted instructions without the common end. */
function statements(body: (b: Builder) => void): string[] {
  return emitted(body).slice(0, -2);
}

/** The error message of `body`, which must end with the line of the statement marked by `here`. */
function refusedHere(body: (b: Builder, here: () => void) => void): string {
  let line = 0;
  const message = errorMessage((b) =>
    body(b, () => {
      line = Number(/raw\.test\.[jt]s:(\d+)/.exec((new Error().stack ?? '').split('\n')[2] ?? '')?.[1]) + 1;
    }),
  );
  assert.match(message, new RegExp(`\\(\\S*raw\\.test\\.[jt]s:${line}\\)$`), message);
  return message;
}

const table = hash('table', { key: u32, value: struct({ count: u64 }), maxEntries: 8 });

// --- kept registers ------------------------------------------------------------------------------------

const WRITES: Readonly<Record<string, Instruction>> = {
  mov: mov(r6, 1),
  mov32: mov32(r6, 1),
  add: add(r6, 1),
  lddw: lddw(r6, 1n),
  ldx: ldx(u64, r6, r10, -8),
  'atomic.fetchAdd': atomic.fetchAdd(u64, r10, -8, r6),
  'atomic.xchg': atomic.xchg(u64, r10, -8, r6),
  loadFunction: loadFunction(r6, 'f'),
};

for (const [name, instruction] of Object.entries(WRITES))
  test(`${name} must not write a register of a kept value`, () => {
    const message = refusedHere((b, here) => {
      b.keep(b.arg(3));
      here();
      b.emit(instruction);
    });
    assert.match(
      message,
      new RegExp(
        `^${name} writes r6, which holds argument 3 of \\S+raw.test.[jt]s:\\d+: r7, r8, r9 are free`,
      ),
    );
  });

test('the same holds in an arm, loop, block and after a label', () => {
  for (const wrap of [
    (b: Builder, inner: () => void) => b.if(b.arg(0).eq(1), inner),
    (b: Builder, inner: () => void) => b.if(b.arg(0).eq(1), () => b.exit(), inner),
    (b: Builder, inner: () => void) => b.switch(b.arg(0), [[1, inner]]),
    (b: Builder, inner: () => void) => b.block(inner),
    (b: Builder, inner: () => void) => b.lookup(table, 1, { found: inner }),
    (b: Builder, inner: () => void) => {
      b.emit(label('top'));
      inner();
    },
  ])
    assert.match(
      errorMessage((b) => {
        b.keep(b.context);
        wrap(b, () => b.emit(mov(r6, 1)));
      }),
      /^mov writes r6, which holds the context/,
    );
});

test('kept pointers, map values and maps are protected like kept values', () => {
  for (const keep of [
    (b: Builder) => void b.keep(b.kernel('sock', b.arg(0))),
    (b: Builder) => void b.keep(b.global(globals('state', struct({ count: u64 })))),
    (b: Builder) => void b.keep(b.kernel('sock', b.arg(0)).cast('inet_sock')),
  ])
    assert.match(
      errorMessage((b) => {
        keep(b);
        b.emit(mov(r6, 0));
      }),
      /^mov writes r6, which holds/,
    );
});

test('a register is free after its block, and the error says if all are held', () => {
  assert.equal(
    statements((b) => {
      b.block(() => b.keep(b.arg(0)));
      b.emit(mov(r6, 1));
    }),
    ['r6 = *(u64 *)(r1 +0)', 'r6 = 1'],
  );
  assert.match(
    errorMessage((b) => {
      for (let n = 0; n < 4; n++) b.keep(b.arg(n));
      b.emit(mov(r9, 1));
    }),
    /^mov writes r9, which holds argument 3 of .*: r6 to r9 are all in use; keep values inside a b\.block/,
  );
});

test('raw instructions may read a kept value by its register', () => {
  assert.equal(
    statements((b) => {
      const kept = b.keep(b.arg(0));
      b.emit(mov(r0, kept.register), add(r0, r6));
    }),
    ['r6 = *(u64 *)(r1 +0)', 'r0 = r6', 'r0 += r6'],
  );
});

test('r10 cannot be written, even by a hand-made instruction', () => {
  assert.match(
    errorMessage((b) => b.emit({ ...mov(r9, 1), dst: 10 })),
    /^mov writes r10, the frame pointer/,
  );
});

// --- temporaries ---------------------------------------------------------------------------------------

test('a raw write expires a temporary in its register, and a later use names the line', () => {
  assert.match(
    errorMessage((b) => {
      const value = b.arg(0).get();
      b.emit(mov(r0, 1));
      value.add(1);
    }),
    /^argument 0 of \S+ was a temporary in r0, lost to a raw instruction at \S+raw\.test\.[jt]s:\d+/,
  );
  assert.match(
    errorMessage((b) => {
      b.emit(mov(r1, 1));
      b.arg(0).get();
    }),
    /^the context .* lost to a raw instruction at/,
  );
});

test('a raw write in one arm expires the temporary after both', () => {
  assert.match(
    errorMessage((b) => {
      const value = b.value(7);
      b.if(b.arg(0).eq(1), () => b.emit(mov(value.register, 1)));
      value.add(1);
    }),
    /lost to a raw instruction/,
  );
});

// --- reading what is not set ---------------------------------------------------------------------------

const READS: readonly (readonly [what: string, instruction: Instruction, register: string])[] = [
  ['a move', mov(r0, r7), 'r7'],
  ['arithmetic in place', add(r8, 1), 'r8'],
  ['a load', ldx(u64, r0, r3, 0), 'r3'],
  ['a store', stx(u64, r10, -8, r9), 'r9'],
  ['a store through it', st(u64, r4, 0, 1), 'r4'],
  ['an atomic addition', atomic.add(u64, r10, -8, r2), 'r2'],
  ['a comparison', jeq(r7, 0, 'exit'), 'r7'],
  ['a comparison with it', jeq(r1, r5, 'exit'), 'r5'],
  ['a helper that needs it', call(getCurrentComm), 'r2'],
];

for (const [what, instruction, register] of READS)
  test(`${what} of an unset register is refused at its line`, () => {
    const message = refusedHere((b, here) => {
      here();
      b.emit(instruction);
    });
    assert.match(message, new RegExp(` reads ${register}, which no value or raw instruction has set`));
  });

test('registers left over from statements are unset for raw instructions', () => {
  assert.match(
    errorMessage((b) => {
      b.if(b.arg(0).eq(1), () => b.stack(u64, 1));
      b.emit(mov(r2, r0));
    }),
    /^mov reads r0, which no value/,
  );
});

test('an error names a value that a call clobbered, also for raw values', () => {
  assert.match(
    errorMessage((b) => {
      b.call(ktimeGetNs);
      b.emit(mov(r0, r1));
    }),
    /^mov reads r1, which is not set: bpf_ktime_get_ns at \S+ overwrote the context /,
  );
  assert.match(
    errorMessage((b) => {
      b.emit(mov(r2, 5));
      b.call(ktimeGetNs);
      b.emit(mov(r0, r2));
    }),
    /^mov reads r2, which is not set: bpf_ktime_get_ns at \S+ overwrote raw instructions of \S+raw\.test/,
  );
  assert.match(
    errorMessage((b) => b.emit(mov(r2, 1), call(ktimeGetNs), mov(r0, r2))),
    /^mov reads r2, which is not set: a raw call at/,
  );
});

test('a register set on one path only is unset', () => {
  assert.match(
    errorMessage((b) => b.emit(jeq(r1, 0, 'a'), mov(r7, 1), label('a'), mov(r0, r7))),
    /^mov reads r7/,
  );
  assert.match(
    errorMessage((b) => {
      b.if(b.arg(0).eq(1), () => b.emit(mov(r7, 1)));
      b.emit(mov(r0, r7));
    }),
    /^mov reads r7/,
  );
});

test('a register set on all paths is set, in branches of either kind', () => {
  statements((b) =>
    b.emit(jeq(r1, 0, 'a'), mov(r7, 1), ja('b'), label('a'), mov(r7, 2), label('b'), mov(r0, r7)),
  );
  statements((b) => {
    b.if(
      b.arg(0).eq(1),
      () => b.emit(mov(r7, 1)),
      () => b.emit(mov(r7, 2)),
    );
    b.emit(mov(r0, r7));
  });
});

test('the end of the program reads r0', () => {
  assert.match(
    refusedHere((b, here) => {
      here();
      b.emit(exit());
    }),
    /^exit reads r0, which no instruction sets/,
  );
});

test('instruction-list subprograms are checked alike, at the line of the program', () => {
  const half = { name: 'half', instructions: [mov(r0, r7), exit()] };
  const error = thrown(() => emitted((b) => b.emit(callSubprogram(half))));
  assert.instance(error, AssembleError);
  assert.match(error.message, /^mov reads r7, which no instruction sets/);
  statements((b) => b.emit(mov(r1, 3), callSubprogram({ name: 'ok', instructions: [mov(r0, r1), exit()] })));
});

test('a subprogram starts with its parameters only', () => {
  const made = (register: Register) =>
    subprogram('f', [u64, u64], (b) => {
      b.emit(mov(r0, register));
    });
  emitted((b) => void b.call(made(r2), 1, 2));
  assert.match(
    errorMessage((b) => void b.call(made(r3), 1, 2)),
    /^mov reads r3/,
  );
});

// --- registers of raw instructions ---------------------------------------------------------------------

test('statements do not use registers that raw instructions have set', () => {
  assert.equal(
    statements((b) => {
      b.emit(mov(r0, 1), mov(r6, 2));
      const kept = b.keep(b.arg(0));
      b.stack(u64).set(kept);
      b.if(b.arg(1).eq(1), () => b.value(9));
      b.emit(add(r6, r0));
    }),
    [
      'r0 = 1',
      'r6 = 2',
      'r7 = *(u64 *)(r1 +0)',
      '*(u64 *)(r10 -8) = r7',
      'r2 = *(u64 *)(r1 +8)',
      'if r2 != 0x1 goto end_1',
      'r3 = 9',
      'end_1:',
      'r6 += r0',
    ].map((line) => (line === 'r3 = 9' ? 'r2 = 9' : line)),
  );
});

test('a statement takes a raw register only if no other is free, and it is unset then', () => {
  const full = (b: Builder) => b.emit(mov(r0, 0), mov(r2, 2), mov(r3, 3), mov(r4, 4), mov(r5, 5));
  assert.equal(
    statements((b) => {
      full(b);
      b.stack(u64, b.arg(0));
      b.emit(mov(r6, r2), add(r6, r5), mov(r0, 1), mov(r6, r0));
    }).slice(5),
    ['r0 = *(u64 *)(r1 +0)', '*(u64 *)(r10 -8) = r0', 'r6 = r2', 'r6 += r5', 'r0 = 1', 'r6 = r0'],
  );
  for (const take of [
    (b: Builder) => void b.stack(u64, b.arg(0)),
    (b: Builder) => void b.value(7),
    (b: Builder) => void b.arg(0).get(),
  ])
    assert.match(
      refusedHere((b, here) => {
        full(b);
        take(b);
        here();
        b.emit(mov(r6, r0));
      }),
      /^mov reads r0, which is not set: a statement at \S+ overwrote raw instructions of \S+raw\.test/,
    );
  assert.match(
    errorMessage((b) => {
      b.emit(mov(r6, 1), mov(r7, 1), mov(r8, 1), mov(r9, 1));
      b.keep(b.arg(0));
      b.emit(mov(r0, r6));
    }),
    /^mov reads r6, which is not set: a statement at/,
  );
});

test('raw instructions do not take registers of values', () => {
  assert.match(
    errorMessage((b) => {
      for (let n = 0; n < 4; n++) b.keep(b.arg(n));
      b.emit(mov(r0, 1));
      b.keep(b.arg(0));
    }),
    /^no kept register is free/,
  );
});

// --- labels --------------------------------------------------------------------------------------------

test("generated labels never collide with the user's labels", () => {
  const names = [
    'exit',
    'end_1',
    'else_1',
    'then_2',
    'case_1',
    'otherwise_3',
    'found_1',
    'counted_1',
    'below_1',
    'near_1',
  ];
  for (const name of names)
    assert.equal(
      emitted((b) => {
        b.if(
          b.arg(0).eq(1),
          () => b.stack(u64, 1),
          () => b.stack(u64, 2),
        );
        b.emit(mov(r0, 7), jne(r1, 0, name), mov(r0, 8), label(name), add(r0, 1));
        b.exit();
      }).filter((line) => line === `${name}:` || line === `if r1 != 0x0 goto ${name}`),
      [`if r1 != 0x0 goto ${name}`, `${name}:`],
    );
});

test('a missing label does not match a generated one', () => {
  const message = refusedHere((b, here) => {
    here();
    b.emit(jeq(r1, 0, 'end_1'), mov(r0, 9));
    b.if(b.arg(0).eq(1), () => b.stack(u64, 1));
  });
  assert.match(message, /^undefined label 'end_1'/);
  assert.match(
    errorMessage((b) => b.emit(...jumpThrough(jumpTable('table', ['end_1']), r1, r2))),
    /^undefined label 'end_1'/,
  );
  assert.match(
    errorMessage((b) => {
      b.emit(jeq(r1, 0, 'mising'));
      b.emit(label('missing'));
    }),
    /^undefined label 'mising'; nearest: missing/,
  );
});

test('a missing label does not match labels of subprograms or their names', () => {
  const mix = { name: 'mix', instructions: [jeq(r1, 0, 'end'), label('end'), mov(r0, 1), exit()] };
  for (const name of ['mix', 'mix.end', 'end'])
    assert.match(
      errorMessage((b) => b.emit(callSubprogram(mix), jeq(r0, 0, name))),
      new RegExp(`^undefined label '${name}'`),
    );
});

test('`exit` is the common end, unless the user defines that label', () => {
  assert.equal(
    emitted((b) => b.emit(jeq(r1, 0, 'exit'), mov(r6, 1))),
    ['if r1 == 0x0 goto exit', 'r6 = 1', 'exit:', 'r0 = 0', 'exit'],
  );
  assert.equal(
    emitted((b) => {
      b.if(b.arg(0).eq(1), () => b.exit());
      b.emit(jeq(r1, 0, 'exit'), mov(r6, 1), label('exit'), mov(r0, 5), exit());
    }),
    [
      'r0 = *(u64 *)(r1 +0)',
      'if r0 == 0x1 goto exit_2',
      'if r1 == 0x0 goto exit',
      'r6 = 1',
      'exit:',
      'r0 = 5',
      'exit',
      'exit_2:',
      'r0 = 0',
      'exit',
    ],
  );
});

test('a duplicate label is refused at the second definition, which names the first', () => {
  assert.match(
    refusedHere((b, here) => {
      b.emit(label('a'));
      here();
      b.emit(label('a'));
    }),
    /^duplicate label 'a': the first is at \S+raw\.test\.[jt]s:\d+/,
  );
});

test('user labels cannot contain %', () => {
  for (const item of [label('%exit'), ja('%exit'), jeq(r1, 0, 'a%b'), callSubprogram('%f')])
    assert.match(
      errorMessage((b) => b.emit(item)),
      /^label '\S+' is invalid: % is reserved for generated labels/,
    );
});

test('a raw jump, call or address by distance is refused', () => {
  for (const [item, what] of [
    [ja(1), 'jump'],
    [gotol(1), 'jump'],
    [jeq(r1, 0, 1), 'jump'],
    [mayGoto(1), 'jump'],
    [callSubprogram(2), 'callSubprogram'],
    [loadFunction(r2, 2), 'loadFunction'],
  ] as const)
    assert.match(
      errorMessage((b) => b.emit(item, mov(r0, 0), mov(r0, 0), exit())),
      new RegExp(`^a raw ${what} must name a label: distances change`),
    );
});

// --- joins of raw jumps --------------------------------------------------------------------------------

test('after a label, only state common to all paths is valid', () => {
  assert.match(
    errorMessage((b) => {
      b.emit(jeq(r1, 0, 'skip'));
      const kept = b.keep(b.arg(0));
      b.emit(label('skip'));
      kept.add(1);
    }),
    /^argument 0 of .* belongs to a block that has ended/,
  );
  assert.match(
    errorMessage((b) => {
      const slot = b.stack(u64);
      b.emit(jeq(r1, 0, 'skip'));
      slot.set(1);
      b.emit(label('skip'));
      b.value(slot);
    }),
    /was never written/,
  );
  assert.match(
    errorMessage((b) => {
      const value = b.value(1);
      b.emit(jeq(r1, 0, 'skip'));
      b.call(ktimeGetNs);
      b.emit(label('skip'));
      value.add(1);
    }),
    /lost to bpf_ktime_get_ns/,
  );
  statements((b) => {
    const slot = b.stack(u64, 1);
    const kept = b.keep(b.arg(0));
    b.emit(jeq(r1, 0, 'skip'));
    b.stack(u64, 2);
    b.emit(label('skip'));
    b.stack(u64).set(slot);
    kept.add(1);
  });
});

test('a jump out of an arm carries no state of the arm', () => {
  assert.match(
    errorMessage((b) => {
      let kept = b.value(1);
      b.if(b.arg(0).eq(1), () => {
        kept = b.keep(b.arg(1));
        b.emit(ja('out'));
      });
      b.exit();
      b.emit(label('out'));
      kept.add(1);
    }),
    /belongs to a block that has ended/,
  );
  // A slot of the arm and a slot allocated after it share an address.
  assert.match(
    errorMessage((b) => {
      b.if(b.arg(0).eq(1), () => {
        b.stack(u64, 1);
        b.emit(ja('out'));
      });
      const slot = b.stack(u64);
      b.exit();
      b.emit(label('out'));
      b.value(slot);
    }),
    /was never written/,
  );
});

test('a loop keeps values that its body keeps', () => {
  statements((b) => {
    const kept = b.keep(b.context);
    const slot = b.stack(u64, 0);
    b.emit(mov(r9, 0), label('top'));
    b.call(ktimeGetNs);
    slot.set(b.arg(0));
    b.emit(add(r9, 1), jlt(r9, 10, 'top'));
    b.stack(u64).set(kept);
  });
});

test('a loop that clobbers a value it uses is refused at its jump back', () => {
  const message = refusedHere((b, here) => {
    const value = b.value(5);
    b.emit(mov(r9, 0), label('top'));
    value.add(1);
    b.call(ktimeGetNs);
    here();
    b.emit(add(r9, 1), jlt(r9, 10, 'top'));
  });
  assert.match(
    message,
    /^the jump back to 'top' leads to code that uses 5 of \S+, but r0 no longer holds it/,
  );
});

test('a use after a jump back that clobbered the value is refused', () => {
  assert.match(
    errorMessage((b) => {
      b.keep(b.context);
      const value = b.value(5);
      b.emit(mov(r9, 0), label('top'));
      b.if(b.arg(0).eq(1), () => {
        b.call(ktimeGetNs);
        b.emit(ja('top'));
      });
      value.add(1);
    }),
    /lost to the jump back to 'top' at/,
  );
});

test('a loop with its test at the end continues with the state before it', () => {
  statements((b) => {
    const kept = b.keep(b.context);
    const slot = b.stack(u64, 0);
    b.emit(mov(r9, 0), ja('test'), label('body'));
    b.stack(u64).set(kept);
    b.value(slot);
    b.emit(add(r9, 1), label('test'), jlt(r9, 10, 'body'));
  });
  assert.match(
    errorMessage((b) => {
      const slot = b.stack(u64);
      b.if(b.arg(0).eq(1), () => {
        slot.set(1);
        b.emit(ja('out'), label('body'));
        b.value(slot);
      });
      b.emit(jeq(r1, 0, 'body'), label('out'));
    }),
    /^the jump back to 'body' leads to code that expects byte 0 of stack to be written, but this path has not written it/,
  );
});

test('a jump back to code that uses a value needs it in its register', () => {
  // A raw instruction has taken the register in the meantime.
  assert.match(
    errorMessage((b) => {
      const slot = b.stack(u64, 0);
      const value = b.value(5);
      b.emit(label('again'));
      slot.set(value);
      b.emit(mov(r0, 1), jne(r0, 0, 'again'));
    }),
    /^the jump back to 'again' leads to code that uses 5 of .*, but r0 no longer holds it/,
  );
  // After a jump back that clobbered a raw value, the value stays unset.
  assert.match(
    errorMessage((b) => {
      const kept = b.keep(b.arg(0));
      b.emit(mov(r2, 1), label('again'), mov(r0, 1));
      b.if(kept.eq(1), () => {
        b.call(ktimeGetNs);
        b.emit(mov(r0, 1), ja('again'));
      });
      b.emit(mov(r3, r2));
    }),
    /mov reads r2/,
  );
});

test('a jump back to code that uses another view of a value needs the old value', () => {
  const loop = (inLoop: (b: Builder, kept: Value, reading: Value) => void) => (b: Builder) => {
    const kept = b.keep(b.arg(0));
    const reading = kept.as(u32);
    b.emit(label('again'));
    inLoop(b, kept, reading);
    b.emit(mov(r9, 0), jne(r9, 0, 'again'));
  };
  statements(loop((b, kept, reading) => b.stack(u64).set(reading.add(kept))));
  statements(
    loop((b, kept) => {
      kept.addAssign(1);
      b.stack(u64).set(kept.as(u32));
    }),
  );
  assert.match(
    errorMessage(
      loop((b, kept, reading) => {
        b.stack(u32, 0).set(reading);
        kept.addAssign(1);
      }),
    ),
    /^the jump back to 'again' follows an assignment to .*, but code after that label uses an earlier cast of it: cast it again after the label/,
  );
  // The jump comes first, and the view later.
  assert.match(
    errorMessage((b) => {
      const kept = b.keep(b.arg(0));
      const reading = kept.as(u32);
      b.emit(label('again'));
      b.if(kept.lt(10), () => {
        kept.addAssign(1);
        b.emit(ja('again'));
      });
      b.stack(u32, 0).set(reading);
    }),
    /^.* is a cast of a value that was assigned to afterwards: cast it again/,
  );
});

const UNWRITTEN: readonly [what: string, body: (b: Builder) => void, message: RegExp][] = [
  [
    'a load',
    (b) => {
      b.stack(u64);
      b.emit(ldx(u64, r0, r10, -8));
    },
    /^ldx reads byte 0 of stack, which was never written \(\S+raw\.test\.ts:\d+\)$/,
  ],
  [
    'a load of more bytes than stored',
    (b) => {
      b.stack(u64);
      b.emit(st(u32, r10, -8, 1), ldx(u64, r0, r10, -8));
    },
    /^ldx reads byte 4 of stack/,
  ],
  [
    'a load across two stores',
    (b) => {
      b.stack(u64).set(1);
      b.stack(u64);
      b.emit(ldx(u64, r0, r10, -12));
    },
    /^ldx reads byte 4 of stack/,
  ],
  [
    'an atomic addition',
    (b) => {
      b.stack(u64);
      b.emit(mov(r1, 1), atomic.add(u64, r10, -8, r1));
    },
    /^atomic\S* reads byte 0 of stack/,
  ],
  [
    'a load after an arm that stores',
    (b) => {
      b.stack(u64);
      b.if(b.arg(0).eq(1), () => b.emit(st(u64, r10, -8, 1)));
      b.emit(ldx(u64, r0, r10, -8));
    },
    /^ldx reads byte 0 of stack/,
  ],
];

for (const [what, body, message] of UNWRITTEN)
  test(`${what} of the stack needs written bytes`, () => {
    assert.match(errorMessage(body), message);
  });

test('raw stores initialize the stack, also for statements', () => {
  const table = hash('t', { key: u32, value: u64, maxEntries: 1 });
  assert.match(
    emitted((b) => {
      const value = b.stack(u64);
      b.emit(mov(r1, 7), stx(u64, r10, -8, r1), ldx(u64, r0, r10, -8));
      b.update(table, 1, value);
    }).join('; '),
    /call bpf_map_update_elem/,
  );
  // The rest of the stack is not checked.
  emitted((b) => b.emit(ldx(u64, r0, r10, -64)));
  // A label reached only by later jumps has their state.
  emitted((b) => {
    b.stack(u64);
    b.emit(ja('last'), label('first'), ldx(u64, r0, r10, -8), exit());
    b.emit(label('last'), st(u64, r10, -8, 1), ja('first'));
  });
});

test('a function in the same list has its arguments only, without the surrounding state', () => {
  assert.match(
    errorMessage((b) => {
      const kept = b.keep(b.arg(0));
      b.emit(mov(r1, 1), callSubprogram('f'), exit(), label('f'));
      kept.add(1);
      b.emit(mov(r0, r1), exit());
    }),
    /belongs to a block that has ended/,
  );
  // Here the call follows the function, from another one.
  const called = (inner: (b: Builder) => void) => (b: Builder) => {
    b.emit(mov(r0, 1), callSubprogram('g'), exit(), label('f'));
    inner(b);
    b.emit(exit(), label('g'), mov(r1, 2), callSubprogram('f'), exit());
  };
  statements(called((b) => b.emit(mov(r0, r1))));
  assert.match(
    errorMessage((b) => {
      const kept = b.keep(b.arg(0));
      called(() => kept.add(1))(b);
    }),
    /^the function at 'f' uses argument 0 of \S+, which is not available when the function is called: pass it in r1 to r5/,
  );
});

test('a called function that begins with a jump keeps its entry', () => {
  const items: Item[] = [
    ...[mov(r1, 3), callSubprogram('fn'), exit(), label('fn'), mov(r0, 0), ja('test')],
    ...[label('top'), add(r1, -1), add(r0, 1), label('test'), jne(r1, 0, 'top'), exit()],
  ];
  const texts = emitted((b) => {
    b.emit(...items.slice(0, 3));
    b.emit(...items.slice(3));
  });
  assert.equal(texts.slice(0, 6), ['r1 = 3', 'call fn', 'exit', 'fn:', 'r0 = 0', 'goto test']);
});

test('a function that is only a jump can be called', () => {
  assert.equal(
    emitted((b) =>
      b.emit(callSubprogram('f'), exit(), label('f'), ja('g'), label('g'), mov(r0, 1), exit()),
    ).slice(0, 3),
    ['call f', 'exit', 'f:'],
  );
});

test("instructions of a text have the text's lines", () => {
  const position = { stack: '    at /programs/text.bpf:7:3' };
  assert.match(
    errorMessage((b) => b.emit({ ...mov(r0, r7), position })),
    /\(\/programs\/text\.bpf:7\)$/,
  );
});

test('programs without raw instructions are unchanged', () => {
  assert.is(program((b) => b.exit(b.arg(0).get())).instructions.length, 2);
});

test.run();
