/** The sets behind filters: ranges of numbers, and networks with the longest matching prefix. */
import * as assert from 'uvu/assert';
import { networks } from '../../src/cli/arguments/values.ts';
import {
  type Criterion,
  entriesFor,
  mapped,
  type Network,
  sameNetwork,
} from '../../src/programs/networks.ts';
import { merged, type Range, without } from '../../src/programs/tcpconnlat/criteria.ts';
import { suite } from '../harness.ts';

const test = suite('programs/filter');

// --- ranges --------------------------------------------------------------------------------------

const mergeCases: [Range[], Range[]][] = [
  [[], []],
  [[[5, 5]], [[5, 5]]],
  [
    [
      [7, 9],
      [1, 2],
    ],
    [
      [1, 2],
      [7, 9],
    ],
  ],
  [
    [
      [1, 2],
      [3, 4],
    ],
    [[1, 4]],
  ],
  [
    [
      [1, 9],
      [2, 3],
    ],
    [[1, 9]],
  ],
  [
    [
      [1, 5],
      [4, 8],
      [8, 8],
    ],
    [[1, 8]],
  ],
  [
    [
      [10, 10],
      [9, 9],
      [8, 8],
      [6, 6],
    ],
    [
      [6, 6],
      [8, 10],
    ],
  ],
];
for (const [ranges, expected] of mergeCases)
  test(`${JSON.stringify(ranges)} merged is ${JSON.stringify(expected)}`, () => {
    assert.equal(merged(ranges), expected);
  });

const left: [Range[], Range[], Range[]][] = [
  [[[1, 9]], [], [[1, 9]]],
  [[[1, 9]], [[1, 9]], []],
  [[[1, 9]], [[0, 20]], []],
  [
    [[1, 9]],
    [[5, 5]],
    [
      [1, 4],
      [6, 9],
    ],
  ],
  [[[1, 9]], [[1, 1]], [[2, 9]]],
  [[[1, 9]], [[9, 12]], [[1, 8]]],
  [[[1, 9]], [[10, 12]], [[1, 9]]],
  [[[5, 9]], [[1, 4]], [[5, 9]]],
  [
    [
      [1, 3],
      [7, 9],
    ],
    [[3, 7]],
    [
      [1, 2],
      [8, 9],
    ],
  ],
  [
    [[1, 9]],
    [
      [2, 3],
      [5, 6],
    ],
    [
      [1, 1],
      [4, 4],
      [7, 9],
    ],
  ],
];
for (const [ranges, others, expected] of left)
  test(`${JSON.stringify(ranges)} without ${JSON.stringify(others)} is ${JSON.stringify(expected)}`, () => {
    assert.equal(without(ranges, others), expected);
  });

test('ranges are equivalent to sets of their numbers', () => {
  const random = generator(7);
  const some = (): Range[] =>
    Array.from({ length: random(4) }, () => {
      const first = random(12);
      return [first, first + random(4)];
    });
  const numbers = (ranges: readonly Range[]) =>
    Array.from({ length: 20 }, (_, n) => n).filter((n) => ranges.some(([a, b]) => a <= n && n <= b));
  for (let i = 0; i < 500; i++) {
    const [ranges, others] = [some(), some()];
    assert.equal(numbers(merged(ranges)), numbers(ranges));
    const removed = new Set(numbers(others));
    assert.equal(
      numbers(without(ranges, others)),
      numbers(ranges).filter((n) => !removed.has(n)),
    );
  }
});

// --- networks ------------------------------------------------------------------------------------

const criterion = (only: string, not = ''): Criterion<Network> => ({
  ...(only && { only: networks(only) }),
  ...(not && { not: networks(not) }),
});
const addressOf = (text: string) => mapped(networks(text)[0] as Network).address;

