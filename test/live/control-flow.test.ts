/**
 * Random control flow, run by the kernel and compared with a model in JavaScript: nested branches, switches,
 * blocks with early exits, functions, raw jumps and loops.
 */
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { Kernel } from '../../src/loader/kernel.ts';
import { sameOnEveryKernel } from '../harness.ts';
import { ARGUMENTS, anyFlow, compute, write } from './control-flow.ts';
import { propertySuite } from './property-runs.ts';
import { cannotRun, withProgram } from './run-program.ts';

const { test, cases } = propertySuite('live/control-flow', 600);

/**
 * Arguments that reach most paths: the small numbers that conditions and cases compare with, and random ones.
 */
const argument = fc.oneof(
  { weight: 6, arbitrary: fc.bigInt(0n, 4n) },
  { weight: 1, arbitrary: fc.bigInt(0n, 2n ** 64n - 1n) },
);
const inputs = fc.array(fc.array(argument, { minLength: ARGUMENTS, maxLength: ARGUMENTS }), {
  minLength: 8,
  maxLength: 8,
});

// Linux 6.1 refuses a call within a loop: "back-edge from insn 31 to 32".
test.skipIf(cannotRun || sameOnEveryKernel, 'random control flow computes the same as its model', () => {
  const kernel = new Kernel();
  let compared = 0;
  fc.assert(
    fc.property(anyFlow, inputs, (flow, all) => {
      withProgram(
        [],
        write(flow),
        ({ run }) => {
          for (const args of all) {
            compared += 1;
            assert.is(run(...args), compute(flow, args), `for ${args.join(', ')}`);
          }
        },
        kernel,
      );
    }),
    { numRuns: cases, includeErrorInReport: true, verbose: 0 },
  );
  assert.is(compared, 8 * cases);
});

test.run();
