/** Subprograms written with the builder: the code of calls, parameters, and errors. */
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { Btf } from '../../src/asm/btf.ts';
import type { Builder } from '../../src/asm/builder/builder.ts';
import { mov } from '../../src/asm/constructors.ts';
import { perfEventArray } from '../../src/asm/events.ts';
import { ktimeGetNs, loop, probeReadKernel } from '../../src/asm/helpers.ts';
import { fentry, kprobe, kretprobe, rawTracepoint, tpBtf, tracepoint } from '../../src/asm/hooks.ts';
import { isLabel } from '../../src/asm/instruction.ts';
import { chars, out, s32, s64, struct, u8, u16be, u32, u64 } from '../../src/asm/layout.ts';
import { hash } from '../../src/asm/map.ts';
import { locate } from '../../src/asm/position.ts';
import { r0 } from '../../src/asm/registers.ts';
import { subprogram } from '../../src/asm/subprogram.ts';
import { target } from '../../src/asm/target.ts';
import { parseTracepointFormat } from '../../src/asm/tracepoint-format.ts';
import { suite } from '../harness.ts';
import { BtfWriter } from './btf-writer.ts';
import { emitted, errorMessage, program, x64 } from './built.ts';
import { STATE_FORMAT } from './fixtures/formats.ts';
import { textsOf } from './texts.ts';

const test = suite('asm/subprogram');

/** Matches a message that ends with the line after this call. */
function nextLine(): RegExp {
  const line = Number(/subprogram\.test\.[jt]s:(\d+)/.exec(new Error().stack?.split('\n')[2] ?? '')?.[1]);
  return new RegExp(`subprogram\\.test\\.[jt]s:${line + 1}\\)$`);
}

const mix = subprogram('mix', [u64, u64], (b, x, y) => b.return(x.add(y)));
const Event = struct({ kind: u32, comm: chars(4), at: u64 });

// --- what is emitted -------------------------------------------------------------------------------

test('a subprogram is emitted once after the program, however often it is called', () => {
  assert.equal(
    emitted((b) => {
      const first = b.keep(b.call(mix, b.arg(0), 5));
      b.exit(b.call(mix, first, 7).add(first));
    }),
    [
      'r1 = *(u64 *)(r1 +0)',
      'r2 = 5',
      'call mix',
      'r6 = r0',
      'r1 = r6',
      'r2 = 7',
      'call mix',
      'r0 += r6',
      'exit',
      'mix:',
      'r1 += r2',
      'r0 = r1',
      'exit',
    ],
  );
});

test('a subprogram without callers, or called only from dead code, is omitted', () => {
  const texts = emitted((b) => {
    b.if(b.arg(0).eq(1), () => b.exit());
  });
  assert.not.ok(texts.includes('mix:'));
});

test('subprograms are ordered by their first calls', () => {
  const deep = subprogram('deep', [u64], (b, x) => b.return(x.mul(3)));
  const outer = subprogram('outer', [u64], (b, x) => b.return(b.call(mix, b.call(deep, x), 1)));
  const labels = emitted((b) => {
    b.call(outer, 1);
    b.call(deep, 2);
  }).filter((text) => text.endsWith(':'));
  assert.equal(labels, ['outer:', 'deep:', 'mix:']);
});

test('each program has its own copy, with any hook', () => {
  const writer = new BtfWriter();
  const proto = writer.prototype(writer.int('int', 4, 1), {});
  writer.typedef('btf_trace_test', writer.pointer(proto));
  writer.func('test', proto);
  const typed = target('x64', Btf.parse(writer.blob()));
  const body = (b: Builder) => void b.call(mix, 1, 2);
  for (const made of [
    kprobe('test', x64, body),
    kretprobe('test', x64, body),
    fentry('test', typed, body),
    rawTracepoint('test', x64, body),
    tpBtf('test', typed, body),
    tracepoint(
      'sock',
      'inet_sock_set_state',
      { ...x64, formats: [parseTracepointFormat('sock', 'inet_sock_set_state', STATE_FORMAT)] },
      body,
    ),
  ])
    assert.equal(textsOf(made.instructions).slice(-4), ['mix:', 'r1 += r2', 'r0 = r1', 'exit']);
});

