/** Subprograms, run by the kernel: what they are given, what they return, and what the kernel is told of them. */
import { execFileSync, spawnSync } from 'node:child_process';
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import type { Builder } from '../../src/asm/builder/builder.ts';
import { add, callSubprogram, exit, jeq, label, mov } from '../../src/asm/constructors.ts';
import { getCurrentComm, ktimeGetNs } from '../../src/asm/helpers.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import type { Subprogram } from '../../src/asm/instruction.ts';
import { bytes, chars, s64, struct, u32, u64 } from '../../src/asm/layout.ts';
import { arrayMap, hash, type MapSpec } from '../../src/asm/map.ts';
import { r0, r1 } from '../../src/asm/registers.ts';
import { subprogram } from '../../src/asm/subprogram.ts';
import { target } from '../../src/asm/target.ts';
import { KernelError, VerifierError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { BpfMap } from '../../src/loader/map.ts';
import { loadProgram, type Program } from '../../src/loader/program.ts';
import { allOrNothing } from '../../src/loader/resources.ts';
import { renderVerifierError } from '../../src/loader/verifier-report.ts';
import { needsRoot, suite } from '../harness.ts';

const test = suite('live/subprograms', { seconds: 60 });

const kernel = needsRoot ? undefined : new Kernel();
const cannotRun = needsRoot || (runs() ? false : 'this kernel runs no raw tracepoint program for tests');
const noBpftool = needsRoot || (spawnSync('bpftool', ['version']).status !== 0 && 'needs bpftool');

function runs(): boolean {
  try {
    return returned((b) => b.exit(7)) === 7;
  } catch (error) {
    if (error instanceof KernelError) return false;
    throw error;
  }
}

/** Loads a program with its maps for as long as `use` takes. */
function withProgram<T>(
  body: (b: Builder) => void,
  maps: readonly MapSpec[],
  use: (program: Program, map: (spec: MapSpec) => BpfMap) => T,
  debug = false,
): T {
  const on = kernel as Kernel;
  return allOrNothing((resources) => {
    const open = new Map(maps.map((spec) => [spec, resources.add(BpfMap.create(on, spec))]));
    const spec = rawTracepoint('sys_enter', target(process.arch, on.btf), body, { name: 'main' });
    const program = resources.add(loadProgram(on, spec, assemble(spec.instructions), open, { debug }));
    const result = use(program, (map) => open.get(map) as BpfMap);
    resources.close();
    return result;
  });
}

/** What a program returns when it is given these arguments. */
function returned(body: (b: Builder) => void, args: readonly bigint[] = [], maps: MapSpec[] = []): number {
  const context = new Uint8Array(BigUint64Array.from([...args, 0n, 0n, 0n, 0n]).buffer);
  return withProgram(body, maps, (program) => program.run(context));
}

const mix = subprogram('mix', [u64, u64], (b, x, y) => b.return(x.mul(10).add(y)));

test.skipIf(cannotRun, 'it is called from several places, with what is kept surviving', () => {
  const result = returned(
    (b) => {
      const second = b.keep(b.arg(1));
      const first = b.keep(b.call(mix, b.arg(0), second));
      b.exit(b.call(mix, first, 7).add(second));
    },
    [1n, 2n],
  );
  assert.is(result, 127 + 2);
});

test.skipIf(cannotRun, 'it calls others, each with registers of its own', () => {
  const outer = subprogram('outer', [u64, u64, u64, u64, u64], (b, v, w, x, y, z) => {
    const kept = [b.keep(x), b.keep(y), b.keep(z)] as const;
    const sum = b.keep(b.call(mix, v, w));
    for (const each of kept) {
      const next = b.call(mix, sum, each);
      sum.and(0).add(next);
    }
    b.return(sum);
  });
  const result = returned((b) => {
    const kept = b.keep(b.value(5));
    b.exit(b.call(outer, 1, 2, 3, 4, kept).add(kept));
  });
  assert.is(result, 12345 + 5);
});

test.skipIf(cannotRun, 'signed numbers keep their sign, and a way without a value returns 0', () => {
  const sign = subprogram('sign', [s64], (b, x) => {
    b.if(x.lt(0), () => b.return(-1));
    b.if(x.gt(0), () => b.return(1));
  });
  const of = (number: bigint) =>
    returned((b) => b.exit(b.call(sign, b.arg(0))), [BigInt.asUintN(64, number)]);
  assert.equal([-5n, 0n, 5n].map(of), [0xffff_ffff, 0, 1]);
});

const Entry = struct({ at: u64, kind: u32, comm: chars(16) });

test.skipIf(cannotRun, 'it reads and writes memory of its caller\u2019s stack', () => {
  const fill = subprogram('fill', [Entry, u32], (b, entry, kind) => {
    const kept = b.keep(entry);
    entry.kind.set(kind);
    kept.at.set(b.call(ktimeGetNs));
    b.call(getCurrentComm, kept.comm);
  });
  const table = hash('table', { key: u32, value: Entry, maxEntries: 1 });
  withProgram(
    (b) => {
      const entry = b.stack(Entry);
      b.set(entry, 0);
      b.call(fill, entry, 9);
      b.update(table, 1, entry);
    },
    [table],
    (program, map) => {
      program.run(new Uint8Array(8));
      const { at, kind, comm } = map(table).lookup(1) as { at: bigint; kind: number; comm: string };
      assert.ok(at > 0n);
      assert.is(kind, 9);
      assert.ok(process.title.startsWith(comm) || comm.length > 0);
    },
  );
});

test.skipIf(cannotRun, 'and of a map\u2019s value, by way of two frames', () => {
  const totals = arrayMap('totals', { value: struct({ calls: u64, sum: u64 }), maxEntries: 2 });
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
    (b) => {
      b.call(count, 0, 5);
      b.call(count, 0, 6);
      b.exit(b.call(count, 7, 1));
    },
    [totals],
    (program, map) => {
      assert.is(program.run(new Uint8Array(8)), 1);
      assert.equal(map(totals).lookup(0), { calls: 2n, sum: 11n });
    },
  );
});

