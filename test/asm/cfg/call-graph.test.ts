/** Calls that the kernel refuses: recursion, and more than eight frames. */
import * as assert from 'uvu/assert';
import { callFault } from '../../../src/asm/cfg/call-graph.ts';
import { suite } from '../../harness.ts';

const test = suite('asm/cfg/call-graph');

/** The fault of the functions below `a`; the call `ab` means that a calls b. */
function faultIn(...calls: readonly string[]): string | undefined {
  const fault = callFault(
    'a',
    calls.map((by) => ({ from: by[0] as string, to: by[1] as string, by })),
  );
  return fault && `${fault.kind} at ${fault.by}: ${fault.chain.join('')}`;
}

/** A chain of calls along the letters. */
function along(letters: string): string[] {
  return Array.from(letters.slice(1), (to, n) => `${letters[n]}${to}`);
}

test('at most eight frames are allowed on any path', () => {
  assert.is(faultIn(), undefined);
  assert.is(faultIn(...along('abcdefgh')), undefined);
  assert.is(faultIn(...along('abcdefghi')), 'depth at hi: abcdefghi');
  // The short path to h is checked first, then the long one.
  assert.is(faultIn('ah', ...along('abcdefgh')), undefined);
  assert.is(faultIn('ah', ...along('abcdefgh'), 'hi'), 'depth at hi: abcdefghi');
  // The longest call path of g counts.
  assert.is(faultIn('ag', 'gi', 'gh', 'hj', 'gk', ...along('abcdefg')), 'depth at hj: abcdefghj');
});

test('recursion is refused at the call, with the cycle only', () => {
  assert.is(faultIn('aa'), 'recursion at aa: aa');
  assert.is(faultIn('ab', 'bc', 'cb'), 'recursion at cb: bcb');
  assert.is(faultIn('ab', 'ac', 'bd', 'cd', 'dc'), 'recursion at cd: dcd');
  assert.is(faultIn('ab', 'bc', 'ac', 'bd', 'cd'), undefined, 'two callers of one function are no recursion');
});

test('unreachable functions are not checked', () => assert.is(faultIn('ab', 'cd', 'dc'), undefined));

test('many paths through the same functions are checked quickly', () => {
  const letters = 'abcdefgh';
  const calls = along(letters).flatMap((call) => new Array<string>(200).fill(call));
  assert.is(faultIn(...calls), undefined);
});

test.run();
