import * as assert from 'uvu/assert';
import { CgroupPaths, parseProcCgroup } from '../../src/loader/cgroup-paths.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';

const test = suite('loader/cgroup-paths');

/**
 * A machine whose cgroup hierarchy is at /c, with the directories a and a/b, whose ids are 2 and 3. Tests
 * advance the clock.
 */
class Machine extends FakeSyscalls {
  constructor() {
    super();
    this.mount('cgroup2 /c cgroup2 rw 0 0\n');
    this.inodes.set('/c/', 1n).set('/c/a/', 2n).set('/c/a/b/', 3n).set('/proc/self/ns/pid', 0xeffffffcn);
  }

  mount(text: string): void {
    this.files.set('/proc/self/mounts', text);
  }

  paths(): CgroupPaths {
    return new CgroupPaths(new Kernel(this));
  }

  /** The number of searches of the hierarchy. */
  get walks(): number {
    return this.calls.filter((call) => call === 'folders /c/').length;
  }
}

test('all cgroups are known from the start, also after they are removed', () => {
  const machine = new Machine();
  const cgroups = machine.paths();
  assert.is(cgroups.mounted, true);
  assert.is(cgroups.size, 3);
  for (const path of ['/c/', '/c/a/', '/c/a/b/']) machine.inodes.delete(path);
  assert.equal(
    [1n, 2n, 3n].map((id) => [...cgroups.of(id, 9)]),
    [['/'], ['/a'], ['/a/b']],
  );
  assert.is(machine.walks, 1);
});

test('the cgroup of a live process is read from /proc without a search', () => {
  const machine = new Machine();
  const cgroups = machine.paths();
  machine.inodes.set('/c/new/', 4n);
  machine.files.set('/proc/9/cgroup', '0::/new\n');
  assert.equal([...cgroups.of(4n, 9)], ['/new']);
  machine.files.delete('/proc/9/cgroup');
  assert.equal([...cgroups.of(4n, 9)], ['/new'], 'and is remembered');
  assert.is(machine.walks, 1);
});

test('the cgroup of an exited process is searched for', () => {
  const machine = new Machine();
  const cgroups = machine.paths();
  machine.inodes.set('/c/a/new/', 4n);
  assert.equal([...cgroups.of(4n, 9)], ['/a/new']);
  assert.is(machine.walks, 2);
});

test('a process that moved, or a reused pid, does not give a wrong path', () => {
  const machine = new Machine();
  const cgroups = machine.paths();
  machine.inodes.set('/c/new/', 4n);
  machine.files.set('/proc/9/cgroup', '0::/a/b\n');
  assert.equal([...cgroups.of(4n, 9)], ['/new']);
});

test('in another pid namespace /proc is not read', () => {
  const machine = new Machine();
  const cgroups = machine.paths();
  machine.inodes.set('/proc/self/ns/pid', 4026532000n).set('/c/new/', 4n);
  machine.files.set('/proc/9/cgroup', '0::/wrong\n');
  assert.equal([...cgroups.of(4n, 9)], ['/new']);
});

test('in a cgroup namespace the paths in /proc are used although they do not exist', () => {
  const machine = new Machine();
  const cgroups = machine.paths();
  machine.files.set('/proc/9/cgroup', '0::/../other\n');
  assert.equal([...cgroups.of(77n, 9)], ['/../other']);
});

test('searches take at most a tenth of the time', () => {
  const machine = new Machine();
  let now = 0n;
  machine.onClock = () => {
    now += 5n; // which is as long as a walk takes then
    return now;
  };
  const cgroups = machine.paths();
  const walksOf = (times: number) => {
    const before = machine.walks;
    for (let i = 0; i < times; i++) assert.equal([...cgroups.of(99n, 9)], []);
    return machine.walks - before;
  };
  assert.is(walksOf(1), 0, 'the first search was just now');
  now += 40n;
  assert.is(walksOf(3), 1);
  const begin = now;
  const walks = walksOf(1000);
  assert.ok(walks > 50 && 5n * BigInt(walks) <= (now - begin) / 10n, `${walks} in ${now - begin} ns`);
});

test('if a part has a mount of its own, the longer path is used', () => {
  for (const mounts of [
    'x /c cgroup2 rw 0 0\ny /p cgroup2 rw 0 0\n',
    'y /p cgroup2 rw 0 0\nx /c cgroup2 rw 0 0\n',
  ]) {
    const machine = new Machine();
    machine.mount(mounts);
    machine.inodes.set('/p/', 2n).set('/p/b/', 3n);
    const cgroups = machine.paths();
    assert.equal([...cgroups.of(2n, 9)], ['/a']);
    assert.equal([...cgroups.of(3n, 9)], ['/a/b']);
  }
});

test('the number of remembered cgroups is limited', () => {
  const machine = new Machine();
  const cgroups = machine.paths();
  for (let id = 10n; id < 20_010n; id++) {
    machine.inodes.set('/c/new', id);
    machine.files.set('/proc/9/cgroup', '0::/new\n');
    assert.equal([...cgroups.of(id, 9)], ['/new']);
  }
  assert.is(cgroups.size, 16_384);
});

test('without a mounted hierarchy no cgroup is found', () => {
  const machine = new Machine();
  machine.mount('proc /proc proc rw 0 0\n');
  const cgroups = machine.paths();
  assert.is(cgroups.mounted, false);
  assert.equal([...cgroups.of(2n, 9)], []);
});

test('v2 and v1 are distinguished, systemd comes first in v1, and a path may contain colons', () => {
  const text = '12:cpu,cpuacct:/x\n3:name=systemd:/user.slice\n1:pids:/\n0::/a:b/c\n';
  assert.equal(parseProcCgroup(text), { v2: '/a:b/c', v1: ['/user.slice', '/x', '/'] });
  assert.equal(parseProcCgroup(''), { v2: undefined, v1: [] });
});

test.run();