test('labels are local to a subprogram', () => {
  const pick = subprogram('pick', [u64], (b, x) => {
    b.if(x.gt(9), () => b.return(1));
    b.if(x.gt(5), () => b.return());
    b.return(2);
  });
  assert.equal(
    emitted((b) => {
      b.if(b.call(pick, b.arg(0)).eq(0), () => b.exit());
      b.exit(1);
    }),
    [
      'r1 = *(u64 *)(r1 +0)',
      'call pick',
      'if r0 == 0x0 goto exit',
      'r0 = 1',
      'exit',
      'exit:',
      'r0 = 0',
      'exit',
      'pick:',
      'if r1 <= 0x9 goto pick.end_1',
      'r0 = 1',
      'exit',
      'pick.end_1:',
      'if r1 > 0x5 goto pick.exit',
      'r0 = 2',
      'exit',
      'pick.exit:',
      'r0 = 0',
      'exit',
    ],
  );
});

test('two subprograms of one name get different names', () => {
  const times = (factor: number) => subprogram('times', [u64], (b, x) => b.return(x.mul(factor)));
  const texts = emitted((b) => {
    b.call(times(2), 1);
    b.call(times(3), 1);
  });
  assert.equal(
    texts.filter((text) => text.includes('times')),
    ['call times', 'call times_2', 'times:', 'times_2:'],
  );
});

test('raw instructions may refer to a subprogram', () => {
  const texts = emitted((b) => {
    b.emit(mov(r0, 1));
    b.call(mix, 1, 2);
  });
  assert.ok(texts.includes('call mix'));
});

// --- parameters ------------------------------------------------------------------------------------

test('memory is passed by address and is a struct in the callee', () => {
  const fill = subprogram('fill', [Event, u32], (b, event, kind) => {
    const kept = b.keep(event);
    event.kind.set(kind);
    kept.at.set(b.call(ktimeGetNs));
  });
  const texts = emitted((b) => {
    const event = b.stack(Event);
    event.set(0);
    b.call(fill, event, 3);
  });
  assert.equal(texts.slice(2), [
    'r1 = r10',
    'r1 += -16',
    'r2 = 3',
    'call fill',
    'r0 = 0',
    'exit',
    'fill:',
    'r6 = r1',
    '*(u32 *)(r1 +0) = r2',
    'call bpf_ktime_get_ns#5',
    '*(u64 *)(r6 +8) = r0',
    'r0 = 0',
    'exit',
  ]);
});

test('nested structs and map values are passed alike', () => {
  const Name = struct({ text: chars(4) });
  const table = hash('table', { key: u32, value: struct({ kind: u32, comm: Name }), maxEntries: 1 });
  const clear = subprogram('clear', [Name], (_, name) => name.set(0));
  const texts = emitted((b) =>
    b.lookup(table, 1, { found: (entry) => void b.call(clear, entry.comm), missing: () => b.exit() }),
  );
  assert.equal(texts.slice(6, 9), ['r1 = r0', 'r1 += 4', 'call clear']);
});

test('signed parameters compare signed', () => {
  const negative = subprogram('negative', [s64, s32, u8], (b, long, int, byte) => {
    b.if(long.lt(0), () => b.return(1));
    b.if(int.lt(0), () => b.return(2));
    b.if(byte.lt(1), () => b.return(3));
  });
  const texts = emitted((b) => void b.call(negative, -1, -1, 0));
  assert.equal(
    texts.filter((text) => text.startsWith('if')).map((text) => text.replace(/ goto.*/, '')),
    ['if r1 s>= 0x0', 'if r2 s>= 0x0', 'if r3 >= 0x1'],
  );
});

test('the context is passed first if requested', () => {
  const events = perfEventArray('events', Event);
  const send = subprogram('send', [Event], (b, event) => void b.output(events, event), { context: true });
  assert.equal(
    emitted((b) => {
      const event = b.stack(Event);
      event.set(0);
      b.call(send, event);
    }).slice(2),
    [
      'r2 = r10',
      'r2 += -16',
      'call send',
      'r0 = 0',
      'exit',
      'send:',
      'w3 = -1',
      'r4 = r2',
      'r2 = map[events]',
      'r5 = 16',
      'call bpf_perf_event_output#25',
      'r0 = 0',
      'exit',
    ],
  );
});

test("with the context, the hook's arguments can be read", () => {
  const second = subprogram('second', [], (b) => b.return(b.arg(1)), { context: true });
  assert.equal(
    emitted((b) => b.exit(b.call(second))),
    ['call second', 'exit', 'second:', 'r0 = *(u64 *)(r1 +8)', 'exit'],
  );
});

