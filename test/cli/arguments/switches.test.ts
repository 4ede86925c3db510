import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { simpleRequest } from '../../../src/cli/arguments/request.ts';
import { SWITCHES, switchesIn } from '../../../src/cli/arguments/switches.ts';
import { readArguments } from '../../../src/cli/arguments.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/arguments/switches');

const NAMES = Object.values(SWITCHES).flatMap(([names]) => names.split(', '));

function agree(args: readonly string[]): boolean {
  const request = simpleRequest(args, '1.2.3');
  if (request) assert.equal(readArguments(args, '1.2.3'), request, args.join(' '));
  return request !== undefined;
}

test('no arguments, and each switch alone, are parsed as by commander', () => {
  for (const args of [[], ...NAMES.map((name) => [name])]) assert.ok(agree(args), args.join(' '));
});

test('command lines of switches are parsed as by commander, or left to it', () => {
  const args = fc.array(fc.constantFrom(...NAMES), { maxLength: 6 });
  fc.assert(
    fc.property(args, (line) => {
      const has = (...names: string[]) => names.some((name) => line.includes(name));
      assert.is(agree(line), !(has('-4', '--ipv4') && has('-6', '--ipv6')), line.join(' '));
    }),
  );
});

test('--version alone prints the same as by commander, which parses it among others', () => {
  assert.ok(agree(['--version']));
  for (const args of [['--version', '--version'], ['--version', '-q'], ['-q', '--version'], ['--versio']])
    assert.not(agree(args), args.join(' '));
});

test('everything else is left to commander', () => {
  const others = ['100', '-p', '-tL', '--pid=1', '--no-json', '--', '-', '', '--json=1', '-h', '--version'];
  for (const other of others)
    for (const args of [[other], ['--json', other], [other, '-q']])
      assert.is(switchesIn(args), undefined, args.join(' '));
});

test.run();
