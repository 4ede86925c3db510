/** Programs of the builder, run by the kernel. */
import * as assert from 'uvu/assert';
import type { Builder } from '../../src/asm/builder/builder.ts';
import type { Value } from '../../src/asm/builder/value.ts';
import { getCurrentPidTgid, getSmpProcessorId } from '../../src/asm/helpers.ts';
import {
  bytes,
  chars,
  s8,
  s16,
  s32,
  s64,
  struct,
  u16,
  u16be,
  u32,
  u32be,
  u64,
} from '../../src/asm/layout.ts';
import { array, hash, type MapSpec } from '../../src/asm/map.ts';
import type { BpfMap } from '../../src/loader/map.ts';
import { suite } from '../harness.ts';
import { cannotRun, withProgram } from './run-program.ts';

const test = suite('live/builder');

/**
 * Returns the result of a program run with `args`. `seed` fills its maps before the run, `inspect` reads them
 * after it.
 */
function resultOf(
  body: (b: Builder) => void,
  {
    args = [],
    maps = [],
    inspect,
    seed,
  }: {
    args?: bigint[];
    maps?: MapSpec[];
    inspect?: (map: BpfMap) => void;
    seed?: (map: BpfMap) => void;
  } = {},
): number {
  return withProgram(maps, body, ({ run, map }) => {
    for (const spec of maps) seed?.(map(spec));
    const result = run(...args);
    for (const spec of maps) inspect?.(map(spec));
    return result;
  });
}

const exitByCondition = (b: Builder, condition: Parameters<Builder['if']>[0]) => {
  b.if(condition, () => b.exit(1));
  b.exit(2);
};

test.skipIf(cannotRun, 'arguments and arithmetic give the expected numbers', () => {
  const args = [100n, 7n];
  const result = (change: (value: Value, b: Builder) => Value) =>
    resultOf(
      (b) => {
        b.exit(change(b.value(b.arg(0)), b));
      },
      { args },
    );
  assert.is(
    result((v, b) => v.add(b.arg(1).as(u64))),
    107,
  );
  assert.is(
    result((v, b) => v.sub(b.arg(1).as(u64))),
    93,
  );
  assert.is(
    result((v) => v.mul(3)),
    300,
  );
  assert.is(
    result((v, b) => v.div(b.arg(1).as(u64))),
    14,
  );
  assert.is(
    result((v, b) => v.mod(b.arg(1).as(u64))),
    2,
  );
  assert.is(
    result((v) => v.and(0x24)),
    0x24,
  );
  assert.is(
    result((v) => v.or(3)),
    103,
  );
  assert.is(
    result((v) => v.xor(100)),
    0,
  );
  assert.is(
    result((v) => v.lsh(2).rsh(1)),
    200,
  );
  assert.is(
    result((v) => v.sub(200).asSigned().arsh(2)),
    (-25 >>> 0) as number,
  );
  assert.is(
    result((v) => v.toBe(16)),
    0x6400,
  );
  assert.is(
    result((v) => v.add(0x1_0000_0000n).rsh(32)),
    1,
  );
});

const pairs: [bigint, bigint][] = [
  [5n, 5n],
  [4n, 5n],
  [5n, 4n],
  [2n ** 64n - 1n, 0n],
];
const unsigned = {
  eq: (a: bigint, b: bigint) => a === b,
  ne: (a: bigint, b: bigint) => a !== b,
  gt: (a: bigint, b: bigint) => a > b,
  ge: (a: bigint, b: bigint) => a >= b,
  lt: (a: bigint, b: bigint) => a < b,
  le: (a: bigint, b: bigint) => a <= b,
  bits: (a: bigint, b: bigint) => (a & b) !== 0n,
};

for (const [name, expected] of Object.entries(unsigned)) {
  const comparison = name as keyof typeof unsigned;
  test.skipIf(cannotRun, `${comparison} compares unsigned and signed numbers`, () => {
    for (const [left, right] of pairs) {
      const args = [left, right];
      const answer = (signed: boolean) =>
        resultOf(
          (b) => {
            const [value, other] = [b.value(b.arg(0)), b.value(b.arg(1).as(u64))];
            exitByCondition(
              b,
              signed ? value.asSigned()[comparison](other.asSigned()) : value[comparison](other),
            );
          },
          { args },
        );
      assert.is(answer(false) === 1, expected(left, right), `${left} ${comparison} ${right}`);
      const [a, c] = [BigInt.asIntN(64, left), BigInt.asIntN(64, right)];
      assert.is(answer(true) === 1, expected(a, c), `${a} ${comparison} ${c}`);
    }
  });
}

test.skipIf(cannotRun, 'both arms of a branch run, and the code after them', () => {
  const answer = (argument: bigint) =>
    resultOf(
      (b) => {
        const slot = b.stack(u64, 1);
        b.if(
          b.arg(0).bits(4),
          () => slot.set(10),
          () => b.if(b.arg(0).gt(1), () => slot.set(20)),
        );
        b.exit(slot.get().add(1));
      },
      { args: [argument] },
    );
  assert.equal([4n, 2n, 0n].map(answer), [11, 21, 2]);
});

