/** Queues, stacks, bloom filters and storage maps: programs and this process use the same values. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { BPF_EXIST } from '../../src/asm/flags.ts';
import { getCurrentTaskBtf } from '../../src/asm/helpers.ts';
import { lsm, tpBtf } from '../../src/asm/hooks.ts';
import { chars, struct, u32, u64 } from '../../src/asm/layout.ts';
import { cgrpStorage, inodeStorage, skStorage, taskStorage } from '../../src/asm/local-storage.ts';
import { globals, type MapSpec, mapTypeName, mapTypeSince } from '../../src/asm/map.ts';
import { bloomFilter, queue, stack } from '../../src/asm/queue.ts';
import { stackTrace } from '../../src/asm/stack-trace.ts';
import { target } from '../../src/asm/target.ts';
import { openCgroup } from '../../src/loader/cgroup.ts';
import { KernelError, UnsupportedError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { BpfMap, UpdateMode } from '../../src/loader/map.ts';
import { duplicateDescriptor, openProcess } from '../../src/loader/process.ts';
import { Session } from '../../src/loader/session.ts';
import { needsRoot, suite } from '../harness.ts';
import { CgroupTree } from './cgroup-tree.ts';
import { isReleased } from './release.ts';
import { cannotRun, withProgram } from './run-program.ts';

const test = suite('live/map-types', { seconds: 40 });

const kernel = new Kernel();
const on = target(process.arch, kernel.btf);
const Job = struct({ id: u64, comm: chars(12), flags: u32 });

const jobs = queue('jobs', { value: Job, maxEntries: 4 });
const recent = stack('recent', { value: u32, maxEntries: 3 });
const seen = bloomFilter('seen', { value: u64, maxEntries: 1_000 });
const precise = bloomFilter('precise', { value: u64, maxEntries: 1_000, hashes: 15 });
const stacks = stackTrace('stacks', { maxEntries: 1_024 });
const perTask = taskStorage('per_task', { value: u64 });
const perInode = inodeStorage('per_inode', { value: u64 });
const perCgroup = cgrpStorage('per_cgroup', { value: u64 });
const perSocket = skStorage('per_socket', { value: struct({ changes: u64, last: u32, first: u32 }) });
const all: readonly MapSpec[] = [
  ...[jobs, recent, seen, precise, stacks],
  ...[perTask, perInode, perCgroup, perSocket],
];

/** Why the map cannot be created, or false. */
function lacks(spec: MapSpec): string | false {
  if (needsRoot) return needsRoot;
  try {
    BpfMap.create(kernel, spec).close();
    return false;
  } catch (error) {
    if (error instanceof UnsupportedError) return error.message;
    throw error;
  }
}

for (const spec of all) {
  const name = mapTypeName(spec.type);
  const since = mapTypeSince(spec.type);
  test.skipIf(needsRoot, `${spec.name}: ${name} maps exist from Linux ${since} on`, () => {
    if (isReleased(since)) assert.is(lacks(spec), false);
    else
      assert.throws(
        () => BpfMap.create(kernel, spec, { debug: true }),
        (error: Error) =>
          error instanceof UnsupportedError &&
          error.since === since &&
          error.message.startsWith(
            `this kernel has no ${name} maps (Linux ${since} and later): '${spec.name}'`,
          ),
      );
  });
}

test.skipIf(needsRoot, 'maps of all types take debug information, or go without', () => {
  for (const spec of all.filter((each) => lacks(each) === false))
    BpfMap.create(kernel, spec, { debug: true }).close();
});

test.skipIf(
  cannotRun,
  'a program pushes to a queue and a stack, and this process pops in their orders',
  () => {
    withProgram(
      [jobs, recent],
      (b) => {
        b.keep(b.context);
        const job = b.stack(Job);
        job.set(0);
        job.id.set(b.arg(0));
        b.push(jobs, job);
        b.exit(b.push(recent, b.arg(0).as(u32), BPF_EXIST));
      },
      ({ run, map }) => {
        for (const id of [1n, 2n, 3n, 4n, 5n]) assert.is(run(id), 0);
        const [first, last] = [map(jobs), map(recent)];
        assert.equal(first.peek(), { id: 1n, comm: '', flags: 0 });
        assert.equal(
          Array.from({ length: 5 }, () => first.pop()?.id),
          [1n, 2n, 3n, 4n, undefined], // the fifth did not fit
        );
        assert.equal(
          Array.from({ length: 4 }, () => last.pop()),
          [5, 4, 3, undefined], // the oldest made room
        );
      },
    );
  },
);