/** The verdict of a trie with these entries, by a linear search with the kernel's rule. */
function decide(criterion: Criterion<Network>, address: Uint8Array, anyIsLoopback = false): boolean {
  const bits = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('');
  const found = entriesFor(criterion, anyIsLoopback)
    .filter(([key]) => bits(address).startsWith(bits(key.address).slice(0, key.prefixLength)))
    .sort(([a], [b]) => b.prefixLength - a.prefixLength)[0];
  return found ? found[1] === 1 : criterion.only === undefined;
}

const decided: [only: string, not: string, inside: string[], outside: string[]][] = [
  ['10.0.0.0/8', '', ['10.0.0.0', '10.255.255.255', '::ffff:10.1.1.1'], ['11.0.0.0', '9.255.255.255', '::1']],
  ['', '10.0.0.0/8', ['11.0.0.0', '::1', 'a00::'], ['10.0.0.0', '::ffff:10.1.1.1']],
  ['10.0.0.0/8', '10.1.0.0/16', ['10.0.0.1', '10.2.0.0'], ['10.1.0.0', '10.1.255.255', '11.0.0.0']],
  ['10.0.0.0/8,10.1.2.0/24', '10.1.0.0/16', ['10.1.2.3', '10.2.0.0'], ['10.1.3.0']],
  ['10.1.0.0/16', '10.0.0.0/8', ['10.1.0.0'], ['10.2.0.0', '192.0.2.1']],
  ['0.0.0.0/0', '', ['0.0.0.0', '255.255.255.255'], ['::', '::1', '2001:db8::1']],
  ['::/0', '', ['::', '::1', '2001:db8::1', 'ffff::'], ['10.0.0.1', '0.0.0.0']],
  ['::/0,10.0.0.0/8', '', ['::1', '10.0.0.1'], ['11.0.0.1']],
  ['::/0,0.0.0.0/0', '', ['::1', '10.0.0.1'], []],
  ['', '::/0', ['10.0.0.1'], ['::1', '2001:db8::1']],
  ['::/64', '', ['::1', '::ffff:ffff:ffff:ffff'], ['192.0.2.1', '0:0:0:1::']],
  ['::ffff:0:0/96', '', ['192.0.2.1'], ['::1']],
  ['2001:db8::/33', '', ['2001:db8:7fff::'], ['2001:db8:8000::']],
  ['192.0.2.1', '', ['192.0.2.1'], ['192.0.2.0', '192.0.2.2']],
];
for (const [only, not, inside, outside] of decided)
  test(`${only || 'all'}${not && ` but ${not}`}: the longest prefix wins`, () => {
    for (const text of inside) assert.is(decide(criterion(only, not), addressOf(text)), true, text);
    for (const text of outside) assert.is(decide(criterion(only, not), addressOf(text)), false, text);
  });

const unspecified: [only: string, not: string, v4: boolean, v6: boolean][] = [
  ['127.0.0.0/8', '', true, false],
  ['127.0.0.2', '', false, false],
  ['::1', '', false, true],
  ['', '127.0.0.1', false, true],
  ['', '::1', true, false],
  ['::/0', '::1', false, false],
  ['0.0.0.0/8', '', false, false],
  ['0.0.0.0', '', true, false],
  ['0.0.0.0/0', '', true, false],
];
for (const [only, not, v4, v6] of unspecified)
  test(`${only || 'all'}${not && ` but ${not}`}: a connect to the unspecified address is one to loopback`, () => {
    assert.is(decide(criterion(only, not), addressOf('0.0.0.0'), true), v4, '0.0.0.0');
    assert.is(decide(criterion(only, not), addressOf('::'), true), v6, '::');
  });

test('equal networks are recognized in every notation', () => {
  const same = (a: string, b: string) => sameNetwork(networks(a)[0] as Network, networks(b)[0] as Network);
  assert.is(same('10.0.0.0/8', '::ffff:10.0.0.0/104'), true);
  assert.is(same('10.0.0.0/8', '10.0.0.0/9'), false);
  assert.is(same('10.0.0.0/8', '11.0.0.0/8'), false);
  assert.is(same('0.0.0.0/0', '::/96'), false);
});

/** Small pseudorandom numbers, always the same (a linear congruential generator). */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

test.run();