test.skipIf(cannotRun, 'leave exits its block', () => {
  const answer = (argument: bigint) =>
    resultOf(
      (b) => {
        const slot = b.stack(u64, 0);
        b.block((leave) => {
          slot.set(1);
          b.if(b.arg(0).eq(1), leave);
          slot.set(2);
          b.if(b.arg(0).eq(2), () => {
            slot.set(3);
            leave();
          });
          slot.set(4);
        });
        b.exit(slot.get());
      },
      { args: [argument] },
    );
  assert.equal([1n, 2n, 3n].map(answer), [1, 3, 4]);
});

const Data = struct({
  port: u16be,
  address: u32be,
  tiny: s8,
  short: s16,
  int: s32,
  long: s64,
  half: u16,
  name: chars(7),
  rest: bytes(5),
});
const table = hash('table', { key: u32, value: Data, maxEntries: 4 });
const value = {
  port: 80,
  address: 0xc0000201,
  tiny: -3,
  short: -300,
  int: -70_000,
  long: -5_000_000_000n,
  half: 60_000,
  name: 'abcdef',
  rest: Uint8Array.of(1, 2, 3, 4, 5),
};

test.skipIf(cannotRun, 'constants of every width, sign and byte order reach a map', () => {
  let seen: unknown;
  resultOf(
    (b) => {
      const data = b.stack(Data);
      data.set(0);
      data.port.set(value.port);
      data.address.set(value.address);
      data.tiny.set(value.tiny);
      data.short.set(value.short);
      data.int.set(value.int);
      data.long.set(value.long);
      data.half.set(value.half);
      b.update(table, 3, data);
    },
    { maps: [table], inspect: (map) => (seen = map.lookup(3)) },
  );
  assert.equal(seen, { ...value, name: '', rest: new Uint8Array(5) });
});

test.skipIf(cannotRun, 'fields of every width, sign and byte order read as their numbers', () => {
  const answers = (['port', 'address', 'tiny', 'short', 'int', 'long', 'half'] as const).map((field) =>
    resultOf(
      (b) => {
        const data = b.stack(Data);
        data.set(0);
        data[field].set(value[field]);
        b.update(table, 3, data);
        b.lookup(table, 3, {
          found: (entry) => {
            const number = entry[field].get();
            b.if(number.ne(b.value(value[field])), () => b.exit(1));
            b.if(entry[field].ne(value[field]), () => b.exit(2));
            b.if(entry[field].gt(value[field]), () => b.exit(3));
            b.if(entry[field].lt(value[field]), () => b.exit(4));
            b.exit(9);
          },
          missing: () => b.exit(5),
        });
      },
      { maps: [table] },
    ),
  );
  assert.equal(answers, [9, 9, 9, 9, 9, 9, 9]);
});

test.skipIf(cannotRun, 'copies between different alignments keep every byte', () => {
  const Odd = struct({ head: bytes(3), name: chars(7), half: u32, rest: bytes(5) });
  const odd = hash('odd', { key: u32, value: Odd, maxEntries: 1 });
  let seen: unknown;
  resultOf(
    (b) =>
      b.lookup(table, 3, {
        found: (entry) => {
          const from = b.keep(entry);
          const to = b.stack(Odd);
          to.set(0);
          to.name.set(from.name);
          to.rest.set(from.rest);
          to.half.set(from.half);
          b.update(odd, 1, to);
        },
        missing: () => b.exit(),
      }),
    {
      maps: [table, odd],
      seed: (map) => map.spec === table && map.update(3, value),
      inspect: (map) => {
        if (map.spec === odd) seen = map.lookup(1);
      },
    },
  );
  assert.equal(seen, { head: new Uint8Array(3), name: 'abcdef', half: 60_000, rest: value.rest });
});

test.skipIf(cannotRun, 'an entry is inserted, found, changed in place and deleted', () => {
  const counts = hash('counts', { key: u64, value: struct({ seen: u64 }), maxEntries: 2 });
  const answer = resultOf(
    (b) => {
      const pid = b.stack(u64, b.call(getCurrentPidTgid).rsh(32));
      const entry = b.stack(counts.value);
      entry.seen.set(40);
      b.update(counts, pid, entry);
      b.lookup(counts, pid, { found: ({ seen }) => seen.atomicAdd(2), missing: () => b.exit(1) });
      const seen = b.stack(u64, 0);
      b.lookup(counts, pid, { found: (found) => seen.set(found.seen), missing: () => b.exit(2) });
      b.delete(counts, pid);
      b.lookup(counts, pid, { found: () => b.exit(3), missing: () => b.exit(seen.get()) });
    },
    { maps: [counts] },
  );
  assert.is(answer, 42);
});

test.skipIf(cannotRun, 'updating a full map returns a negative number', () => {
  const small = hash('small', { key: u32, value: u32, maxEntries: 1 });
  const answer = resultOf(
    (b) => {
      b.update(small, 1, 1);
      const result = b.update(small, 2, 2);
      b.if(result.lt(0), () => b.exit(1));
    },
    { maps: [small] },
  );
  assert.is(answer, 1);
});

test.skipIf(cannotRun, 'atomicAdd changes an array element in place', () => {
  const counters = array('counters', { value: struct({ first: u64, second: u32 }) });
  let seen: unknown;
  resultOf(
    (b) => {
      b.global(counters).second.atomicAdd(5);
      const one = b.call(getSmpProcessorId).and(0).add(1);
      b.global(counters).first.atomicAdd(one);
    },
    { maps: [counters], inspect: (map) => (seen = map.lookup(0)) },
  );
  assert.equal(seen, { first: 1n, second: 5 });
});

test.run();
