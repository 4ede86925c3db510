/** Arguments past the fifth, which are passed on the stack (Linux 7.2). */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import {
  add,
  callSubprogram,
  exit,
  ldx,
  loadArgument,
  mov,
  st,
  storeArgument,
} from '../../src/asm/constructors.ts';
import type { Item, SubprogramCode } from '../../src/asm/instruction.ts';
import { u64 } from '../../src/asm/layout.ts';
import { r0, r1, r2, r3, r6, r10 } from '../../src/asm/registers.ts';
import { UnsupportedInstructionError, VerifierError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { loadProgram } from '../../src/loader/load.ts';
import type { Program } from '../../src/loader/program.ts';
import { needsRoot, suite } from '../harness.ts';
import { isReleased } from './release.ts';
import { cannotRun } from './run-program.ts';

const test = suite('live/stack-arguments');

const attachment = { kind: 'raw_tracepoint', tracepoint: 'sys_enter' } as const;

function load(instructions: readonly Item[], debug = false): Program {
  const spec = { name: 'main', attachment, instructions };
  return loadProgram(new Kernel(), spec, assemble(instructions), new Map(), { debug });
}

/** Loads and runs the program, and returns its result. */
function resultOf(instructions: readonly Item[], debug = false): number {
  const program = load(instructions, debug);
  try {
    return program.run(new Uint8Array(BigUint64Array.of(5n, 0n, 0n, 0n, 0n).buffer));
  } finally {
    program.close();
  }
}

const sum: SubprogramCode = {
  name: 'sum',
  instructions: [loadArgument(r0, 6), loadArgument(r2, 7), add(r0, r2), exit()],
};
const callSum = [storeArgument(6, 40), mov(r0, 2), storeArgument(7, r0), callSubprogram(sum), exit()];

const unsupported = cannotRun || (isReleased('7.2') ? false : 'this kernel has no stack arguments');

for (const debug of [false, true])
  test.skipIf(
    unsupported,
    `stack arguments reach a subprogram${debug ? ', with debug info too' : ''}`,
    () => {
      assert.is(resultOf(callSum, debug), 42);
    },
  );

test.skipIf(unsupported, 'stack arguments have 64 bits, go up to the twelfth, and can be passed on', () => {
  const last: SubprogramCode = { name: 'last', instructions: [loadArgument(r0, 12), add(r0, 2), exit()] };
  const middle: SubprogramCode = {
    name: 'middle',
    instructions: [
      loadArgument(r6, 6),
      ...[6, 7, 8, 9, 10, 11].map((n) => storeArgument(n, 0)),
      storeArgument(12, r6),
      ...[callSubprogram(last), add(r0, r6), exit()],
    ],
  };
  assert.is(resultOf([mov(r0, -1), storeArgument(6, r0), callSubprogram(middle), exit()]), 0);
});

test.skipIf(unsupported, 'stack arguments may be pointers that the verifier tracks', () => {
  const both: SubprogramCode = {
    name: 'both',
    instructions: [
      ...[loadArgument(r2, 6), ldx(u64, r0, r2, 0), ldx(u64, r3, r1, 0), add(r0, r3)],
      ...[loadArgument(r2, 7), ldx(u64, r3, r2, 0), add(r0, r3), exit()],
    ],
  };
  const program = [
    storeArgument(7, r1),
    ...[st(u64, r10, -8, 30), st(u64, r10, -16, 7)],
    ...[mov(r1, r10), add(r1, -8), mov(r2, r10), add(r2, -16), storeArgument(6, r2)],
    ...[callSubprogram(both), exit()],
  ];
  assert.is(resultOf(program), 30 + 7 + 5);
});

test.skipIf(unsupported, 'missing and unread stack arguments are refused with a hint', () => {
  const hintOf = (program: readonly Item[]): string | undefined => {
    try {
      load(program).close();
    } catch (error) {
      if (error instanceof VerifierError) return error.summary.hint;
      throw error;
    }
    return 'the verifier accepted the program';
  };
  assert.match(hintOf(callSum.slice(1)) ?? '', /store all that the subprogram reads before each call/);
  assert.match(hintOf([storeArgument(8, 1), ...callSum]) ?? '', /as many stack arguments as it reads/);
});

const COMMAND = fileURLToPath(new URL('../../../dist/tsbpf.cjs', import.meta.url));

test.skipIf(unsupported, "tsbpf dump shows stack arguments in the function's signature", () => {
  const program = load(callSum);
  const id = String(program.info().id);
  const shown = execFileSync(process.execPath, [COMMAND, 'dump', id], { encoding: 'utf8' });
  program.close();
  const parameters = [1, 2, 3, 4, 5, 6, 7].map((n) => `u64 arg${n}`).join(', ');
  assert.match(shown, /^int main\(\):$/m);
  assert.ok(shown.includes(`\nint sum(${parameters}):\n`), shown);
});

test.skipIf(
  needsRoot || (unsupported ? false : 'this kernel has stack arguments'),
  'on older kernels the error names the instruction and its first kernel',
  () => {
    assert.throws(
      () => load(callSum),
      (error: unknown) => {
        assert.instance(error, UnsupportedInstructionError);
        assert.match(
          (error as Error).message,
          /^this kernel has no instruction '\*\(u64 \*\)\(r11 -8\) = 40' \(Linux 7\.2 and later\)/,
        );
        return true;
      },
    );
  },
);

test.run();
