import * as assert from 'uvu/assert';
import { formatAddress } from '../../src/cli/address.ts';
import { suite } from '../harness.ts';

const test = suite('cli/address');

/** The 16 bytes of eight groups in full notation. */
function groups(text: string): Uint8Array {
  const bytes = Buffer.from(text.replaceAll(':', ''), 'hex');
  if (bytes.length !== 16) throw new Error(`${text} is no address in full`);
  return bytes;
}

const v4: [number[], string][] = [
  [[0, 0, 0, 0], '0.0.0.0'],
  [[127, 0, 0, 1], '127.0.0.1'],
  [[192, 0, 2, 10], '192.0.2.10'],
  [[255, 255, 255, 255], '255.255.255.255'],
];
for (const [bytes, text] of v4)
  test(`${bytes.join(' ')} is ${text}`, () => assert.is(formatAddress(Uint8Array.from(bytes)), text));

// RFC 5952, sections 2 and 4; the last ones are at the ends and in doubt between two runs.
const v6: [string, string][] = [
  ['0000:0000:0000:0000:0000:0000:0000:0000', '::'],
  ['0000:0000:0000:0000:0000:0000:0000:0001', '::1'],
  ['2001:0db8:0000:0000:0000:0000:0000:0001', '2001:db8::1'],
  ['2001:0db8:0000:0000:0001:0000:0000:0001', '2001:db8::1:0:0:1'],
  ['2001:0000:0000:0001:0000:0000:0000:0001', '2001:0:0:1::1'],
  ['2001:0db8:0000:0001:0001:0001:0001:0001', '2001:db8:0:1:1:1:1:1'],
  ['2001:0db8:aaaa:bbbb:cccc:dddd:eeee:0001', '2001:db8:aaaa:bbbb:cccc:dddd:eeee:1'],
  ['2001:0DB8:AAAA:BBBB:CCCC:DDDD:EEEE:AAAA', '2001:db8:aaaa:bbbb:cccc:dddd:eeee:aaaa'],
  ['2001:0db8:0000:0000:0000:0000:0002:0001', '2001:db8::2:1'],
  ['fe80:0000:0000:0000:0204:61ff:fe9d:f156', 'fe80::204:61ff:fe9d:f156'],
  ['ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['0000:0000:0003:0004:0005:0006:0007:0008', '::3:4:5:6:7:8'],
  ['0001:0002:0003:0004:0005:0006:0000:0000', '1:2:3:4:5:6::'],
  ['0000:0002:0003:0004:0005:0006:0007:0000', '0:2:3:4:5:6:7:0'],
  ['0000:0000:0001:0000:0000:0001:0000:0000', '::1:0:0:1:0:0'],
];
for (const [bytes, text] of v6)
  test(`${bytes} is ${text}`, () => assert.is(formatAddress(groups(bytes)), text));

test('an IPv4-mapped address ends with an IPv4 address', () => {
  assert.is(formatAddress(groups('0000:0000:0000:0000:0000:ffff:c000:0201')), '::ffff:192.0.2.1');
  assert.is(formatAddress(groups('0000:0000:0000:0000:0000:ffff:0000:0000')), '::ffff:0.0.0.0');
});

test('an address that only resembles a mapped one has the normal form', () => {
  assert.is(formatAddress(groups('0000:0000:0000:0001:0000:ffff:c000:0201')), '::1:0:ffff:c000:201');
  assert.is(formatAddress(groups('0000:0000:0000:0000:ffff:0000:c000:0201')), '::ffff:0:c000:201');
  assert.is(formatAddress(groups('0064:ff9b:0000:0000:0000:0000:c000:0201')), '64:ff9b::c000:201');
});

test.run();
