import { isIP } from 'node:net';
import { InvalidArgumentError } from 'commander';
import * as assert from 'uvu/assert';
import { formatAddress, parseAddress } from '../../../src/cli/address.ts';
import {
  milliseconds,
  networks,
  paths,
  ports,
  processIds,
  threadNames,
  userIds,
} from '../../../src/cli/arguments/values.ts';
import { suite } from '../../harness.ts';
import { assertLinear } from '../../linear.ts';

const test = suite('cli/arguments/values');

type Parser = (text: string, before?: never) => unknown;

const many = (count: number, text: (i: number) => string) =>
  Array.from({ length: count }, (_, i) => text(i)).join();

const valid: [name: string, parse: Parser, text: string, value: unknown][] = [
  ['ports', ports, '80', [[80, 80]]],
  [
    'ports',
    ports,
    '80,443,8000-8100',
    [
      [80, 80],
      [443, 443],
      [8000, 8100],
    ],
  ],
  ['ports', ports, '0-65535', [[0, 65_535]]],
  ['ports', ports, '0080', [[80, 80]]],
  [
    'processIds',
    processIds,
    '1,4194304',
    [
      [1, 1],
      [4_194_304, 4_194_304],
    ],
  ],
  [
    'userIds',
    userIds,
    '0,1000-4294967294',
    [
      [0, 0],
      [1000, 4_294_967_294],
    ],
  ],
  ['networks', networks, '10.0.0.0/8', [{ address: Uint8Array.of(10, 0, 0, 0), prefix: 8 }]],
  ['networks', networks, '192.0.2.1', [{ address: Uint8Array.of(192, 0, 2, 1), prefix: 32 }]],
  ['networks', networks, '0.0.0.0/0', [{ address: new Uint8Array(4), prefix: 0 }]],
  [
    'networks',
    networks,
    '::/0,::1',
    [
      { address: new Uint8Array(16), prefix: 0 },
      { address: Uint8Array.of(...new Uint8Array(15), 1), prefix: 128 },
    ],
  ],
  ['networks', networks, '10.128.0.0/9', [{ address: Uint8Array.of(10, 128, 0, 0), prefix: 9 }]],
  ['threadNames', threadNames, 'a name, of 15 b', ['a name, of 15 b']],
  ['threadNames', threadNames, '\\xff'.repeat(15), ['\udcff'.repeat(15)]],
  ['threadNames', threadNames, "''", ['']],
  ['paths', paths, '/sys/fs/cgroup/a,b', ['/sys/fs/cgroup/a,b']],
];
for (const [name, parse, text, value] of valid)
  test(`${name} of '${text}'`, () => assert.equal(parse(text), value));

test('the values of a repeated option accumulate', () => {
  assert.equal(ports('3,5', ports('1')), [
    [1, 1],
    [3, 3],
    [5, 5],
  ]);
  assert.equal(threadNames('b', ['a']), ['a', 'b']);
});

test('adjacent numbers merge into one range, which counts as one value', () => {
  assert.equal(ports('3,2', ports('1')), [[1, 3]]);
  assert.equal(ports(many(100, String)), [[0, 99]]);
});

