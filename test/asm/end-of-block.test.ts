/** A statement after the end of its block is refused at its line, for every kind of statement and of end. */
import * as assert from 'uvu/assert';
import type { Builder } from '../../src/asm/builder/builder.ts';
import { callSubprogram, exit, gotol, gotox, ja, jeq, label, ldx, mov } from '../../src/asm/constructors.ts';
import { perfEventArray } from '../../src/asm/events.ts';
import { getCurrentComm, ktimeGetNs } from '../../src/asm/helpers.ts';
import { tracepoint } from '../../src/asm/hooks.ts';
import { jumpTable, jumpThrough } from '../../src/asm/jump-table.ts';
import { chars, struct, u32, u64 } from '../../src/asm/layout.ts';
import { globals, hash, programArray } from '../../src/asm/map.ts';
import { r0, r1, r2, r6 } from '../../src/asm/registers.ts';
import { subprogram } from '../../src/asm/subprogram.ts';
import { target } from '../../src/asm/target.ts';
import { suite } from '../harness.ts';
import { thrown } from '../thrown.ts';
import { emitted, errorMessage } from './built.ts';

const test = suite('asm/end-of-block');

const Pair = struct({ a: u64, b: u64 });
const table = hash('table', { key: u32, value: Pair, maxEntries: 8 });
const counts = hash('counts', { key: u32, value: u64, maxEntries: 8 });
const state = globals('state', Pair);
const events = perfEventArray('events', u64);
const others = programArray('others', { slots: ['one'] });
const half = subprogram('half', [u64], (b, value) => b.return(value.rsh(1)));

/** Declarations that the statements use. */
function declarations(b: Builder) {
  return {
    b,
    pair: b.stack(Pair),
    number: b.stack(u64, 1),
    comm: b.stack(chars(16)),
    kept: b.keep(b.context),
    leave: (): void => undefined,
  };
}
type Declarations = ReturnType<typeof declarations>;

const STATEMENTS: Readonly<Record<string, (declarations: Declarations) => unknown>> = {
  arg: ({ b }) => b.arg(0),
  kernel: ({ b, kept }) => b.kernel('sock', kept),
  keep: ({ b, number }) => b.keep(number),
  value: ({ b }) => b.value(1),
  stack: ({ b }) => b.stack(u64),
  'stack with a value': ({ b }) => b.stack(u64, 1),
  set: ({ pair }) => pair.set(0),
  'set of a number': ({ number }) => number.set(0),
  as: ({ b, pair }) => b.as(pair, u64),
  global: ({ b }) => b.global(state),
  if: ({ b, number }) => b.if(number.eq(1), () => {}),
  switch: ({ b, number }) => b.switch(number, [[1, () => {}]]),
  block: ({ b }) => b.block(() => {}),
  exit: ({ b }) => b.exit(),
  'exit with a value': ({ b }) => b.exit(1),
  'call of a helper': ({ b }) => b.call(ktimeGetNs),
  'call of a helper that fills memory': ({ b, comm }) => b.call(getCurrentComm, comm),
  'call of a subprogram': ({ b }) => b.call(half, 1),
  tailCall: ({ b }) => b.tailCall(others, 'one'),
  lookup: ({ b }) => b.lookup(table, 1, { found: () => {} }),
  update: ({ b, pair }) => b.update(table, 1, pair),
  delete: ({ b }) => b.delete(table, 1),
  count: ({ b }) => b.count(counts, 1),
  output: ({ b, number }) => b.output(events, number),
  emit: ({ b }) => b.emit(mov(r0, 1)),
  'emit of an exit': ({ b }) => b.emit(exit()),
  assumeWritten: ({ b, pair }) => b.assumeWritten(pair),
  'set of a place': ({ number }) => number.set(2),
  'get of a place': ({ number }) => number.get(),
  atomicAdd: ({ number }) => number.atomicAdd(1),
  'an operator': ({ kept }) => kept.add(1),
  leave: ({ leave }) => leave(),
};

const NEVER = /^unreachable: the block ended at (\S+):(\d+) \((\S+):(\d+)\)$/;

for (const [name, statement] of Object.entries(STATEMENTS))
  test(`refused: ${name}`, () => {
    const message = errorMessage((b) => {
      b.block((leave) => {
        const made = { ...declarations(b), leave };
        b.exit();
        statement(made);
      });
    });
    assert.match(message, NEVER);
    const [, , ended, , line] = NEVER.exec(message) ?? [];
    assert.ok(ended !== line, message);
  });

test('a tracepoint field after the end is refused, too', () => {
  const field = { name: 'a', offset: 8, size: 4, signed: false };
  const formats = [{ category: 'sock', name: 'x', fields: [field] }] as never;
  const error = thrown(() =>
    tracepoint('sock', 'x', { ...target('x64'), formats }, (b) => {
      b.exit();
      b.field('a');
    }),
  );
  assert.match(error.message, NEVER);
});

const ENDS: Readonly<Record<string, (b: Builder, leave: () => void) => void>> = {
  exit: (b) => b.exit(),
  'exit with a value': (b) => b.exit(1),
  leave: (_, leave) => leave(),
  'a raw exit': (b) => b.emit(mov(r0, 1), exit()),
  'a raw jump': (b) => b.emit(ja('exit')),
  'a raw far jump': (b) => b.emit(gotol('exit')),
  'a computed jump': (b) => b.emit(mov(r6, 0), ...jumpThrough(jumpTable('t', ['exit']), r6, r2)),
  'both arms': (b) =>
    b.if(
      b.arg(0).eq(1),
      () => b.exit(),
      () => b.exit(2),
    ),
  'an arm that leaves and one that exits': (b, leave) => b.if(b.arg(0).eq(1), leave, () => b.exit()),
  'all arms of a switch': (b) => b.switch(b.arg(0), [[1, () => b.exit()]], () => b.exit(2)),
  'both arms of a lookup': (b) => b.lookup(table, 1, { found: () => b.exit(), missing: () => b.exit(2) }),
  'a block that ends without leave': (b) => b.block(() => b.exit()),
  'a nested block that leaves this one': (_, leave) => leave(),
};

