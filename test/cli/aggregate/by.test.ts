/** The keys of `--by`. */
import * as assert from 'uvu/assert';
import { type By, DEFAULT_BY, keyFields, parseBy } from '../../../src/cli/aggregate/by.ts';
import { KEY_PARTS } from '../../../src/cli/aggregate/snapshot.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/aggregate/by');

for (const [text, parts, prefixes = { v4: 24, v6: 64 }] of [
  ['dest,port', ['dest', 'port']],
  ['port,dest', ['dest', 'port']],
  ['all', []],
  ['user', ['user']],
  ['net', ['net']],
  ['net/16', ['net'], { v4: 16, v6: 64 }],
  ['net/0/0', ['net'], { v4: 0, v6: 0 }],
  ['comm,net/32/128', ['net', 'comm'], { v4: 32, v6: 128 }],
  [KEY_PARTS.join(','), KEY_PARTS],
] as const)
  test(`${text} is valid`, () => {
    assert.equal(parseBy(text), { parts, prefixes });
  });

for (const [text, message] of [
  ['', /^'' is not a key; choose from dest, net, port, comm, pod, unit, container, user, or all alone\.$/],
  ['dst', /^'dst' is not a key/],
  ['all,port', /^'all' is not a key/],
  ['dest,', /^'' is not a key/],
  ['dest, port', /^' port' is not a key/],
  ['port,dest,port', /^'port' occurs twice\.$/],
  ['net/8,net/16', /^'net' occurs twice\.$/],
  ['net/33', /^'net\/33' has a prefix that is too long; the longest is net\/32\/128\.$/],
  ['net/24/129', /too long/],
  ['net/', /is not a key/],
  ['net/-1', /is not a key/],
  ['net/1e1', /is not a key/],
  ['dest/24', /is not a key/],
] as const)
  test(`'${text}' is not valid`, () => {
    assert.match(parseBy(text) as string, message);
  });

test('the kernel has only the fields that the parts need', () => {
  const fields = (text: string) => keyFields(parseBy(text) as By);
  assert.equal(keyFields(DEFAULT_BY), { address: 'all', port: true, comm: false, uid: false });
  assert.equal(fields('all'), { port: false, comm: false, uid: false });
  assert.equal(fields('net/8/32').address, { v4: 8, v6: 32 });
  assert.equal(fields('dest,net').address, 'all', 'a destination tells its network');
  assert.equal(fields('unit,pod,container'), fields('all'));
});

test.run();
