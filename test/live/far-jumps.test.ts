/** Jumps past 16 bits (gotol, Linux 6.6), run by the kernel: every path computes the expected number. */
import * as assert from 'uvu/assert';
import type { Builder } from '../../src/asm/builder/builder.ts';
import type { Place } from '../../src/asm/builder/place.ts';
import { add, gotol, ja, jeq, jset, label, lddw, ldx, mov } from '../../src/asm/constructors.ts';
import type { Form } from '../../src/asm/isa.ts';
import { formOf } from '../../src/asm/isa.ts';
import { u64 } from '../../src/asm/layout.ts';
import { r0, r2, r6, r9 } from '../../src/asm/registers.ts';
import { subprogram } from '../../src/asm/subprogram.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { knowsForm } from '../../src/loader/load/instruction-probe.ts';
import { inGuest, suite } from '../harness.ts';
import { cannotRun, withProgram } from './run-program.ts';

const test = suite('live/far-jumps', { seconds: 120 });

const unsupported =
  cannotRun || (knowsForm(new Kernel(), formOf(gotol(1)) as Form) ? false : 'this kernel has no gotol');

/** 34,000 slots without effect. */
function long(b: Builder): void {
  for (let n = 0; n < 17; n++) b.emit(...Array.from({ length: 1000 }, (_, i) => lddw(r2, BigInt(i))));
}

/** The final number on the stack, for each first argument. */
function results(args: readonly bigint[], body: (b: Builder, number: Place) => void): number[] {
  return withProgram(
    [],
    (b) => {
      b.keep(b.context);
      const number = b.stack(u64, 1) as Place;
      body(b, number);
      b.exit(number.get());
    },
    ({ run }) => args.map((each) => run(each)),
  );
}

test.skipIf(unsupported, 'the first arm, the second arm or both may be long', () => {
  for (const [first, second] of [
    [true, false],
    [false, true],
    [true, true],
  ] as const)
    assert.equal(
      results([0n, 1n, 2n], (b, number) =>
        b.if(
          b.arg(0).eq(1),
          () => {
            if (first) long(b);
            number.set(10);
          },
          () => {
            if (second) long(b);
            number.set(20);
          },
        ),
      ),
      [20, 10, 20],
    );
});

test.skipIf(unsupported, 'every comparison works, with one arm and with two', () => {
  const comparisons = ['eq', 'ne', 'gt', 'ge', 'lt', 'le', 'bits'] as const;
  const expected = {
    eq: [0, 0, 1, 0],
    ne: [1, 1, 0, 1],
    gt: [0, 0, 0, 1],
    ge: [0, 0, 1, 1],
    lt: [1, 1, 0, 0],
    le: [1, 1, 1, 0],
    bits: [0, 0, 1, 1],
  };
  for (const comparison of comparisons) {
    const arm = (b: Builder, number: Place, value: number) => () => {
      // A guest takes seconds to verify a long arm, and has run a long second arm above.
      if (value === 1 || !inGuest) long(b);
      number.set(value);
    };
    assert.equal(
      results([0n, 1n, 2n, 3n], (b, number) => {
        number.set(0);
        b.if(b.arg(0)[comparison](2), arm(b, number, 1));
      }),
      expected[comparison],
      comparison,
    );
    assert.equal(
      results([0n, 1n, 2n, 3n], (b, number) => {
        const condition = b.arg(0)[comparison](2);
        b.if(condition, arm(b, number, 1), arm(b, number, 0));
      }),
      expected[comparison],
      `${comparison} with two arms`,
    );
  }
});

test.skipIf(unsupported, 'long switch cases, blocks, early exits and subprograms work', () => {
  assert.equal(
    results([0n, 1n, 2n, 3n, 4n], (b, number) =>
      b.switch(
        b.arg(0),
        [1, 2, 3].map((constant) => [
          constant,
          () => {
            long(b);
            number.set(constant * 10);
          },
        ]),
        () => number.set(7),
      ),
    ),
    [7, 10, 20, 30, 7],
  );
  assert.equal(
    results([0n, 1n, 2n], (b, number) => {
      b.block((leave) => {
        b.if(b.arg(0).eq(1), leave);
        b.if(b.arg(0).eq(2), () => b.exit(9));
        long(b);
        number.set(5);
      });
      number.set(number.get().add(1));
    }),
    [6, 2, 9],
  );
  const f = subprogram('f', [u64], (b, value) => {
    const kept = b.keep(value);
    b.if(kept.eq(1), () => {
      long(b);
      b.return(11);
    });
    b.return(12);
  });
  assert.equal(
    results([0n, 1n], (b, number) => number.set(b.call(f, b.arg(0)))),
    [12, 11],
  );
});

test.skipIf(unsupported, 'raw jumps reach far labels, forward and back', () => {
  assert.equal(
    results([0n, 1n, 2n, 3n], (b, number) => {
      b.emit(ldx(u64, r0, r6, 0), jeq(r0, 1, 'far'), jset(r0, 2, 'far'));
      long(b);
      number.set(5);
      b.emit(label('far'));
      number.set(number.get().add(1));
    }),
    [6, 2, 2, 2],
  );
  assert.equal(
    results([0n], (b, number) => {
      b.emit(mov(r9, 0), label('top'));
      long(b);
      number.set(number.get().add(1));
      b.emit(add(r9, 1), jeq(r9, 3, 'out'), ja('top'), label('out'));
    }),
    [4],
  );
});

test.run();