const invalid: [name: string, parse: Parser, text: string, message: RegExp][] = [
  ['ports', ports, '', /'' is not a port from 0 to 65535 or a range/],
  ['ports', ports, '80,', /'' is not a port/],
  ['ports', ports, '80,,443', /'' is not a port/],
  ['ports', ports, '80 ', /'80 ' is not a port/],
  ['ports', ports, 'http', /'http' is not a port/],
  ['ports', ports, '65536', /'65536' is not a port/],
  ['ports', ports, '-1', /'-1' is not a port/],
  ['ports', ports, '1-', /'1-' is not a port/],
  ['ports', ports, '1-2-3', /'1-2-3' is not a port/],
  ['ports', ports, '90-80', /'90-80' is not a port/],
  ['ports', ports, '1.5', /'1\.5' is not a port/],
  ['ports', ports, '0x50', /'0x50' is not a port/],
  ['ports', ports, many(65, (i) => String(2 * i)), /At most 64 values are possible; this would be 65/],
  ['processIds', processIds, '0', /a process id from 1 to 4194304/],
  ['processIds', processIds, '1,x', /a process id/],
  ['processIds', processIds, '1-5', /a process id/],
  ['processIds', processIds, '4194305', /a process id/],
  ['userIds', userIds, 'root:', /'root:' is not a user in/],
  ['userIds', userIds, '1,', /'' is not a user id/],
  ['userIds', userIds, '4294967295', /'4294967295' is not a user id/],
  ['networks', networks, '', /'' is not an address or network/],
  ['networks', networks, '10.0.0.0/33', /'10\.0\.0\.0\/33' is not an address/],
  ['networks', networks, '::/129', /'::\/129' is not an address/],
  ['networks', networks, '10.0.0.0/', /'10\.0\.0\.0\/' is not an address/],
  ['networks', networks, '10.0.0.0/8/8', /is not an address/],
  ['networks', networks, '10.0.0/8', /is not an address/],
  ['networks', networks, '10.0.0.0/-8', /is not an address/],
  ['networks', networks, '10.0.0.0/255.0.0.0', /is not an address/],
  ['networks', networks, 'localhost', /'localhost' is not an address/],
  ['networks', networks, 'fe80::1%eth0', /is not an address/],
  ['networks', networks, '010.0.0.1', /is not an address/],
  [
    'networks',
    networks,
    '10.1.2.3/8',
    /'10\.1\.2\.3\/8' has bits after its prefix; use 10\.0\.0\.0\/8 for the network, or 10\.1\.2\.3/,
  ],
  ['networks', networks, '2001:db8::1/32', /use 2001:db8::\/32 for the network, or 2001:db8::1/],
  ['networks', networks, '10.0.0.0/8,10.64.0.0/9', /'10\.64\.0\.0\/9' has bits.*10\.0\.0\.0\/9/],
  [
    'networks',
    networks,
    many(1025, (i) => `10.0.${i >> 8}.${i & 255}`),
    /At most 1024 values are possible; this would be 1025/,
  ],
  ['threadNames', threadNames, '', /must not be empty; "''" in quotes selects threads with an empty name/],
  ['threadNames', threadNames, 'sixteen-bytes-it', /thread names to 15 bytes; this name has 16/],
  ['threadNames', threadNames, 'ä'.repeat(8), /this name has 16/],
  ['threadNames', threadNames, '\\xff'.repeat(16), /this name has 16/],
  ['paths', paths, '', /must not be empty/],
];
for (const [name, parse, text, message] of invalid)
  test(`${name} of '${text.length < 40 ? text : `${text.slice(0, 20)}...`}': an error`, () => {
    assert.throws(
      () => parse(text),
      (error: unknown) => error instanceof InvalidArgumentError && message.test(error.message),
    );
  });

test('the limit also holds for repeated options', () => {
  const names = Array.from({ length: 64 }, (_, i) => String(i));
  assert.throws(() => threadNames('one more', names), /At most 64 values are possible; this would be 65/);
});

const ADDRESSES = [
  ...[
    '0.0.0.0',
    '255.255.255.255',
    '1.2.3.4',
    '256.1.1.1',
    '1.2.3',
    '1.2.3.4.5',
    '01.2.3.4',
    '1.2.3.4 ',
    '',
    '1..2.3',
  ],
  ...['::', '::1', '1::', '1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1::8', '::2:3:4:5:6:7:8'],
  ...[
    '1:2:3:4:5:6:7::',
    '1:2:3:4::5:6:7:8',
    '1::2::3',
    ':::',
    ':',
    '1:',
    ':1',
    '12345::',
    'g::',
    'ABCD::ef01',
    '::ffff:1.2.3.4',
  ],
  ...[
    '1:2:3:4:5:6:1.2.3.4',
    '1:2:3:4:5:6:7:1.2.3.4',
    '::1.2.3.4',
    '1.2.3.4::',
    '::1.2.3',
    '::1.2.3.4:5',
    '::256.1.1.1',
    '1:2:3:4:5::1.2.3.4',
  ],
];
for (const text of ADDRESSES)
  test(`'${text}' is parsed as an address if Node accepts it`, () => {
    const parsed = parseAddress(text);
    assert.is(parsed?.length, { 0: undefined, 4: 4, 6: 16 }[isIP(text)]);
    if (parsed) assert.equal(parseAddress(formatAddress(parsed)), parsed);
  });

test('an address has its bytes in network order', () => {
  assert.equal(parseAddress('1:2::8:1.2.3.4'), Uint8Array.of(0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 8, 1, 2, 3, 4));
});

test('rejecting a value takes linear time', () => {
  const value = (size: number) => `${'1'.repeat(size)}!`;
  const [small, large] = [value(10_000), value(80_000)];
  assertLinear(
    () => assert.throws(() => milliseconds(small), /number of milliseconds/),
    () => assert.throws(() => milliseconds(large), /number of milliseconds/),
  );
});

test.run();
