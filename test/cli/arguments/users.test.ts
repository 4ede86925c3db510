import * as assert from 'uvu/assert';
import { userIdOf } from '../../../src/cli/arguments/users.ts';
import { parseUsers } from '../../../src/cli/passwd.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/arguments/users');

const PASSWD = `root:x:0:0:root:/root:/bin/bash
# a comment: x:5:
systemd-network:*:998:998::/:/usr/sbin/nologin
1000-2:x:7:7:a name of digits:/:/bin/sh
Jörg:x:1001:1001::/home/j:/bin/sh
root:x:12:0:a second line of this name:/:/bin/sh
+::::::
nobody:x:65534:65534
broken:x:many:0::/:
:x:3:3::/:
`;

test('names have the user IDs of their first lines', () => {
  assert.equal(Object.fromEntries(parseUsers(PASSWD)), {
    ...{ root: 0, 'systemd-network': 998, '1000-2': 7, Jörg: 1001, nobody: 65_534 },
  });
});

test('a name that the file does not have, and a file that does not exist, have no user ID', () => {
  assert.is(userIdOf('root'), 0);
  assert.is(userIdOf('nobody-at-all'), undefined);
  assert.is(userIdOf(''), undefined);
  assert.is(userIdOf('root', '/no/such/file'), undefined);
});

test('a file that cannot be read is an error', () => {
  assert.throws(
    () => userIdOf('root', '/'),
    /in \/, which cannot be read: EISDIR: .*; use the ID of the user/,
  );
});

test.run();
