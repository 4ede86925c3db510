/** Subprograms, run by the kernel: arguments, return values, and debug info. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import type { Builder } from '../../src/asm/builder/builder.ts';
import { add, callSubprogram, exit, jeq, label, mov } from '../../src/asm/constructors.ts';
import { forEachMapElem, getCurrentComm, ktimeGetNs, loop } from '../../src/asm/helpers.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import type { SubprogramCode } from '../../src/asm/instruction.ts';
import { bytes, chars, s32, s64, struct, u32, u64 } from '../../src/asm/layout.ts';
import { array, hash } from '../../src/asm/map.ts';
import { r0, r1 } from '../../src/asm/registers.ts';
import { subprogram } from '../../src/asm/subprogram.ts';
import { target } from '../../src/asm/target.ts';
import { UnsupportedInstructionError, VerifierError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { loadProgram } from '../../src/loader/load.ts';
import { renderVerifierError } from '../../src/loader/verifier/report.ts';
import { needsRoot, suite } from '../harness.ts';
import { cannotRun, withProgram } from './run-program.ts';

const test = suite('live/subprograms', { seconds: 60 });

const noBpftool = needsRoot || (spawnSync('bpftool', ['version']).status !== 0 && 'needs bpftool');

/** The result of a program run with these arguments. */
function resultOf(body: (b: Builder) => void, args: readonly bigint[] = []): number {
  return withProgram([], body, ({ run }) => run(...args));
}

const mix = subprogram('mix', [u64, u64], (b, x, y) => b.return(x.mul(10).add(y)));

test.skipIf(cannotRun, 'a subprogram can be called from several places; kept values survive', () => {
  const result = resultOf(
    (b) => {
      const second = b.keep(b.arg(1).as(u64));
      const first = b.keep(b.call(mix, b.arg(0), second));
      b.exit(b.call(mix, first, 7).add(second));
    },
    [1n, 2n],
  );
  assert.is(result, 127 + 2);
});

test.skipIf(cannotRun, 'subprograms call subprograms, each with its own registers', () => {
  const outer = subprogram('outer', [u64, u64, u64, u64, u64], (b, v, w, x, y, z) => {
    const kept = [b.keep(x), b.keep(y), b.keep(z)] as const;
    const sum = b.keep(b.call(mix, v, w));
    for (const each of kept) {
      const next = b.call(mix, sum, each);
      sum.andAssign(0);
      sum.addAssign(next);
    }
    b.return(sum);
  });
  const result = resultOf((b) => {
    const kept = b.keep(b.value(5));
    b.exit(b.call(outer, 1, 2, 3, 4, kept).add(kept));
  });
  assert.is(result, 12345 + 5);
});

test.skipIf(cannotRun, 'signed numbers keep their sign, and a path without b.return returns 0', () => {
  const sign = subprogram(
    'sign',
    [s64],
    (b, x) => {
      b.if(x.lt(0), () => b.return(-1));
      b.if(x.gt(0), () => b.return(1));
    },
    { returns: s32 },
  );
  const of = (number: bigint) =>
    resultOf((b) => b.exit(b.call(sign, b.arg(0).as(s64))), [BigInt.asUintN(64, number)]);
  assert.equal([-5n, 0n, 5n].map(of), [0xffff_ffff, 0, 1]);
});

const Entry = struct({ at: u64, kind: u32, comm: chars(16) });

test.skipIf(cannotRun, "a subprogram reads and writes memory of its caller's stack", () => {
  const fill = subprogram('fill', [Entry, u32], (b, entry, kind) => {
    const kept = b.keep(entry);
    entry.kind.set(kind);
    kept.at.set(b.call(ktimeGetNs));
    b.call(getCurrentComm, kept.comm);
  });
  const table = hash('table', { key: u32, value: Entry, maxEntries: 1 });
  withProgram(
    [table],
    (b) => {
      const entry = b.stack(Entry);
      entry.set(0);
      b.call(fill, entry, 9);
      b.update(table, 1, entry);
    },
    ({ run, map }) => {
      run();
      const entry = map(table).lookup(1);
      assert.ok(entry && entry.at > 0n);
      assert.is(entry.kind, 9);
      assert.is(entry.comm, readFileSync('/proc/thread-self/comm', 'utf8').trimEnd());
    },
  );
});