test.skipIf(cannotRun, 'this process pushes, and a program peeks and pops', () => {
  withProgram(
    [jobs],
    (b) => {
      b.peek(jobs, {
        found: ({ id, flags }) => {
          b.if(id.ne(7), () => b.exit(1000));
          b.if(flags.ne(9), () => b.exit(1001));
        },
        missing: () => b.exit(1002),
      });
      b.pop(jobs, { found: (job) => b.exit(job.id.get().as(u32)) });
      b.exit(1003);
    },
    ({ run, map }) => {
      map(jobs).push({ id: 7n, comm: 'worker', flags: 9 });
      assert.equal([run(), run()], [7, 1002]);
    },
  );
});

test.skipIf(needsRoot, 'a full queue refuses a value, and UpdateMode.replace drops the oldest', () => {
  const map = BpfMap.create(kernel, queue('full', { value: u32, maxEntries: 2 }));
  map.push(1);
  map.push(2);
  assert.throws(
    () => map.push(3),
    (error: Error) =>
      error instanceof KernelError &&
      error.errnoName === 'E2BIG' &&
      /its 2 entries are in use; pop values, or drop the oldest/.test(error.message),
  );
  map.push(3, UpdateMode.replace);
  assert.equal([map.pop(), map.pop(), map.pop()], [2, 3, undefined]);
  assert.throws(
    () => map.lookup(0 as never),
    /map 'full': a queue or stack has no keys; use push, pop and peek/,
  );
  assert.throws(() => [...map.keys()], /a queue or stack has no keys/);
  assert.throws(
    () => map.add(1 as never),
    /add\(\) needs a map made by bloomFilter\(\); the map 'full' is a queue/,
  );
  map.close();
});

for (const filter of [seen, precise])
  test.skipIf(cannotRun || lacks(filter), `${filter.name} has every added value and few others`, () => {
    withProgram(
      [filter],
      (b) => {
        b.keep(b.context);
        b.if(b.arg(1).eq(1), () => b.exit(b.push(filter, b.arg(0))));
        b.peek(filter, b.arg(0), { found: () => b.exit(10), missing: () => b.exit(20) });
      },
      ({ run, map }) => {
        const open = map(filter);
        for (let value = 0n; value < 500n; value++) open.add(value);
        for (let value = 500n; value < 1_000n; value++) assert.is(run(value, 1n), 0);
        const answers = { here: new Set<boolean>(), there: new Set<number>() };
        for (let value = 0n; value < 1_000n; value++) {
          answers.here.add(open.has(value));
          answers.there.add(run(value));
        }
        assert.equal([...answers.here, ...answers.there], [true, 10]);
        let wrong = 0;
        for (let value = 10_000n; value < 12_000n; value++) {
          if (open.has(value)) wrong++;
          assert.is(run(value), open.has(value) ? 10 : 20);
        }
        assert.ok(wrong < 200, `${wrong} of 2000 other values`);
      },
    );
  });

const noTasks =
  cannotRun || lacks(perTask) || (!isReleased('5.12') && 'only LSM programs have it before 5.12');

test.skipIf(noTasks, 'a task has a value that a program creates, and this process reads by a pidfd', () => {
  withProgram(
    [perTask],
    (b) => {
      b.keep(b.context);
      const start = b.keep(b.arg(0));
      b.lookup(perTask, b.call(getCurrentTaskBtf), {
        found: (value) => b.exit(value.get().as(u32)),
        missing: () => {},
      });
      b.lookup(perTask, b.call(getCurrentTaskBtf), { create: start, found: () => b.exit(1) });
      b.exit(2);
    },
    ({ run, map }) => {
      const tasks = map(perTask);
      const self = openProcess(kernel, process.pid);
      const other = openProcess(kernel, process.ppid);
      assert.is(tasks.lookup(self.fd), undefined);
      assert.equal([run(40n), run(41n)], [1, 40]);
      assert.is(tasks.lookup(self.fd), 40n);
      assert.is(tasks.lookup(other.fd), undefined);
      tasks.update(self.fd, 50n);
      assert.is(run(), 50);
      assert.equal([tasks.delete(self.fd), tasks.delete(self.fd)], [true, false]);
      assert.throws(() => tasks.lookup(9_999), /EBADF.*the key must be a pidfd, as openProcess opens it/);
      assert.throws(() => [...tasks.keys()], /does not list the values of a storage map/);
      self.close();
      other.close();
    },
  );
});

