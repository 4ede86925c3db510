import { existsSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { parseServices, services } from '../../../src/cli/printer/services.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/printer/services');

const TEXT = `# Network services, Internet style
ssh		22/tcp				# SSH Remote Login Protocol
domain		53/tcp
domain		53/udp
http		80/tcp		www		# WorldWideWeb HTTP
www-other	80/tcp
https		443/tcp
http3		443/udp
#gone		79/tcp
 indented  8000/tcp
x11-1		6001/tcp#right after
sctp-thing	9899/sctp
too-high	65536/tcp
b\u0007ell	8001/tcp
\u202egnol	8002/tcp
${'x'.repeat(300)}	8003/tcp
last		65535/tcp`;

test('a port has its first name for TCP', () => {
  assert.equal(
    [...parseServices(TEXT)],
    [
      ...[
        [22, 'ssh'],
        [53, 'domain'],
        [80, 'http'],
        [443, 'https'],
      ],
      ...[
        [8000, 'indented'],
        [6001, 'x11-1'],
        [65_535, 'last'],
      ],
    ],
  );
});

test('without the file there are no names', () => {
  assert.is(services('/nowhere/services').size, 0);
});

test.skipIf(
  existsSync('/etc/services') ? false : 'there is no /etc/services',
  'the file of this machine has ssh',
  () => {
    assert.is(services().get(22), 'ssh');
  },
);

test.run();