test.skipIf(cannotRun, 'with the context it has the hook\u2019s arguments', () => {
  const second = subprogram('second', [u64], (b, x) => b.return(x.add(b.arg(1))), { context: true });
  assert.is(
    returned((b) => b.exit(b.call(second, b.arg(0))), [30n, 12n]),
    42,
  );
});

test.skipIf(cannotRun, 'eight frames, and 512 bytes of stack in them, are what the kernel takes', () => {
  const level = (depth: number): ReturnType<typeof subprogram<[typeof u64]>> =>
    subprogram(`level${depth}`, [u64], (b, x) => {
      const kept = b.keep(x);
      b.set(b.stack(bytes(64)), 0);
      b.return(depth > 1 ? b.call(level(depth - 1), kept).add(kept) : kept);
    });
  const result = returned((b) => {
    b.set(b.stack(bytes(64)), 0);
    b.exit(b.call(level(7), 6));
  });
  assert.is(result, 42);
});

test.skipIf(
  cannotRun,
  'more than that is taken where each has a stack of its own, and else refused at the program’s line',
  () => {
    const large = subprogram('large', [], (b) => b.set(b.stack(bytes(300)), 0));
    try {
      returned((b) => {
        b.set(b.stack(bytes(300)), 0);
        b.call(large);
      });
    } catch (error) {
      assert.instance(error, VerifierError);
      const { message, summary } = error as VerifierError;
      assert.match(summary.reason, /^combined stack size of 2 calls is 640/);
      // Where the program itself ends, which is the line that has it made: of `withProgram`, above.
      assert.match(message, /subprograms\.test\.[jt]s:\d+\)$/);
      assert.match(renderVerifierError(error as VerifierError), /share 512 bytes of stack/);
    }
  },
);

test.skipIf(cannotRun, 'plain instructions call one in a list of their own', () => {
  const half: Subprogram = {
    name: 'half',
    instructions: [mov(r0, 1), jeq(r1, 0, 'out'), mov(r0, r1), label('out'), exit()],
  };
  assert.is(
    returned((b) =>
      b.emit(mov(r1, 0), callSubprogram(half), mov(r1, r0), callSubprogram(half), add(r0, 4), exit()),
    ),
    5,
  );
});

test.skipIf(cannotRun || noBpftool, 'bpftool shows each by its name, with its own lines', () => {
  const outer = subprogram('outer', [u64], (b, x) => b.return(b.call(mix, x, 2)));
  withProgram(
    (b) => {
      b.call(outer, 1);
    },
    [],
    (program) => {
      const dump = execFileSync(
        'bpftool',
        ['prog', 'dump', 'xlated', 'id', String(program.info().id), 'linum'],
        {
          encoding: 'utf8',
        },
      );
      const names = [...dump.matchAll(/^int (\w+)\(/gm)].map(([, name]) => name);
      assert.equal(names, ['main', 'outer', 'mix']);
      assert.match(dump, /const mix = subprogram\('mix'.*subprograms\.test\.ts line_num:\d+/);
      assert.match(dump, /call pc\+\d+/);
    },
    true,
  );
});

test.run();