test("arguments in each other's registers are moved in the right order", () => {
  const texts = emitted((b) => {
    const x = b.value(1);
    const y = b.value(2);
    b.call(mix, y, x);
  });
  assert.equal(texts.slice(0, 5), ['r0 = 1', 'r2 = 2', 'r1 = r2', 'r2 = r0', 'call mix']);
});

// --- callbacks of helpers --------------------------------------------------------------------------

const State = struct({ sum: u64 });
const addUp = subprogram('add_up', [u32, State], (_, index, state) => state.sum.atomicAdd(index));

test('a helper with a callback gets its address, and the address of stack memory', () => {
  assert.equal(
    emitted((b) => {
      const state = b.stack(State);
      state.set(0);
      b.call(loop, 5, addUp, state, 0);
    }).slice(1, 7),
    ['r1 = 5', 'r2 = subprog[+7]', 'r3 = r10', 'r3 += -8', 'r4 = 0', 'call bpf_loop#181'],
  );
});

// --- lines -----------------------------------------------------------------------------------------

test("instructions have the subprogram's lines, and calls those of the callers", () => {
  const { instructions } = assemble(program((b) => void b.call(mix, 1, 2)).instructions);
  const line = (index: number) => locate(instructions.at(index)?.instruction.position)?.line ?? 0;
  assert.ok(line(-1) < line(0));
  assert.is(line(-1), line(-2));
});

// --- errors ----------------------------------------------------------------------------------------

test('recursion is refused at the call with its path', () => {
  const even = subprogram('even', [u64], (b, x) => {
    b.return(b.call(odd, x));
  });
  let at = /never/;
  const odd: ReturnType<typeof subprogram<[typeof u64]>> = subprogram('odd', [u64], (b, x) => {
    at = nextLine();
    b.return(b.call(even, x));
  });
  const message = errorMessage((b) => void b.call(even, 1));
  assert.match(message, /^recursive call: even -> odd -> even; the kernel forbids recursion/);
  assert.match(message, at);
});

test("at most eight frames are allowed, including the program's", () => {
  const chain = (length: number): ReturnType<typeof subprogram<[]>> =>
    subprogram(`level${length}`, [], (b) => {
      if (length > 1) b.call(chain(length - 1));
    });
  emitted((b) => void b.call(chain(7)));
  assert.match(
    errorMessage((b) => void b.call(chain(8))),
    /too many nested calls: the program -> level8 -> .* -> level1 has 9 frames; the kernel allows 8.*subprogram\.test/,
  );
});

test('values of callers cannot be used in a subprogram', () => {
  const attempts: readonly [what: string, use: (outer: Builder, b: Builder) => (inner: Builder) => void][] = [
    [
      'a value',
      (b) =>
        (
          (kept) => () =>
            void kept.add(1)
        )(b.keep(b.value(1))),
    ],
    [
      'a value as an operand',
      (b) =>
        (
          (kept) => (inner) =>
            inner.return(kept)
        )(b.keep(b.value(1))),
    ],
    [
      'memory',
      (b) =>
        (
          (slot) => () =>
            slot.set(1)
        )(b.stack(u64)),
    ],
    [
      'memory as an operand',
      (b) =>
        (
          (slot) => (inner) =>
            inner.return(slot)
        )(b.stack(u64, 1)),
    ],
    [
      'memory as an argument',
      (b) =>
        (
          (s) => (i) =>
            void i.call(probeReadKernel, s, 1)
        )(b.stack(u64, 1)),
    ],
    ['the builder', (b) => () => void b.value(1)],
  ];
  for (const [what, use] of attempts)
    assert.match(
      errorMessage((b) => {
        const body = use(b, b);
        b.call(subprogram('inner', [], body));
      }),
      /^inner cannot use a value of its caller \(raw tracepoint test\): pass it as an argument .*subprogram\.test/,
      what,
    );
});

test('values of a subprogram cannot be used in its callers', () => {
  let leaked: { add(x: number): unknown } | undefined;
  const leaks = subprogram('leaks', [u64], (b, x) => {
    leaked = b.keep(x);
  });
  assert.match(
    errorMessage((b) => {
      b.call(leaks, 1);
      leaked?.add(1);
    }),
    /^leaks is complete: its values and memory cannot be used any more/,
  );
});

