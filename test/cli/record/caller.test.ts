/** The caller of a connect on a fake machine: when it is read, and when what was read is used again. */
import * as assert from 'uvu/assert';
import { type CallerLookup, callerLookup, placeOf } from '../../../src/cli/record/caller.ts';
import type { NameLookup } from '../../../src/cli/record/names.ts';
import { Kernel } from '../../../src/loader/kernel.ts';
import type { ConnectAttempt } from '../../../src/programs/tcpconnlat/events.ts';
import { suite } from '../../harness.ts';
import { FakeSyscalls } from '../../loader/fake.ts';

const test = suite('cli/record/caller');

const ID = '3f4a9c'.padEnd(64, '0123456789abcdef');
const UID = '8dbd9b2e-1f4c-4ab2-b9a1-0c6a5f7e9d21';
const NO_NAMES: NameLookup = () => ({ names: {}, isComplete: true });

/** A machine with these mounts. The inode number of a folder is its position in the list, from 1. */
function machine(mounts: string, ...folders: string[]): FakeSyscalls {
  const fake = new FakeSyscalls();
  fake.files.set('/proc/self/mounts', mounts);
  folders.forEach((folder, i) => {
    fake.inodes.set(folder, BigInt(i + 1));
  });
  fake.inodes.set('/proc/self/ns/pid', 0xeffffffcn);
  return fake;
}

function lookup(fake: FakeSyscalls, names = NO_NAMES): CallerLookup {
  return callerLookup(
    new Kernel(fake),
    { commandLine: false, warn: assert.unreachable },
    { names, proc: '/nowhere' },
  );
}

const PROCESS = { startNs: 5n, cgroups: 0xffff_8880n, execs: 2n };
/** A connect of process 7 in the cgroup 1. */
const attempt = (changes: Partial<ConnectAttempt> = {}): ConnectAttempt => ({
  ...{ startNs: 1_000n, task: { tid: 7, pid: 7 }, comm: 'x', user: { uid: 0, gid: 0 }, cgroup: 1n },
  process: PROCESS,
  ...changes,
});
const of = (cgroup: bigint, pid = 7) => attempt({ cgroup, task: { tid: pid, pid } });

const V2 = 'none /c cgroup2 rw 0 0\n';
const V1 = 'a /u cgroup2 rw 0 0\nb /m cgroup rw,memory 0 0\n';

test('unit and container are found by the cgroup id, also after the process has exited', () => {
  const scope = `docker-${ID}.scope`;
  const find = lookup(machine(V2, '/c/', '/c/system.slice/', `/c/system.slice/${scope}/`));
  assert.equal(find(of(3n)), { unit: scope, container: ID });
  assert.equal(find(of(2n)), {}, 'the folder above it is none');
  assert.equal(find(of(4n)), {}, 'nor is what nobody knows');
});

test('if v2 has only the root, the v1 hierarchies are used while the process lives', () => {
  const fake = machine(V1, '/u/');
  fake.files.set(
    '/proc/7/cgroup',
    `5:devices:/\n4:memory:/docker/${ID}\n1:name=systemd:/a.slice/b.service\n0::/\n`,
  );
  const find = lookup(fake);
  assert.equal(find(of(1n, 7)), { unit: 'b.service', container: ID });
  assert.equal(find(of(1n, 8)), {});
});

test('without cgroups there is one warning, and no unit and container are found', () => {
  const said: string[] = [];
  const kernel = new Kernel(machine('proc /proc proc rw 0 0\n'));
  const find = callerLookup(
    kernel,
    { commandLine: false, warn: (text) => said.push(text) },
    { names: NO_NAMES, proc: '/nowhere' },
  );
  assert.equal(find(attempt()), {});
  assert.equal(said, ['units and containers are not shown: no cgroup file system is mounted']);
});

/** A v1 machine whose process 7 is in a service; `reads` counts how often its cgroups are read. */
function counted(names = NO_NAMES) {
  const fake = machine(V1, '/u/');
  const state = { unit: 'a.service', reads: 0 };
  const readFile = fake.readFile.bind(fake);
  fake.readFile = (path) => {
    if (path !== '/proc/7/cgroup') return readFile(path);
    state.reads += 1;
    return Buffer.from(`1:name=systemd:/${state.unit}\n0::/\n`);
  };
  return { state, find: lookup(fake, names) };
}

