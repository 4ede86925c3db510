/** Tail calls through program arrays in the kernel: targets, failed calls, and cleanup. */
import { execFileSync } from 'node:child_process';
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import type { Builder } from '../../src/asm/builder/builder.ts';
import { type PerfEventArraySpec, perfEventArray } from '../../src/asm/events.ts';
import { rawTracepoint, tracepoint } from '../../src/asm/hooks.ts';
import { u32, u64 } from '../../src/asm/layout.ts';
import { array, type MapSpec, programArray } from '../../src/asm/map.ts';
import type { ProgramSpec, Tool } from '../../src/asm/program.ts';
import { subprogram } from '../../src/asm/subprogram.ts';
import { target } from '../../src/asm/target.ts';
import { KernelError, VerifierError } from '../../src/loader/errors.ts';
import { loadProgram } from '../../src/loader/load.ts';
import type { Program } from '../../src/loader/program.ts';
import { Session } from '../../src/loader/session.ts';
import { needsRoot, suite } from '../harness.ts';
import { until } from './connects.ts';
import { exists } from './loaded.ts';
import { cannotRun } from './run-program.ts';
import { here } from './tracer.ts';

const test = suite('live/tail-calls', { seconds: 60 });

const events = perfEventArray('events', u32);
const stages = programArray('stages', { slots: ['double', 'count', 'empty'] });
const counts = array('counts', { value: u64 });

const program = (name: string, body: (b: Builder) => void): ProgramSpec =>
  rawTracepoint('sched_process_exec', target(process.arch), body, { name });

/** Returns twice its first argument. */
const double = program('double', (b) => b.exit(b.arg(0).get().mul(2)));
/** Counts its runs and tail-calls itself. */
const count = program('count', (b) => {
  b.global(counts).atomicAdd(1);
  b.tailCall(stages, 'count');
  b.exit(9);
});
/** Tail-calls the slot in its second argument, and returns 1 if the slot is empty. */
const entry = program('entry', (b) => {
  b.tailCall(stages, b.arg(1));
  b.exit(1);
});

const tool = (
  parts: Partial<Tool<PerfEventArraySpec<typeof u32>>> = {},
): Tool<PerfEventArraySpec<typeof u32>> => ({
  name: 'stages',
  programs: [],
  maps: [counts],
  tailCalled: [{ array: stages, programs: { double, count } }],
  events,
  ...parts,
});

/** Opens a tool while `use` runs; `from` is loaded with it and not attached. */
function withTool<T>(
  use: (session: Session, run: (...args: bigint[]) => number) => T,
  { of = tool(), from = entry }: { of?: Tool<PerfEventArraySpec<typeof u32>>; from?: ProgramSpec } = {},
): T {
  const session = Session.open(of, { kernel: here, onEvent: () => {} });
  try {
    const loaded = session.load(from);
    return use(session, (...args) => runWith(loaded, args));
  } finally {
    session.close();
  }
}

const runWith = (loaded: Program, args: readonly bigint[]): number =>
  loaded.run(new Uint8Array(BigUint64Array.from([...args, 0n, 0n, 0n]).buffer));

test.skipIf(
  cannotRun,
  "a tail call runs the slot's program; if the slot is empty or out of range, the caller continues",
  () => {
    withTool((_, run) => {
      assert.is(run(21n, 0n), 42);
      assert.is(run(21n, 2n), 1);
      assert.is(run(21n, 100n), 1);
    });
  },
);

test.skipIf(cannotRun, 'a tail call may name its slot', () => {
  const from = program('named', (b) => {
    b.keep(b.context);
    b.tailCall(stages, 'empty');
    b.tailCall(stages, 'double');
  });
  withTool((_, run) => assert.is(run(4n), 8), { from });
});

test.skipIf(cannotRun, 'slots can be filled, changed and emptied at run time', () => {
  withTool((session, run) => {
    const array = session.programArray(stages);
    assert.is(array.lookup('empty'), undefined);
    const triple = session.load(program('triple', (b) => b.exit(b.arg(0).get().mul(3))));
    array.update('empty', triple);
    assert.is(array.lookup('empty'), triple.info().id);
    assert.is(run(5n, 2n), 15);
    array.update('double', triple);
    assert.is(run(5n, 0n), 15);
    assert.is(array.delete('double'), true);
    assert.is(array.delete('double'), false);
    assert.is(run(5n, 0n), 1);
  });
});

test.skipIf(cannotRun, 'after 33 tail calls in a row the next one has no effect', () => {
  withTool((session, run) => {
    assert.is(run(0n, 1n), 9);
    assert.is(session.map(counts).lookup(0), 33n);
  });
});

test.skipIf(cannotRun, 'an attached program can tail-call', () => {
  const first = program('first', (b) => b.tailCall(stages, 'count'));
  const session = Session.open(tool({ programs: [first] }), { kernel: here, onEvent: () => {} });
  try {
    execFileSync('/bin/true');
    assert.ok((session.map(counts).lookup(0) as bigint) >= 33n);
    assert.equal(
      session.programs.map(({ spec }) => spec.name),
      ['first'],
    );
  } finally {
    session.close();
  }
});

test.skipIf(
  cannotRun,
  "a subprogram may tail-call a program, which returns to the subprogram's caller",
  () => {
    const onward = subprogram('onward', [], (b) => b.tailCall(stages, 'double'), { context: true });
    const from = program('mixed', (b) => {
      b.exit(b.call(onward).add(1));
    });
    try {
      withTool((_, run) => assert.is(run(20n), 41), { from });
    } catch (error) {
      if (!(error instanceof VerifierError)) throw error;
      assert.match(error.summary.reason, /^tail_calls are not allowed in/);
      assert.match(error.summary.hint ?? '', /compiles it so/);
    }
  },
);

test.skipIf(
  needsRoot,
  'close frees all programs, even those that hold each other through the array',
  async () => {
    let ids: number[] = [];
    withTool((session) => {
      const array = session.programArray(stages);
      const self = session.load(count);
      array.update('empty', self);
      ids = [array.lookup('double'), array.lookup('count'), self.info().id].map(Number);
      assert.ok(ids.every((id) => exists(here, id)));
    });
    await until('the end of the programs', () => !ids.some((id) => exists(here, id)));
  },
);

test.skipIf(
  needsRoot,
  'programs of another type are refused with their names, before the kernel refuses them',
  () => {
    const formats = [{ category: 'sched', name: 'sched_process_exec', fields: [] }];
    const other = tracepoint('sched', 'sched_process_exec', { ...target(process.arch), formats }, () => {}, {
      name: 'other',
    });
    assert.throws(
      () =>
        withTool(() => {}, {
          of: tool({ programs: [count], tailCalled: [{ array: stages, programs: { double: other } }] }),
        }),
      /^program array 'stages': 'count', which uses it, has the type raw_tracepoint, and 'other', which is in slot double, has the type tracepoint; programs that .* \(.*tail-calls\.test\.[jt]s:\d+\)$/,
    );
    withTool((session) => {
      const maps = new Map<MapSpec, never>();
      const loaded = loadProgram(here, other, assemble(other.instructions), maps);
      try {
        assert.throws(
          () => session.programArray(stages).update('double', loaded),
          (error: unknown) =>
            error instanceof KernelError &&
            error.errnoName === 'EINVAL' &&
            /put the program 'other' into slot double of the program array 'stages'.*must have one type/.test(
              error.message,
            ),
        );
      } finally {
        loaded.close();
      }
    });
  },
);

test.run();