for (const [body, message] of [
  [
    (b) => b.return(),
    /^return\(\) ends a subprogram, but raw tracepoint test is a program: end it with exit\(\)/,
  ],
  [
    (b) => void b.call(subprogram('f', [], (inner) => inner.exit())),
    /^exit\(\) ends a program, but f is a subprogram: end it with return\(\)/,
  ],
  [
    (b) => void b.call(subprogram('f', [], (inner) => void inner.arg(0))),
    /^f does not receive the context: pass \{ context: true \} to subprogram\(\)/,
  ],
  [(b) => void (b.call as (...args: unknown[]) => void)(mix, 1), /^mix takes 2 arguments, but got 1/],
  [
    (b) =>
      void b.call(
        subprogram('f', [u8], () => {}),
        256,
      ),
    /^256 doesn't fit argument 0 of f \(u8, 0 to 255\)/,
  ],
  [
    (b) =>
      void (b.call as (...args: unknown[]) => void)(
        subprogram('f', [Event], () => {}),
        1,
      ),
    /^argument 0 of f must be memory on the stack or in a map: copy it to a b\.stack\(\) first/,
  ],
  [
    (b) =>
      void b.call(
        subprogram('f', [Event], () => {}),
        b.stack(struct({ a: u64 })) as never,
      ),
    /^argument 0 of f has 16 bytes; stack has 8/,
  ],
  [
    (b) =>
      void b.call(
        subprogram('f', [Event], () => {}),
        b.stack(Event),
      ),
    /^stack\.kind was never written \(byte 0 of stack\)/,
  ],
  [
    (b) => void b.call(loop, 1, 2, 0, 0),
    /^bpf_loop needs a subprogram to call, not the number 2: make one with subprogram\(\)/,
  ],
  [(b) => void b.call(loop, addUp, addUp, 0, 0), /^bpf_loop needs a number here, not subprogram add_up/],
  [
    (b) =>
      void b.call(
        loop,
        1,
        subprogram('f', [], () => {}, { context: true }),
        0,
        0,
      ),
    /^f needs the context, which bpf_loop does not pass/,
  ],
  [
    (b) =>
      b.lookup(hash('t', { key: u32, value: State, maxEntries: 1 }), 1, {
        found: (state) => void b.call(loop, 1, addUp, state, 0),
        missing: () => b.exit(),
      }),
    /^bpf_loop passes only stack memory to the subprogram, and t is not on the stack/,
  ],
  [() => subprogram('two words', [], () => {}), /^subprogram name 'two words': it is a C identifier/],
  [
    () => subprogram('f', [u64, u64, u64, u64, u64], () => {}, { context: true }),
    /^subprogram f: 5 parameters and the context are more than the 5 that fit registers/,
  ],
  [
    () => subprogram('f', [u8, chars(4)], () => {}),
    /^subprogram f: parameter 1 is neither a number nor a struct or union: put it into one/,
  ],
  [
    () => subprogram('f', [u16be], () => {}),
    /^subprogram f: parameter 0 is big-endian, which a register isn't/,
  ],
  [
    () => subprogram('f', [], () => {}, { returns: u16be }),
    /^subprogram f: its result is in a register, so it is an integer of the host's byte order/,
  ],
  [
    (b) =>
      b.call(
        subprogram('f', [u64], (b, long) => b.return(long), { returns: u32 }),
        1,
      ),
    /doesn't fit the result of f \(u32.*\): declare its type with \{ returns: schema \} in subprogram\(\)/,
  ],
] as const satisfies [(b: Builder) => void, RegExp][])
  test(`refused: ${message.source.slice(1)}`, () => {
    const error = errorMessage(body);
    assert.match(error, message);
    assert.match(error, /subprogram\.test\.[jt]s:\d+\)$/);
  });

test("errors thrown by the user's code are not changed", () => {
  const fault = new Error('mine');
  assert.is(
    errorMessage((b) => {
      b.call(
        subprogram('f', [], () => {
          throw fault;
        }),
      );
    }),
    'mine',
  );
});

test('programs without subprograms are unchanged', () => {
  assert.not.ok(program((b) => b.exit(1)).instructions.some((item) => isLabel(item)));
});

test('memory that a subprogram fills is unwritten before the call', () => {
  const Pair = struct({ a: u64, b: u64 });
  const fill = subprogram('fill', [out(Pair), u64], (_, pair, number) => {
    pair.a.set(number);
    pair.b.set(number);
  });
  assert.match(
    errorMessage((b) => {
      const pair = b.stack(Pair);
      b.call(fill, pair, pair.a);
    }),
    /^stack\.a was never written/,
  );
});

test.run();
