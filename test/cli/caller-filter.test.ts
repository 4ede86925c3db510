/** The filters by unit, pod and namespace, and the warning about those that match nothing. */
import * as assert from 'uvu/assert';
import {
  type CallerFilter,
  isSelectedCaller,
  readsCallers,
  selectsCallers,
} from '../../src/cli/caller-filter.ts';
import type { Caller } from '../../src/cli/record/caller.ts';
import type { NameLookup } from '../../src/cli/record/names.ts';
import { callerWarnings } from '../../src/cli/trace/callers.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from '../loader/fake.ts';

const test = suite('cli/caller-filter');

const UID = '8dbd9b2e-1f4c-4ab2-b9a1-0c6a5f7e9d21';
const NGINX: Caller = { unit: 'nginx.service' };
const USER: Caller = { unit: 'user@1000.service', user_unit: 'app-a\\x2db.service' };
const CART: Caller = { pod: UID, pod_name: 'cart-7d9f8b6c5-x2x4q', pod_namespace: 'shop' };

const only = (...names: string[]) => ({ only: names });
const not = (...names: string[]) => ({ not: names });

const cases: readonly (readonly [CallerFilter, Caller, boolean])[] = [
  [{}, {}, true],
  [{ unit: only('nginx.service') }, NGINX, true],
  [{ unit: only('nginx.service') }, {}, false],
  [{ unit: only('ssh.service', 'nginx.service') }, NGINX, true],
  [{ unit: only('ssh.service') }, NGINX, false],
  [{ unit: only('nginx') }, NGINX, false],
  [{ unit: only('ngin*') }, NGINX, true],
  [{ unit: only('*') }, {}, false],
  [{ unit: only('ngin?.service') }, NGINX, true],
  [{ unit: only('nginx?service') }, NGINX, true],
  [{ unit: only('ngin?service') }, NGINX, false],
  [{ unit: only('nginx*****.service') }, NGINX, true],
  [{ unit: only('app-a\\x2db.service') }, USER, true],
  [{ unit: only('app-a\\*') }, USER, true],
  [{ unit: only('user@1000.service') }, USER, true],
  [{ unit: not('nginx.service') }, NGINX, false],
  [{ unit: not('nginx.service') }, {}, true],
  [{ unit: not('user@*') }, USER, false],
  [{ unit: { only: ['n*'], not: ['nginx*'] } }, NGINX, false],
  [{ pod: only(UID) }, CART, true],
  [{ pod: only('cart-7d9f*') }, CART, true],
  [{ pod: only('shop') }, CART, false],
  [{ namespace: only('shop') }, CART, true],
  [{ namespace: only('shop') }, NGINX, false],
  [{ namespace: not('shop') }, NGINX, true],
  [{ namespace: only('shop'), pod: only('web-*') }, CART, false],
  [{ namespace: only('shop'), pod: only('cart-*') }, CART, true],
];
for (const [filter, caller, expected] of cases)
  test(`${JSON.stringify(filter)} ${expected ? 'selects' : 'excludes'} ${JSON.stringify(caller)}`, () => {
    assert.is(isSelectedCaller(filter, caller), expected);
  });

test('many wildcards take no exponential time', () => {
  const filter = { unit: only(`${'*a'.repeat(60)}*b`) };
  const begin = performance.now();
  assert.is(isSelectedCaller(filter, { unit: `${'a'.repeat(240)}.service` }), false);
  assert.ok(performance.now() - begin < 1000);
});

test('callers are read for --who and for each of these filters', () => {
  assert.is(selectsCallers({}), false);
  for (const name of ['unit', 'pod', 'namespace']) assert.is(selectsCallers({ [name]: not('x') }), true);
  assert.is(readsCallers({ who: false, filter: {} }), false);
  assert.is(readsCallers({ who: true, filter: {} }), true);
  assert.is(readsCallers({ who: false, filter: { pod: only('x') } }), true);
});

/** A machine whose process 1 is in a service, and 2 in a pod. */
function machine(): FakeSyscalls {
  const fake = new FakeSyscalls();
  fake.inodes.set('/proc/self/ns/pid', 0xeffffffcn);
  for (const name of ['', '1/', '2/', '3/', 'net/']) fake.inodes.set(`/proc/${name}`, 5n);
  fake.files.set('/proc/1/cgroup', '1:name=systemd:/system.slice/nginx.service\n0::/\n');
  fake.files.set('/proc/2/cgroup', `0::/kubepods/pod${UID}/${'a'.repeat(64)}\n`);
  return fake;
}
const NAMES: NameLookup = ({ pod }) => ({
  names: pod === UID ? { pod_name: 'cart-0', pod_namespace: 'shop' } : {},
  isComplete: true,
});

test('a name that no process matches is reported; the others are not', () => {
  const warnings = (filter: CallerFilter) => callerWarnings(filter, new Kernel(machine()), NAMES);
  assert.equal(
    warnings({ unit: only('nginx.service'), pod: only('cart-*', UID), namespace: only('shop') }),
    [],
  );
  assert.equal(warnings({ unit: not('gone.service') }), []);
  assert.equal(warnings({}), []);
  assert.equal(
    warnings({ unit: only('nginx.service', 'gone.service'), pod: only('web-*'), namespace: only('x') }),
    [
      '--unit gone.service: no process matches now; only a later one can match',
      '--pod web-*: no process matches now; only a later one can match',
      '--namespace x: no process matches now; only a later one can match',
    ],
  );
});

test('where the processes of the host are not visible, nothing is reported', () => {
  const contained = machine();
  contained.inodes.set('/proc/self/ns/pid', 4_026_532_500n);
  const hidden = new FakeSyscalls();
  for (const fake of [contained, hidden])
    assert.equal(callerWarnings({ unit: only('gone.service') }, new Kernel(fake), NAMES), []);
});

test.run();
