/** gotox through an instruction array, on kernels that have both. */
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { add, callSubprogram, exit, jgt, label, lddw, ldx, mov } from '../../src/asm/constructors.ts';
import type { Item } from '../../src/asm/instruction.ts';
import { jumpTable, jumpThrough } from '../../src/asm/jump-table.ts';
import { u64 } from '../../src/asm/layout.ts';
import type { ProgramSpec } from '../../src/asm/program.ts';
import { r0, r1, r2, r6, r7 } from '../../src/asm/registers.ts';
import { UnsupportedInstructionError, VerifierError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { loadProgram } from '../../src/loader/load.ts';
import type { Program } from '../../src/loader/program.ts';
import { needsRoot, suite } from '../harness.ts';
import { cannotRun } from './run-program.ts';

const test = suite('live/jump-table');

const kernel = new Kernel();
const attachment = { kind: 'raw_tracepoint', tracepoint: 'sys_enter' } as const;

/**
 * Selects one of three paths by its first argument, 99 for others. The third path selects again by a second
 * table.
 */
function program(highest = 2): ProgramSpec {
  const first = jumpTable('first', ['a', 'b', 'c']);
  const second = jumpTable('second', ['d', 'e']);
  const instructions: Item[] = [
    ldx(u64, r6, r1, 0),
    ldx(u64, r7, r1, 8),
    mov(r0, 99),
    jgt(r6, highest, 'out'),
    ...jumpThrough(first, r6, r2),
    label('a'),
    // Takes two slots, so that labels and slots differ from here on.
    lddw(r0, 10),
    exit(),
    label('b'),
    mov(r0, 20),
    exit(),
    label('c'),
    mov(r0, 30),
    jgt(r7, 1, 'out'),
    ...jumpThrough(second, r7, r2),
    label('d'),
    add(r0, 1),
    exit(),
    label('e'),
    add(r0, 2),
    label('out'),
    exit(),
  ];
  return { name: 'paths', attachment, instructions };
}

const load = (spec: ProgramSpec, debug = false): Program =>
  loadProgram(kernel, spec, assemble(spec.instructions), new Map(), { debug });

const unsupportedError = needsRoot || loadError();

function loadError(): UnsupportedInstructionError | undefined {
  try {
    load(program()).close();
    return undefined;
  } catch (error) {
    if (error instanceof UnsupportedInstructionError) return error;
    throw error;
  }
}

const unsupported = needsRoot || cannotRun || (unsupportedError ? 'this kernel has no gotox' : false);

for (const debug of [false, true])
  test.skipIf(unsupported, `each entry jumps to its label${debug ? ', with debug info too' : ''}`, () => {
    const spec = program();
    // Twice, because the tables belong to the load and not to the spec.
    for (const running of [load(spec, debug), load(spec, debug)]) {
      const run = (...args: bigint[]) => running.run(new Uint8Array(BigUint64Array.from(args).buffer));
      assert.equal(
        [0n, 1n, 3n].map((path) => run(path, 0n)),
        [10, 20, 99],
      );
      assert.equal(
        [0n, 1n, 2n].map((path) => run(2n, path)),
        [31, 32, 30],
      );
      running.close();
    }
  });

test.skipIf(unsupported, 'two subprograms use one table, each with its own labels', () => {
  const table = jumpTable('shared', ['a', 'b']);
  const half = (name: string, first: number) => ({
    name,
    instructions: [
      ...[mov(r0, 0), jgt(r1, 1, 'out'), ...jumpThrough(table, r1, r2)],
      ...[label('a'), mov(r0, first), exit()],
      ...[label('b'), mov(r0, first + 1), label('out'), exit()],
    ],
  });
  const instructions: Item[] = [
    ...[ldx(u64, r7, r1, 0), mov(r1, r7), callSubprogram(half('low', 1)), mov(r6, r0)],
    ...[mov(r1, r7), callSubprogram(half('high', 10)), add(r0, r6), exit()],
  ];
  const running = load({ name: 'shared', attachment, instructions });
  const run = (path: bigint) => running.run(new Uint8Array(BigUint64Array.of(path).buffer));
  assert.equal([run(0n), run(1n), run(2n)], [11, 13, 0]);
  running.close();
});

test.skipIf(unsupported, 'an index that may exceed the table is refused', () => {
  assert.throws(
    () => load(program(3)),
    (error: unknown) => error instanceof VerifierError,
  );
});

test.skipIf(
  needsRoot || (unsupportedError ? false : 'this kernel has gotox'),
  'a kernel without gotox is reported with the instruction and its first kernel',
  () => {
    assert.instance(unsupportedError, UnsupportedInstructionError);
    assert.match(
      (unsupportedError as UnsupportedInstructionError).message,
      /^this kernel has no instruction 'gotox r2' \(Linux 6\.19 and later\): program 'paths', slot 9$/,
    );
  },
);

test.run();