test.skipIf(noTasks, 'count() and delete() take the owner of a value', () => {
  withProgram(
    [perTask],
    (b) => {
      b.if(b.arg(0).eq(1), () => b.exit(b.delete(perTask, b.call(getCurrentTaskBtf))));
      b.count(perTask, b.call(getCurrentTaskBtf), 2);
      b.lookup(perTask, b.call(getCurrentTaskBtf), { found: (value) => b.exit(value.get().as(u32)) });
    },
    ({ run }) => assert.equal([run(), run(), run(1n), run()], [2, 4, 0, 2]),
  );
});

const noTpBtf = needsRoot || (kernel.btf === undefined && 'needs kernel BTF');

test.skipIf(noTasks || noTpBtf, 'the value of a task ends with it', async () => {
  const filter = globals('filter', struct({ pid: u32, done: u32 }));
  const onExec = tpBtf('sched_process_exec', on, (b) => {
    // sched_process_exec(struct task_struct *p, pid_t old_pid, ...)
    const { pid } = b.kernel(b.arg(0)).fields({ pid: 'tgid' });
    b.if(b.global(filter).pid.ne(pid), () => b.exit());
    b.count(perTask, b.arg(0));
  });
  const session = Session.open({ name: 'exec', programs: [onExec] }, { kernel });
  try {
    const child = spawn('sh', ['-c', 'echo; read _; exec sleep 60'], { stdio: ['pipe', 'pipe', 'ignore'] });
    await once(child.stdout, 'data');
    session.map(filter).view.pid.set(child.pid as number);
    const pidfd = openProcess(kernel, child.pid as number);
    child.stdin.end('\n');
    const tasks = session.map(perTask);
    const deadline = Date.now() + 10_000;
    while (tasks.lookup(pidfd.fd) === undefined && Date.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 10));
    assert.is(tasks.lookup(pidfd.fd), 1n);
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.is(tasks.lookup(pidfd.fd), undefined);
    pidfd.close();
  } finally {
    session.close();
  }
});

async function connected(use: (client: Socket, server: Server) => Promise<void> | void): Promise<void> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as { port: number }).port, '127.0.0.1');
  await once(client, 'connect');
  try {
    await use(client, server);
  } finally {
    client.destroy();
    server.close();
  }
}

/** Node has no public name for the descriptor of a socket. */
function descriptorOf(socket: Socket): number {
  return (socket as unknown as { _handle: { fd: number } })._handle.fd;
}

const noSockets =
  noTpBtf || lacks(perSocket) || (!isReleased('5.11') && 'not in tracing programs before 5.11');

test.skipIf(noSockets, 'a socket has a value under tp_btf inet_sock_set_state', async () => {
  const onState = tpBtf('inet_sock_set_state', on, (b) => {
    b.keep(b.context);
    b.lookup(perSocket, b.arg(0), {
      create: true,
      found: ({ changes, last, first }) => {
        b.if(changes.eq(0), () => first.set(b.arg(1).as(u32)));
        changes.atomicAdd(1);
        last.set(b.arg(2).as(u32));
      },
    });
  });
  const session = Session.open({ name: 'states', programs: [onState] }, { kernel });
  try {
    await connected((client) => {
      const fd = descriptorOf(client);
      const sockets = session.map(perSocket);
      // CLOSE (7) to SYN_SENT (2), and to ESTABLISHED (1).
      assert.equal(sockets.lookup(fd), { changes: 2n, last: 1, first: 7 });
      const copy = duplicateDescriptor(kernel, process.pid, fd);
      assert.equal(sockets.lookup(copy.fd), { changes: 2n, last: 1, first: 7 });
      copy.close();
      const file = openSync('/dev/null', 'r');
      assert.throws(() => sockets.lookup(file), /ENOTSOCK.*the key must be the descriptor of a socket/);
      closeSync(file);
    });
  } finally {
    session.close();
  }
});

