/**
 * Arms and programs of any size: jumps that reach, time that is linear in the number of statements, and deep
 * nesting.
 */
import { execFileSync } from 'node:child_process';
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import type { Builder } from '../../src/asm/builder/builder.ts';
import { jeq, jset, label, lddw, mov } from '../../src/asm/constructors.ts';
import { disassemble } from '../../src/asm/disassemble.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import { u64 } from '../../src/asm/layout.ts';
import { r0, r1 } from '../../src/asm/registers.ts';
import { subprogram } from '../../src/asm/subprogram.ts';
import { sameOnEveryKernel, suite } from '../harness.ts';
import { refusal, x64 } from './built.ts';

const test = suite('asm/size', { seconds: 110 });

const build = (body: (b: Builder) => void) =>
  assemble(rawTracepoint('test', x64, body).instructions).instructions;
const sizeOf = (body: (b: Builder) => void): number => build(body).length;

/** So many slots, by few statements and instructions of two slots each. */
function moves(b: Builder, slots: number): void {
  for (let left = slots / 2; left > 0; left -= 5000)
    b.emit(...Array.from({ length: Math.min(left, 5000) }, (_, n) => lddw(r0, BigInt(n))));
}

/** So many stores, each a statement. */
function stores(b: Builder, count: number): void {
  const slot = b.stack(u64);
  for (let n = 0; n < count; n++) slot.set(n & 0xff);
}

/** The instructions that jump, as text. */
function jumps(body: (b: Builder) => void): string[] {
  return build(body)
    .map(({ instruction }) => disassemble(instruction).slice(5))
    .filter((text) => /goto/.test(text));
}

test('an arm that a jump reaches over costs what it did', () => {
  assert.equal(
    jumps((b) =>
      b.if(
        b.arg(0).eq(1),
        () => moves(b, 32_000),
        () => stores(b, 1),
      ),
    ),
    ['if r0 != 0x1 goto pc+32001', 'goto pc+1'],
  );
});

test('one that is too long is jumped over by an inverted jump and a gotol', () => {
  assert.equal(
    jumps((b) =>
      b.if(
        b.arg(0).eq(1),
        () => moves(b, 33_000),
        () => stores(b, 1),
      ),
    ),
    ['if r0 == 0x1 goto pc+1', 'gotol pc+33001', 'goto pc+1'],
  );
  assert.equal(
    jumps((b) =>
      b.if(
        b.arg(0).eq(1),
        () => stores(b, 1),
        () => moves(b, 33_000),
      ),
    ),
    ['if r0 != 0x1 goto pc+2', 'gotol pc+33000'],
  );
  assert.equal(
    jumps((b) => b.if(b.arg(0).bits(4), () => moves(b, 33_000))),
    ['if r0 & 0x4 goto pc+1', 'gotol pc+33000'].slice(0, 2),
  );
});

test('so are cases, blocks, exits, subprograms and raw jumps', () => {
  const long = (b: Builder) => moves(b, 33_000);
  const bodies: ((b: Builder) => void)[] = [
    (b) =>
      b.switch(b.arg(0), [
        [1, () => long(b)],
        [2, () => stores(b, 1)],
        [3, () => long(b)],
      ]),
    (b) =>
      b.block((leave) => {
        b.if(b.arg(0).eq(1), leave);
        long(b);
      }),
    (b) => {
      b.if(b.arg(0).eq(1), () => b.exit());
      long(b);
    },
    (b) => {
      b.emit(jeq(r1, 0, 'far'), jset(r1, 1, 'far'), mov(r0, 1));
      long(b);
      b.emit(label('far'));
    },
    (b) => {
      const f = subprogram('f', [u64], (inner, value) => {
        inner.if(value.eq(1), () => long(inner));
      });
      b.call(f, 1);
    },
  ];
  for (const body of bodies) assert.ok(jumps(body).some((text) => text.startsWith('gotol')));
});

test('150,000 statements in an arm overflow no stack, in a subprogram neither', () => {
  assert.is(
    sizeOf((b) =>
      b.if(
        b.arg(0).eq(1),
        () => stores(b, 150_000),
        () => stores(b, 1),
      ),
    ),
    150_000 + 7,
  );
  const f = subprogram('f', [], (b) => moves(b, 150_000));
  assert.is(
    sizeOf((b) => void b.call(f)),
    75_000 + 5,
  );
});

