/** Calls that the kernel refuses: recursion, and more than eight frames. */
import * as assert from 'uvu/assert';
import { callFault } from '../../../src/asm/cfg/call-graph.ts';
import { suite } from '../../harness.ts';

const test = suite('asm/cfg/call-graph');

/** The fault below `a` with calls written as `ab`: a calls b. */
function faultIn(...calls: readonly string[]): string | undefined {
  const fault = callFault(
    'a',
    calls.map((by) => ({ from: by[0] as string, to: by[1] as string, by })),
  );
  return fault && `${fault.kind} at ${fault.by}: ${fault.chain.join('')}`;
}

/** Calls along the letters, one after the other. */
function along(letters: string): string[] {
  return Array.from(letters.slice(1), (to, n) => `${letters[n]}${to}`);
}

test('eight frames are the most, by whichever way', () => {
  assert.is(faultIn(), undefined);
  assert.is(faultIn(...along('abcdefgh')), undefined);
  assert.is(faultIn(...along('abcdefghi')), 'depth at hi: abcdefghi');
  // The short way to h is looked at first, then the long one.
  assert.is(faultIn('ah', ...along('abcdefgh')), undefined);
  assert.is(faultIn('ah', ...along('abcdefgh'), 'hi'), 'depth at hi: abcdefghi');
  // The longest of the calls of g counts.
  assert.is(faultIn('ag', 'gi', 'gh', 'hj', 'gk', ...along('abcdefg')), 'depth at hj: abcdefghj');
});

test('a function that calls a running one is refused, at the call and with the circle alone', () => {
  assert.is(faultIn('aa'), 'recursion at aa: aa');
  assert.is(faultIn('ab', 'bc', 'cb'), 'recursion at cb: bcb');
  assert.is(faultIn('ab', 'ac', 'bd', 'cd', 'dc'), 'recursion at cd: dcd');
  assert.is(faultIn('ab', 'bc', 'ac', 'bd', 'cd'), undefined, 'calls of one function by two are none');
});

test('functions that the first one does not reach are not looked at', () =>
  assert.is(faultIn('ab', 'cd', 'dc'), undefined));

test('many ways through the same functions take no time', () => {
  const letters = 'abcdefgh';
  const calls = along(letters).flatMap((call) => new Array<string>(200).fill(call));
  assert.is(faultIn(...calls), undefined);
});

test.run();
