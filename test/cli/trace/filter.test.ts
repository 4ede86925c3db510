/** What a filter names on this machine, and the line that says that there is no such thing. */
import * as assert from 'uvu/assert';
import { FilterError, resolveFilter } from '../../../src/cli/trace/filter.ts';
import { Kernel } from '../../../src/loader/kernel.ts';
import { suite } from '../../harness.ts';
import { FakeSyscalls } from '../../loader/fake.ts';

const test = suite('cli/trace/filter');

const CLONE_NEWNET = 0x40000000;

/** A machine with a process 7, its network namespace, a namespace by name, and a cgroup. */
function machine(): Kernel {
  const fake = new FakeSyscalls();
  for (const [path, inode] of [
    ['/proc/7/ns/net', 4_026_531_840n],
    ['/run/netns/blue', 4_026_532_999n],
  ] as const) {
    fake.fileSystems.set(path, 0x6e736673);
    fake.inodes.set(path, inode);
  }
  fake.fileSystems.set('/proc/7', 0x9fa0);
  fake.fileSystems.set('/cg/web', 0x63677270);
  fake.inodes.set('/cg/web/.', 1n);
  fake.onIoctl = () => CLONE_NEWNET;
  return new Kernel(fake);
}

test('network namespaces become inode numbers', () => {
  assert.equal(resolveFilter({ netns: { only: ['7', '/run/netns/blue'] } }, machine()), {
    netns: {
      only: [
        [4_026_531_840, 4_026_531_840],
        [4_026_532_999, 4_026_532_999],
      ],
    },
  });
});

test('the criteria for callers are not for the programs', () => {
  const names = { only: ['x'] };
  assert.equal(resolveFilter({ unit: names, pod: names, namespace: names }, machine()), {});
});

test('other criteria stay the same, and absent criteria stay absent', () => {
  const filter = { cgroup: { only: ['/cg/web'] }, port: { not: [[1, 2] as const] } };
  assert.equal(resolveFilter(filter, machine()), filter);
  assert.equal(resolveFilter({}, machine()), {});
});

for (const [filter, message] of [
  [{ netns: { only: ['8'] } }, '--netns 8: no such process'],
  [
    { netns: { only: ['7', '/nope'] } },
    '--netns /nope: cannot open it: ENOENT (no such file or directory); lsns -t net lists the network namespaces and their processes',
  ],
  [
    { cgroup: { only: ['/cg/web', '/cg/gone'] } },
    '--cgroup /cg/gone: cannot open it: ENOENT (no such file or directory); cgroups are the directories below a cgroup2 mount, usually /sys/fs/cgroup',
  ],
] as const)
  test(message, () => {
    assert.throws(
      () => resolveFilter(filter, machine()),
      (error: unknown) => error instanceof FilterError && error.message === message,
    );
  });

test.run();
