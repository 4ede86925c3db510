/** Filters for records: the same options as for programs, with the records that they match. */
import * as assert from 'uvu/assert';
import { readArguments } from '../../../src/cli/arguments.ts';
import { matches } from '../../../src/cli/replay/selection.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/replay/selection');

const RECORD = {
  time_s: 0,
  pid: 1201,
  comm: 'wget',
  ip: 4,
  saddr: '192.0.2.7',
  lport: 40_000,
  daddr: '10.1.2.3',
  dport: 443,
  lat_ms: 1,
  unit: 'nginx.service',
  ...{ pod: '8dbd9b2e-1f4c-4ab2-b9a1-0c6a5f7e9d21', pod_name: 'cart-0', pod_namespace: 'shop' },
} as const;

for (const [line, taken] of [
  ['', true],
  ['-p 1201', true],
  ['-p 1,1202', false],
  ['--port 80,440-450', true],
  ['--port 80', false],
  ['--not-port 443', false],
  ['--port 1-65535 --not-port 22', true],
  ['--to 10.0.0.0/8', true],
  ['--to 10.0.0.0/8 --not-to 10.1.0.0/16', false],
  ['--to 10.0.0.0/8,10.1.2.0/24 --not-to 10.1.0.0/16', true],
  ['--to ::/0', false],
  ['--not-to ::/0', true],
  ['--from 192.0.2.0/24', true],
  ['--not-from 192.0.2.7', false],
  ['--comm wget', true],
  ['--comm curl', false],
  ['--not-comm wget', false],
  ['--comm wge\\x74', true],
  ["--comm ''", false],
  ['--uid 0', false],
  ['--not-uid 0', true],
  ['--unit nginx', true],
  ['--unit ngin?.service --not-unit ssh', true],
  ['--not-unit nginx*', false],
  ['--pod cart-*', true],
  ['--pod 8dbd9b2e-1f4c-4ab2-b9a1-0c6a5f7e9d21', true],
  ['--namespace shop --pod web', false],
  ['--not-namespace kube-system', true],
  ['-p 1201 --port 443 --comm curl', false],
] as const)
  test(`${line || 'no filter'}: ${taken ? 'matches' : 'does not match'}`, () => {
    const request = readArguments(line.split(' ').filter(Boolean), '');
    if (request.action !== 'trace') throw new Error(JSON.stringify(request));
    assert.is(matches(request.options.filter, RECORD), taken);
  });

const REWRITTEN = { ...RECORD, requested_addr: '10.96.0.10', requested_port: 53 };

for (const [line, taken] of [
  ['', true],
  ['--to 10.96.0.10', true],
  ['--to 10.1.2.3', true],
  ['--to 10.9.0.0/16', false],
  ['--not-to 10.96.0.10', false],
  ['--not-to 10.1.2.3', false],
  ['--not-to 10.9.0.0/16', true],
  ['--to 10.0.0.0/8 --not-to 10.96.0.0/16', false],
  ['--to 10.96.0.0/16 --not-to 10.9.0.0/16', true],
  ['--port 53', true],
  ['--port 443', true],
  ['--port 54', false],
  ['--not-port 53', false],
  ['--not-port 443', false],
  ['--port 1-100 --not-port 443', false],
  ['--port 1-100 --not-port 80', true],
] as const)
  test(`--requested ${line}: ${taken ? 'matches' : 'does not match'}`, () => {
    const request = readArguments(line.split(' ').filter(Boolean), '');
    if (request.action !== 'trace') throw new Error(JSON.stringify(request));
    assert.is(matches(request.options.filter, REWRITTEN, true), taken);
    const socket = { ...REWRITTEN, requested_addr: undefined, requested_port: undefined };
    assert.is(
      matches(request.options.filter, REWRITTEN),
      matches(request.options.filter, socket, true),
      'without it, or without a known address, the socket counts',
    );
  });
test('what a record lacks matches only a filter that includes everything', () => {
  const { saddr: _, daddr: __, dport: ___, ...rest } = RECORD;
  for (const [line, taken] of [
    ['--not-port 443 --not-to 10.0.0.0/8 --not-from ::1 --comm wget', true],
    ['--port 443', false],
    ['--to 0.0.0.0/0', false],
    ['--from 192.0.2.7', false],
  ] as const) {
    const request = readArguments(line.split(' '), '');
    if (request.action !== 'trace') throw new Error(JSON.stringify(request));
    assert.is(matches(request.options.filter, { ...rest, result: 'pending' }), taken, line);
  }
});

test('a mapped address is an IPv4 address, and the user is checked if it is known', () => {
  const options = (...args: string[]) => {
    const request = readArguments(args, '');
    return request.action === 'trace' ? request.options.filter : {};
  };
  assert.is(matches(options('--to', '10.0.0.0/8'), { ...RECORD, ip: 6, daddr: '::ffff:10.1.2.3' }), true);
  assert.is(matches(options('--uid', '0-5'), { ...RECORD, uid: 5 }), true);
  assert.is(matches(options('--not-uid', '0-5'), { ...RECORD, uid: 5 }), false);
});

test('thread names are compared as bytes', () => {
  const filterOf = (name: string) => {
    const request = readArguments(['--comm', name], '');
    return request.action === 'trace' ? request.options.filter : {};
  };
  for (const [argument, comm, taken] of [
    ["''", '', true],
    ["\\x27'", "\\x27'", true],
    ["''", "\\x27'", false],
    ['a\\xe6\\x9c', 'a\\xe6\\x9c', true],
    ['\\xe6\\x97\\xa5', '日', true],
    ['\\x5cxff', '\\x5cxff', true],
    ['\\xff', '\\x5cxff', false],
  ] as const)
    assert.is(matches(filterOf(argument), { ...RECORD, comm }), taken, argument);
});

test.run();