/** What is built with so many statements, in a body or by nesting. */
const SHAPES: Readonly<Record<string, (count: number) => (b: Builder) => void>> = {
  'in a row': (count) => (b) => stores(b, count),
  'in an arm': (count) => (b) => b.if(b.arg(0).eq(1), () => stores(b, count)),
  'that are branches': (count) => (b) => {
    const slot = b.stack(u64, 1);
    for (let n = 0; n < count / 2; n++) b.if(slot.eq(n), () => slot.set(2));
  },
  'that exit': (count) => (b) => {
    const slot = b.stack(u64, 1);
    for (let n = 0; n < count / 2; n++) b.if(slot.eq(n), () => b.exit());
  },
  'that call': (count) => {
    const f = subprogram('f', [u64], (b, value) => b.return(value));
    return (b) => {
      for (let n = 0; n < count; n++) b.call(f, n);
    };
  },
  'that are raw': (count) => (b) => {
    for (let n = 0; n < count / 2; n++) b.emit(mov(r0, 1), jeq(r0, 0, `l${n}`), mov(r0, 2), label(`l${n}`));
  },
  'in cases': (count) => (b) => {
    const slot = b.stack(u64, 1);
    b.switch(
      slot,
      Array.from({ length: count / 2 }, (_, n) => [n, () => slot.set(n & 0xff)]),
    );
  },
  'within 200 branches': (count) => (b) => {
    const slot = b.stack(u64, 1);
    const nest = (level: number): void => {
      for (let n = 0; n < count / 200; n++) slot.set(1);
      if (level > 0) b.if(slot.eq(level), () => nest(level - 1));
    };
    nest(200);
  },
};

function timeOf(body: (b: Builder) => void): number {
  const start = performance.now();
  sizeOf(body);
  return performance.now() - start;
}

for (const [name, shape] of Object.entries(SHAPES))
  test.skipIf(
    sameOnEveryKernel,
    `ten times as many statements ${name} take no more than some ten times as long`,
    () => {
      const [few, many] = [1_000, 10_000];
      timeOf(shape(few));
      // The least of several, and much room: quadratic time would be a hundred times as long.
      const ratios = Array.from({ length: 2 }, () => timeOf(shape(many)) / timeOf(shape(few)));
      assert.ok(Math.min(...ratios) < 30, ratios.map((ratio) => ratio.toFixed(1)).join(', '));
    },
  );

test('an overflow says how many blocks there were, and what to do', () => {
  const nest = (b: Builder): void => b.block(() => nest(b));
  assert.match(
    refusal((b) => b.if(b.arg(0).eq(1), () => nest(b))),
    /^\d{3,} blocks within each other take all of JavaScript's stack: node --stack-size=4000 .* \(\S+size\.test\.[jt]s:\d+\)$/,
  );
});

test('branches nest as deep as JavaScript’s own stack allows', () => {
  const nested = (count: number) => (b: Builder) => {
    const slot = b.stack(u64, 1);
    const nest = (level: number): void => {
      if (level === 0) slot.set(2);
      else b.if(slot.eq(level), () => nest(level - 1));
    };
    nest(count);
  };
  assert.is(sizeOf(nested(1500)), 2 * 1500 + 4);
  // As deep as 5,000 with four times the stack that Node gives by default.
  const script = `
    import { rawTracepoint } from ${JSON.stringify(new URL('../../src/asm/hooks.js', import.meta.url).href)};
    import { assemble } from ${JSON.stringify(new URL('../../src/asm/assemble.js', import.meta.url).href)};
    import { u64 } from ${JSON.stringify(new URL('../../src/asm/layout.js', import.meta.url).href)};
    import { target } from ${JSON.stringify(new URL('../../src/asm/target.js', import.meta.url).href)};
    const { instructions } = rawTracepoint('test', target('x64'), (b) => {
      const slot = b.stack(u64, 1);
      const nest = (level) => {
        if (level === 0) slot.set(2);
        else [b.if, b.block, b.switch][level % 3].call(b, ...[
          [slot.eq(level), () => nest(level - 1)],
          [() => nest(level - 1)],
          [slot, [[level, () => nest(level - 1)]]],
        ][level % 3]);
      };
      nest(5000);
    });
    console.log(assemble(instructions).instructions.length);`;
  const options = ['--stack-size=3900', '--input-type=module', '--eval', script];
  assert.ok(Number(execFileSync(process.execPath, options, { encoding: 'utf8' })) > 5000);
});

test.run();