for (const [name, end] of Object.entries(ENDS))
  for (const [where, wrap] of Object.entries({
    'in the program': (b: Builder, body: (leave: () => void) => void) => b.block(body),
    'in an arm': (b: Builder, body: (leave: () => void) => void) =>
      b.block((leave) => b.if(b.arg(1).eq(1), () => body(leave))),
    'in a second arm': (b: Builder, body: (leave: () => void) => void) =>
      b.block((leave) =>
        b.if(
          b.arg(1).eq(1),
          () => b.exit(),
          () => body(leave),
        ),
      ),
    'in a case': (b: Builder, body: (leave: () => void) => void) =>
      b.block((leave) => b.switch(b.arg(1), [[1, () => body(leave)]])),
    'in a nested block': (b: Builder, body: (leave: () => void) => void) =>
      b.block((leave) => b.block(() => body(leave))),
  }))
    test(`after ${name}, ${where}`, () => {
      assert.match(
        errorMessage((b) =>
          wrap(b, (leave) => {
            end(b, leave);
            b.stack(u64, 1);
          }),
        ),
        NEVER,
      );
    });

test('a statement after the end is refused in subprograms, too', () => {
  const f = subprogram('f', [], (b) => {
    b.return(1);
    b.stack(u64, 1);
  });
  assert.match(
    errorMessage((b) => void b.call(f)),
    NEVER,
  );
});

test('after leave, code behind the block is reachable', () => {
  assert.equal(
    emitted((b) => {
      b.block((leave) => leave());
      b.emit(mov(r6, 1));
    }).slice(0, 1),
    ['r6 = 1'],
  );
});

test('leave() is only valid in its block', () => {
  let escaped = (): void => undefined;
  assert.match(
    errorMessage((b) => {
      b.block((leave) => {
        escaped = leave;
      });
      b.if(b.arg(0).eq(1), escaped);
    }),
    /^leave\(\) was called after the end of the block at \S+:\d+/,
  );
});

test('leave() of a block that threw is refused, too', () => {
  let escaped = (): void => undefined;
  assert.match(
    errorMessage((b) => {
      thrown(() =>
        b.block((leave) => {
          escaped = leave;
          throw new Error('given up');
        }),
      );
      b.if(b.arg(0).eq(1), escaped);
    }),
    /^leave\(\) was called after the end of the block at \S+:\d+/,
  );
});

// --- raw instructions ----------------------------------------------------------------------------------

test('a label after an end is reachable if something jumps to it', () => {
  assert.equal(
    emitted((b) => {
      b.emit(jeq(r1, 0, 'x'));
      b.exit(1);
      b.emit(label('x'));
      b.exit(2);
    }),
    ['if r1 == 0x0 goto x', 'r0 = 1', 'exit', 'x:', 'r0 = 2', 'exit'],
  );
});

test('a label after a computed jump counts as reachable, because the jump may lead anywhere', () => {
  assert.equal(
    emitted((b) => b.emit(ldx(u64, r1, r1, 0), gotox(r1), label('x'), mov(r0, 0), exit())).slice(1, 3),
    ['gotox r1', 'r0 = 0'],
  );
});

test('an arm with one label reference that is not a jump stays unchanged', () => {
  const lines = emitted((b) => {
    b.if(b.arg(0).eq(1), () => b.emit(callSubprogram('f')));
    b.emit(mov(r0, 0), exit(), label('f'), mov(r0, 0), exit());
  });
  assert.ok(lines.includes('call f'), lines.join('; '));
});

test('a label that nothing jumps to, or only its own code, is refused at its line', () => {
  for (const body of [
    (b: Builder) => b.emit(label('x'), mov(r0, 1), exit()),
    (b: Builder) => b.emit(label('x'), ja('x')),
    (b: Builder) => {
      b.emit(label('x'));
      b.stack(u64, 1);
    },
    (b: Builder) => {
      b.emit(label('x'));
      b.exit();
    },
  ])
    assert.match(
      errorMessage((b) => {
        b.exit(1);
        body(b);
      }),
      /^label 'x' is unreachable: nothing jumps to it, and the code before it ends in an exit or jump \(\S+end-of-block\.test\.[jt]s:\d+\)$/,
    );
});

test('unreachable instructions after the last jump of a list are refused', () => {
  for (const items of [
    [mov(r0, 1), exit(), mov(r0, 2)],
    [ja('exit'), mov(r0, 2)],
    [jeq(r1, 0, 'a'), ja('exit'), label('a'), mov(r0, 3), exit(), mov(r0, 2)],
  ])
    assert.match(
      errorMessage((b) => b.emit(...items)),
      NEVER,
    );
});

test('instructions that a jump of the same list skips are removed', () => {
  assert.equal(
    emitted((b) => b.emit(mov(r0, 7), ja('over'), mov(r0, 8), label('over'), exit())),
    ['r0 = 7', 'exit'],
  );
});

test('the common end is omitted if nothing leads to it', () => {
  assert.equal(
    emitted((b) => b.exit(3)),
    ['r0 = 3', 'exit'],
  );
});

test.run();