test.skipIf(cannotRun, 'a subprogram reads and writes a map value, across two frames', () => {
  const totals = array('totals', { value: struct({ calls: u64, sum: u64 }), maxEntries: 2 });
  const addTo = subprogram('add_to', [totals.value, u64], (_, total, x) => {
    total.calls.atomicAdd(1);
    total.sum.atomicAdd(x);
  });
  const count = subprogram('count', [u32, u64], (b, slot, x) => {
    const amount = b.keep(x);
    b.lookup(totals, slot, {
      found: (total) => void b.call(addTo, total, amount),
      missing: () => b.return(1),
    });
  });
  withProgram(
    [totals],
    (b) => {
      b.call(count, 0, 5);
      b.call(count, 0, 6);
      b.exit(b.call(count, 7, 1));
    },
    ({ run, map }) => {
      assert.is(run(), 1);
      assert.equal(map(totals).lookup(0), { calls: 2n, sum: 11n });
    },
  );
});

test.skipIf(cannotRun, "a subprogram with the context reads the hook's arguments", () => {
  const second = subprogram('second', [u64], (b, x) => b.return(x.add(b.arg(1))), { context: true });
  assert.is(
    resultOf((b) => b.exit(b.call(second, b.arg(0))), [30n, 12n]),
    42,
  );
});

test.skipIf(cannotRun, 'eight frames and 512 bytes of stack work', () => {
  const level = (depth: number): ReturnType<typeof subprogram<[typeof u64]>> =>
    subprogram(`level${depth}`, [u64], (b, x) => {
      const kept = b.keep(x);
      b.stack(bytes(64)).set(0);
      b.return(depth > 1 ? b.call(level(depth - 1), kept).add(kept) : kept);
    });
  const result = resultOf((b) => {
    b.stack(bytes(64)).set(0);
    b.exit(b.call(level(7), 6));
  });
  assert.is(result, 42);
});

test.skipIf(
  cannotRun,
  'more stack works if frames have their own stacks, and else the error names the source line',
  () => {
    const large = subprogram('large', [], (b) => b.stack(bytes(300)).set(0));
    try {
      resultOf((b) => {
        b.stack(bytes(300)).set(0);
        b.call(large);
      });
    } catch (error) {
      assert.instance(error, VerifierError);
      const { message, summary } = error as VerifierError;
      assert.match(summary.reason, /^combined stack size of 2 calls is (640|608)/);
      // The position of the program's end is the line that builds it, in `withProgram`.
      assert.match(message, /run-program\.[jt]s:\d+\)$/);
      assert.match(renderVerifierError(error as VerifierError), /share 512 bytes of stack/);
    }
  },
);

test.skipIf(cannotRun, 'raw instructions call a subprogram given as an instruction list', () => {
  const half: SubprogramCode = {
    name: 'half',
    instructions: [mov(r0, 1), jeq(r1, 0, 'out'), mov(r0, r1), label('out'), exit()],
  };
  assert.is(
    resultOf((b) =>
      b.emit(mov(r1, 0), callSubprogram(half), mov(r1, r0), callSubprogram(half), add(r0, 4), exit()),
    ),
    5,
  );
});