test.skipIf(noTpBtf || lacks(perCgroup), 'a cgroup has a value under tp_btf cgroup_attach_task', async () => {
  const onMove = tpBtf('cgroup_attach_task', on, (b) => b.count(perCgroup, b.arg(0)));
  const session = Session.open({ name: 'moves', programs: [onMove] }, { kernel });
  const tree = CgroupTree.open();
  const children = [1, 2].map(() => spawn('sleep', ['60']));
  try {
    let folder = '';
    for (const child of children) folder = tree.put(child.pid as number, `tsbpf-storage-${process.pid}`);
    const cgroup = openCgroup(kernel, folder);
    assert.is(session.map(perCgroup).lookup(cgroup.fd), 2n);
    assert.throws(() => session.map(perCgroup).lookup(9_999), /the key must be the descriptor of a cgroup's/);
    cgroup.close();
  } finally {
    for (const child of children) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    tree.close();
    session.close();
  }
});

/** Why LSM programs do not run on this kernel, or false. */
function noLsm(): string | false {
  if (noTpBtf) return noTpBtf;
  try {
    Session.open({ name: 'lsm', programs: [lsm('file_open', on, (b) => b.exit())] }, { kernel }).close();
    return false;
  } catch (error) {
    if (error instanceof KernelError || error instanceof UnsupportedError) return error.message;
    throw error;
  }
}

test.skipIf(lacks(perInode) || noLsm(), 'an inode has a value under the LSM hook file_open', () => {
  const onOpen = lsm('inode_permission', on, (b) => b.count(perInode, b.arg('inode')));
  const session = Session.open({ name: 'opens', programs: [onOpen] }, { kernel });
  const folder = mkdtempSync(join(tmpdir(), 'tsbpf-inode-'));
  try {
    const path = join(folder, 'file');
    writeFileSync(path, '');
    const fd = openSync(path, 'r');
    const inodes = session.map(perInode);
    const before = inodes.lookup(fd) ?? 0n;
    for (let i = 0; i < 3; i++) closeSync(openSync(path, 'r'));
    assert.is((inodes.lookup(fd) ?? 0n) - before, 3n);
    closeSync(fd);
  } finally {
    session.close();
    rmSync(folder, { recursive: true });
  }
});

test.skipIf(lacks(perInode) || noLsm(), 'an LSM program denies an operation', () => {
  const filter = globals('filter', struct({ inode: u64 }));
  const onUnlink = lsm('inode_unlink', on, (b) => {
    // inode_unlink(struct inode *dir, struct dentry *dentry)
    b.keep(b.context);
    const { inode } = b.kernel(b.arg(0)).fields({ inode: 'i_ino' });
    b.if(b.global(filter).inode.eq(inode), () => b.exit(-1));
  });
  const folder = mkdtempSync(join(tmpdir(), 'tsbpf-unlink-'));
  const session = Session.open({ name: 'unlink', programs: [onUnlink] }, { kernel });
  try {
    writeFileSync(join(folder, 'file'), '');
    session.map(filter).view.inode.set(kernel.syscalls.inodeAt(folder));
    assert.throws(() => rmSync(join(folder, 'file')), /EPERM/);
  } finally {
    session.close();
    rmSync(folder, { recursive: true });
  }
});

test.skipIf(cannotRun || lacks(stacks), 'stackId() stores a stack once', () => {
  withProgram(
    [stacks],
    (b) => b.exit(b.stackId(stacks)),
    ({ run, map }) => {
      const ids = new Set([1, 2, 3].map(() => run()));
      assert.is(ids.size, 1);
      const [id = 0] = ids;
      assert.ok(id < 1_024, `stack ${id | 0}`);
      const addresses = map(stacks).lookup(id) ?? [];
      assert.ok(addresses.length === 127 && (addresses[0] as bigint) > 1n << 63n, String(addresses[0]));
      assert.equal([...map(stacks).keys()], [id]);
      assert.throws(() => map(stacks).update(0, new Array(127).fill(1n)), /only programs add stacks/);
    },
  );
});

test.run();
