/** Arms and programs of any size: jumps in reach, linear time, and deep nesting. */
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
import { errorMessage, x64 } from './built.ts';

const test = suite('asm/size', { seconds: 110 });

const build = (body: (b: Builder) => void) =>
  assemble(rawTracepoint('test', x64, body).instructions).instructions;
const sizeOf = (body: (b: Builder) => void): number => build(body).length;

/** Emits this number of slots with few statements. */
function moves(b: Builder, slots: number): void {
  for (let left = slots / 2; left > 0; left -= 5000)
    b.emit(...Array.from({ length: Math.min(left, 5000) }, (_, n) => lddw(r0, BigInt(n))));
}

/** Emits this number of stores, each a statement. */
function stores(b: Builder, count: number): void {
  const slot = b.stack(u64);
  for (let n = 0; n < count; n++) slot.set(n & 0xff);
}

/** The texts of the jumps. */
function jumps(body: (b: Builder) => void): string[] {
  return build(body)
    .map(({ instruction }) => disassemble(instruction).slice(5))
    .filter((text) => /goto/.test(text));
}

test('an arm within reach of a jump needs no extra instruction', () => {
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

test('a too long arm is skipped by an inverted jump and a gotol', () => {
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

test('long cases, blocks, exits, subprograms and raw jumps work alike', () => {
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

test('150,000 statements in an arm do not overflow the stack, nor in a subprogram', () => {
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

/** Programs with a number of statements, by their structure. */
const STRUCTURES: Readonly<Record<string, (count: number) => (b: Builder) => void>> = {
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

for (const [name, structure] of Object.entries(STRUCTURES))
  test.skipIf(sameOnEveryKernel, `statements ${name} take linear time`, () => {
    const [few, many] = [1_000, 10_000];
    timeOf(structure(few));
    // The minimum of several ratios, with a large margin: quadratic time would give a ratio of 100.
    const ratios = Array.from({ length: 2 }, () => timeOf(structure(many)) / timeOf(structure(few)));
    assert.ok(Math.min(...ratios) < 30, ratios.map((ratio) => ratio.toFixed(1)).join(', '));
  });

test('a stack overflow names the number of blocks and the remedy', () => {
  const nest = (b: Builder): void => b.block(() => nest(b));
  assert.match(
    errorMessage((b) => b.if(b.arg(0).eq(1), () => nest(b))),
    /^\d{3,} nested blocks overflow the JavaScript stack: run node with --stack-size=4000 .* \(\S+size\.test\.[jt]s:\d+\)$/,
  );
});

test("branches nest as deep as JavaScript's stack allows", () => {
  const nested = (count: number) => (b: Builder) => {
    const slot = b.stack(u64, 1);
    const nest = (level: number): void => {
      if (level === 0) slot.set(2);
      else b.if(slot.eq(level), () => nest(level - 1));
    };
    nest(count);
  };
  assert.is(sizeOf(nested(1500)), 2 * 1500 + 4);
  // 5,000 levels, with four times Node's default stack.
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