test.skipIf(cannotRun || noBpftool, 'bpftool shows subprograms by name, with their source lines', () => {
  const outer = subprogram('outer', [u64], (b, x) => b.return(b.call(mix, x, 2)));
  const body = (b: Builder) => void b.call(outer, 1);
  const { instructions, ...spec } = rawTracepoint('sys_enter', target(process.arch), body, { name: 'main' });
  const kernel = new Kernel();
  const program = loadProgram(kernel, { ...spec, instructions }, assemble(instructions), new Map(), {
    debug: true,
  });
  try {
    const id = String(program.info().id);
    const dump = execFileSync('bpftool', ['prog', 'dump', 'xlated', 'id', id, 'linum'], { encoding: 'utf8' });
    const names = [...dump.matchAll(/^int (\w+)\(/gm)].map(([, name]) => name);
    assert.equal(names, ['main', 'outer', 'mix']);
    assert.match(dump, /const mix = subprogram\('mix'.*subprograms\.test\.ts line_num:\d+/);
    assert.match(dump, /call pc\+\d+/);
  } finally {
    program.close();
  }
});

// --- callbacks of helpers ---------------------------------------------------------------------------

const Sum = struct({ sum: u64, calls: u64 });

/** Why the kernel cannot run a helper with a callback, or false; `example` tries it. */
function unsupported(helper: string, example: () => void): string | false {
  if (cannotRun) return cannotRun;
  try {
    example();
    return false;
  } catch (error) {
    if (error instanceof VerifierError && /invalid func unknown|unknown func/.test(error.summary.reason))
      return `this kernel has no ${helper}`;
    if (error instanceof UnsupportedInstructionError) return `this kernel has no ${error.feature}`;
    throw error;
  }
}

const nothing = subprogram('nothing', [u32, u64], (b) => b.return(1));
const noLoop = unsupported('bpf_loop', () => resultOf((b) => void b.call(loop, 1, nothing, 0, 0)));

test.skipIf(noLoop, 'bpf_loop calls a subprogram until it returns 1, with a pointer to the stack', () => {
  const addUp = subprogram('add_up', [u32, Sum], (b, index, state) => {
    b.if(index.eq(8), () => b.return(1));
    state.sum.set(state.sum.get().add(index));
  });
  const twice = (b: Builder) => {
    const state = b.stack(Sum);
    state.set(0);
    state.calls.set(b.call(loop, 5, addUp, state, 0).as(u64));
    state.calls.set(b.call(loop, 1000, addUp, state, 0).as(u64).add(state.calls));
    b.exit(state.sum.get().mul(100).add(state.calls));
  };
  assert.is(resultOf(twice), (10 + 28) * 100 + 5 + 9);
});

const Key = struct({ key: u32 });
const table = hash('table', { key: Key, value: struct({ n: u64 }), maxEntries: 8 });
const visit = subprogram('visit', [u64, Key, table.value, Sum], (_, _map, key, value, state) => {
  state.sum.atomicAdd(value.n);
  state.calls.atomicAdd(key.key);
});
const sumUp = (b: Builder) => {
  const state = b.stack(Sum);
  state.set(0);
  b.call(forEachMapElem, table, visit, state, 0);
  b.exit(state.sum.get().mul(100).add(state.calls));
};
const noVisits = unsupported('bpf_for_each_map_elem', () => withProgram([table], sumUp, () => {}));

test.skipIf(noVisits, 'bpf_for_each_map_elem calls a subprogram for each map entry', () => {
  withProgram([table], sumUp, ({ run, map }) => {
    map(table).update({ key: 3 }, { n: 10n });
    map(table).update({ key: 4 }, { n: 20n });
    assert.is(run(), 3007);
  });
});

test.skipIf(noLoop, "an error in a callback has the verifier's reason and the callback's line", () => {
  const wrong = subprogram('wrong', [u32, u64], (b) => b.return(7));
  try {
    resultOf((b) => void b.call(loop, 1, wrong, 0, 0));
    assert.unreachable();
  } catch (error) {
    assert.instance(error, VerifierError);
    assert.match((error as VerifierError).summary.reason, /R0 has/);
    assert.match((error as VerifierError).message, /subprograms\.test\.[jt]s:\d+\)$/);
  }
});

test.run();
