/** Paths of network namespaces and cgroups, and paths of other files. */
import * as assert from 'uvu/assert';
import { cgroupArray } from '../../src/asm/map.ts';
import { openCgroup } from '../../src/loader/cgroup.ts';
import { Errno } from '../../src/loader/errno.ts';
import { PathError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { BpfMap } from '../../src/loader/map.ts';
import { networkNamespace } from '../../src/loader/namespace.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';

const test = suite('loader/namespace');

const NSFS = 0x6e736673;
const CGROUP2 = 0x63677270;
const CLONE_NEWNET = 0x40000000;
const CLONE_NEWUTS = 0x04000000;

/** A machine with one file. */
function withFile(path: string, type: number, inode?: bigint): FakeSyscalls {
  const fake = new FakeSyscalls();
  fake.fileSystems.set(path, type);
  if (inode !== undefined) fake.inodes.set(path, inode);
  return fake;
}

/** Asserts that `run` throws a PathError and leaves nothing open. */
function assertWrong(fake: FakeSyscalls, run: (kernel: Kernel) => void, message: RegExp): void {
  assert.throws(
    () => run(new Kernel(fake)),
    (error: unknown) => error instanceof PathError && error.path === '/x' && message.test(error.message),
  );
  assert.is(fake.open.size, 0);
}

test('a network namespace is its inode number', () => {
  const fake = withFile('/x', NSFS, 4_026_531_840n);
  fake.onIoctl = (_, request) => (request === 0xb703 ? CLONE_NEWNET : -Errno.EINVAL);
  assert.is(networkNamespace(new Kernel(fake), '/x'), 4_026_531_840);
  assert.is(fake.open.size, 0);
});

test('a file that is missing, unreadable or not a namespace is refused', () => {
  const namespace = (kernel: Kernel) => void networkNamespace(kernel, '/x');
  assertWrong(
    new FakeSyscalls(),
    namespace,
    /^\/x: cannot open it: ENOENT \(no such file or directory\); lsns -t net lists the network namespaces and their processes$/,
  );
  assertWrong(withFile('/x', NSFS), namespace, /^\/x: cannot open it: ENOENT/);
  const plain = withFile('/x', 0xef53, 5n);
  assertWrong(plain, namespace, /^\/x: not a namespace file; use \/proc\/PID\/ns\/net/);
  assert.equal(plain.calls, [], 'the file is not opened, because it could be a pipe');
});

test('a namespace of another type is refused', () => {
  const fake = withFile('/x', NSFS, 5n);
  fake.onIoctl = () => CLONE_NEWUTS;
  assertWrong(fake, (kernel) => networkNamespace(kernel, '/x'), /^\/x: a namespace of another type; use/);
});

/** A machine with the directory of one cgroup. */
function withCgroup(type = CGROUP2): FakeSyscalls {
  const fake = withFile('/x', type);
  fake.inodes.set('/x/.', 7n);
  return fake;
}

test('openCgroup opens the directory for its caller', () => {
  const fake = withCgroup();
  openCgroup(new Kernel(fake), '/x').close();
  assert.is(fake.open.size, 0);
});

test('cgroup v1, other directories, files and missing paths are refused', () => {
  const open = (kernel: Kernel) => openCgroup(kernel, '/x').close();
  assertWrong(withCgroup(0x27e0eb), open, /^\/x: a cgroup of version 1, but version 2 is required/);
  assertWrong(withCgroup(0x01021994), open, /^\/x: not a cgroup; use a directory below a cgroup2 mount/);
  assertWrong(withFile('/x', CGROUP2, 7n), open, /^\/x: cannot open it: ENOENT/);
  assertWrong(new FakeSyscalls(), open, /^\/x: cannot open it: ENOENT/);
});

test('a cgroup array is filled, and its descriptors are closed', () => {
  const fake = withCgroup();
  const held: number[][] = [];
  fake.answers.set(2, (attr) => {
    const words = [8, 16].map((at) =>
      new DataView(fake.at(attr.getBigUint64(at, true)).buffer).getUint32(0, true),
    );
    assert.is(fake.open.has(words[1] as number), true);
    held.push(words);
    return 0;
  });
  const map = BpfMap.create(new Kernel(fake), cgroupArray('groups', ['/x', '/x']));
  assert.equal(
    held.map(([index]) => index),
    [0, 1],
  );
  assert.equal([...fake.open], [map.fd]);
});

test('a map with a missing cgroup is closed', () => {
  assertWrong(
    new FakeSyscalls(),
    (kernel) => BpfMap.create(kernel, cgroupArray('groups', ['/x'])),
    /^\/x: cannot open it/,
  );
});

test.run();