test('a process is read once', () => {
  const { state, find } = counted();
  const first = find(attempt());
  assert.equal(first, { unit: 'a.service' });
  for (let i = 1; i < 100; i++)
    assert.is(find(attempt({ startNs: BigInt(i) * 10n ** 9n, process: { ...PROCESS } })), first);
  assert.is(state.reads, 1);
});

for (const [what, changes] of [
  ['another start time, so another process with its PID', { process: { ...PROCESS, startNs: 6n } }],
  ['another css_set, so other cgroups', { process: { ...PROCESS, cgroups: 0xffff_8881n } }],
  ['another exec', { process: { ...PROCESS, execs: 3n } }],
  ['another cgroup', { cgroup: 9n }],
] as const)
  test(`it is read again after ${what}`, () => {
    const { state, find } = counted();
    find(attempt());
    state.unit = 'b.service';
    assert.equal(find(attempt(changes)), { unit: 'b.service' });
    assert.is(state.reads, 2);
  });

test('the values of an event are not used after it, because the next event has the same object', () => {
  const { state, find } = counted();
  const view = { ...attempt(), process: { ...PROCESS } };
  find(view);
  view.process.execs = 3n;
  find(view);
  assert.is(state.reads, 2);
});

test('without the values of the process, it is read again after a moment', () => {
  const { state, find } = counted();
  const at = (startNs: bigint) => find(attempt({ startNs, process: undefined }));
  for (const ns of [0n, 50_000_000n, 99_999_999n]) at(ns);
  assert.is(state.reads, 1);
  at(100_000_000n);
  assert.is(state.reads, 2);
});

test('names that are not there yet are looked for again', () => {
  let isComplete = false;
  const { state, find } = counted(() => ({ names: isComplete ? { pod_name: 'cart-0' } : {}, isComplete }));
  find(attempt({ startNs: 0n }));
  isComplete = true;
  assert.equal(find(attempt({ startNs: 99_999_999n })), { unit: 'a.service' });
  assert.equal(find(attempt({ startNs: 100_000_000n })), { unit: 'a.service', pod_name: 'cart-0' });
  find(attempt({ startNs: 10n ** 12n }));
  assert.is(state.reads, 2);
});

test('a process that exits while its names are looked for keeps its facts', () => {
  const fake = machine(V1, '/u/');
  fake.files.set('/proc/7/cgroup', '1:name=systemd:/a.service\n0::/\n');
  const find = lookup(fake, () => ({ names: {}, isComplete: false }));
  assert.equal(find(attempt({ startNs: 0n })), { unit: 'a.service' });
  fake.files.delete('/proc/7/cgroup');
  assert.equal(find(attempt({ startNs: 10n ** 9n })), { unit: 'a.service' });
  assert.equal(
    find(attempt({ startNs: 10n ** 9n, process: { ...PROCESS, startNs: 6n } })),
    {},
    'another process',
  );
});

test('a cgroup that is not known yet is looked for again', () => {
  const fake = machine(V2, '/c/');
  let now = 0n;
  fake.onClock = () => now;
  const find = lookup(fake);
  assert.equal(find(attempt({ cgroup: 2n, startNs: 0n })), {});
  fake.inodes.set('/c/a.service/', 2n);
  now = 10n ** 9n;
  assert.equal(find(attempt({ cgroup: 2n, startNs: 1n })), {});
  assert.equal(find(attempt({ cgroup: 2n, startNs: 10n ** 9n })), { unit: 'a.service' });
});

test('the number of remembered processes is limited, and the oldest goes first', () => {
  const { state, find } = counted();
  const by = (pid: number) => find(attempt({ task: { tid: pid, pid } }));
  by(7);
  for (let pid = 8; pid < 7 + 4096; pid++) by(pid);
  by(7);
  assert.is(state.reads, 1);
  by(9000);
  by(7);
  assert.is(state.reads, 2);
});

test('unit, container and pod may be in different hierarchies', () => {
  const pod = `/kubepods/burstable/pod${UID}/${ID}`;
  assert.equal(placeOf(['/', '/a.service', pod]), { unit: 'a.service', container: ID, pod: UID });
  assert.equal(placeOf([pod, '/a.service', '/b.service']), { unit: 'a.service', container: ID, pod: UID });
  assert.equal(placeOf([]), {});
});

test.run();
