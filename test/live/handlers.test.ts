/** Exceptions in handlers, with the kernel's rings and real waits of the event loop. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import * as assert from 'uvu/assert';
import type { PerfEventArraySpec } from '../../src/asm/events.ts';
import { Errno } from '../../src/loader/errno.ts';
import { Session, type SessionOptions } from '../../src/loader/session.ts';
import type { Poll } from '../../src/loader/syscalls.ts';
import { needsRoot, sameOnEveryKernel, suite } from '../harness.ts';
import { type Event, getuidTool, until } from '../loader/tools.ts';
import { caught, uncaughtIn } from '../uncaught.ts';
import { exists } from './loaded.ts';
import { here } from './tracer.ts';

const test = suite('live/handlers', { seconds: 30 });

const uncaught = uncaughtIn(test);

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

/** A session on this process's calls of getuid(). `thrown` returns the exception for an event, if any. */
function open(
  thrown: (sequence: number) => Error | undefined,
  options: Partial<SessionOptions<PerfEventArraySpec<typeof Event>>> = {},
): { readonly session: Session<PerfEventArraySpec<typeof Event>>; readonly seen: number[] } {
  const seen: number[] = [];
  const session = Session.open(getuidTool(process.pid), {
    onEvent({ sequence }) {
      seen.push(sequence);
      const error = thrown(sequence);
      if (error) throw error;
    },
    ...options,
  });
  return { session, seen };
}

test.skipIf(
  needsRoot,
  'an exception during a wake-up becomes an uncaughtException, and later events still arrive',
  async () => {
    const boom = new Error('boom');
    let sweeps = 0;
    const { session, seen } = open((sequence) => (sequence === 2 ? boom : undefined), {
      onTick: () => sweeps++,
    });
    try {
      const EVENTS = 6;
      for (let sequence = 1; sequence <= EVENTS; sequence++) {
        process.getuid?.();
        await until(() => seen.length === sequence);
        const { calls } = session.tool as ReturnType<typeof getuidTool>;
        assert.is(session.map(calls).lookup(0), sequence);
      }
      // Without wake-ups each event from the third on would wait for its own sweep.
      assert.ok(sweeps < EVENTS - 3, `${sweeps} sweeps`);
      assert.is(uncaught.length, 1);
      assert.is(uncaught[0], boom);
    } finally {
      session.close();
    }
  },
);

for (const [name, handled] of [
  ['onError receives each exception', true],
  ['without onError it throws the exceptions', false],
] as const)
  for (const end of ['close', 'detach'] as const)
    test.skipIf(needsRoot, `${end}() delivers every event in the rings; ${name}`, async () => {
      const CALLS = 3000;
      const bad = [1, 50, 2999].map((sequence) => ({ sequence, error: new Error(`event ${sequence}`) }));
      const reported: unknown[] = [];
      let lost = 0;
      const { session, seen } = open((sequence) => bad.find((each) => each.sequence === sequence)?.error, {
        pagesPerCpu: 256,
        onLost: (count) => {
          lost += count;
        },
        onError: handled ? (error) => reported.push(error) : undefined,
      });
      const ids = session.programs.map((program) => program.info().id);
      // These events stay in the rings: the event loop does not run before the end.
      for (let call = 0; call < CALLS; call++) process.getuid?.();
      const thrown = caught(() => session[end]());
      session.close();
      assert.is(lost, 0);
      assert.equal(
        seen.sort((a, b) => a - b),
        Array.from({ length: CALLS }, (_, index) => index + 1),
      );
      const reports = new Set<unknown>(handled ? reported : (thrown as AggregateError).errors);
      assert.is(reports.size, bad.length);
      assert.ok(bad.every(({ error }) => reports.has(error)));
      if (handled) assert.is(thrown, undefined);
      await until(() => ids.every((id) => !exists(here, id)));
      assert.equal(uncaught, []);
    });

test.skipIf(needsRoot, 'close() rethrows a single exception and leaves nothing open', () => {
  const descriptors = () => readdirSync('/proc/self/fd').length;
  const boom = new Error('boom');
  const cycle = () => {
    const { session, seen } = open((sequence) => (sequence === 1 ? boom : undefined));
    for (let call = 0; call < 100; call++) process.getuid?.();
    assert.is(
      caught(() => session.close()),
      boom,
    );
    assert.equal(
      seen,
      Array.from({ length: 100 }, (_, index) => index + 1),
    );
  };
  cycle();
  const before = descriptors();
  for (let i = 0; i < 10; i++) cycle();
  assert.is(descriptors(), before);
});

test.skipIf(needsRoot, 'a handler that closes the session and throws gets every event once', async () => {
  const boom = new Error('boom');
  const all = open((sequence) => {
    if (sequence !== 1) return undefined;
    for (let call = 0; call < 9; call++) process.getuid?.();
    all.session.close();
    return boom;
  });
  process.getuid?.();
  await until(() => uncaught.length > 0);
  assert.equal(uncaught, [boom]);
  assert.equal(all.seen, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test.skipIf(
  needsRoot,
  'without a listener an exception ends the process, and nothing stays attached',
  async () => {
    const file = (path: string) => new URL(path + extname(import.meta.url), import.meta.url).href;
    const script = `
    const { Session } = await import('${file('../../src/loader/session')}');
    const { getuidTool } = await import('${file('../loader/tools')}');
    const session = Session.open(getuidTool(process.pid), { onEvent() { throw new Error('boom'); } });
    console.log(session.programs[0].info().id);
    setTimeout(() => process.getuid(), 100);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [id, stderr] = ['', ''];
    child.stdout.on('data', (data) => {
      id += data;
    });
    child.stderr.on('data', (data) => {
      stderr += data;
    });
    const [status] = await once(child, 'close');
    assert.is(status, 1);
    assert.match(stderr, /Error: boom\n\s+at .*onEvent/);
    await until(() => !exists(here, Number(id)));
  },
);

/** A named pipe: one end to read, one to write. */
function withPipe<T>(use: (reader: number, writer: number, path: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'tsbpf-'));
  const path = join(folder, 'pipe');
  execFileSync('mkfifo', [path]);
  try {
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    return use(reader, openSync(path, constants.O_WRONLY), path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Asserts that the wait began. */
function begun(poll: Poll | number): Poll {
  if (typeof poll === 'number') throw new Error(`errno ${-poll}`);
  return poll;
}

test.skipIf(
  sameOnEveryKernel,
  'if a poll callback throws, the exception becomes an uncaughtException and polling continues',
  async () => {
    const thrown = [new Error('first'), new Error('second')];
    await withPipe(async (reader, writer) => {
      let calls = 0;
      const poll = begun(
        here.syscalls.poll(reader, () => {
          readSync(reader, new Uint8Array(1));
          throw thrown[calls++];
        }),
      );
      for (const count of [1, 2]) {
        writeSync(writer, 'x');
        await until(() => calls === count);
        // Other native calls still work.
        assert.ok(here.syscalls.clock(1) > 0n);
      }
      await until(() => uncaught.length === 2);
      assert.is(uncaught[0], thrown[0]);
      assert.is(uncaught[1], thrown[1]);
      poll.close();
      closeSync(reader);
      closeSync(writer);
    });
  },
);

test.skipIf(sameOnEveryKernel, 'after a poll callback, ticks and promises run before timers', async () => {
  await withPipe(async (reader, writer) => {
    const order: string[] = [];
    const poll = begun(
      here.syscalls.poll(reader, () => {
        readSync(reader, new Uint8Array(1));
        setTimeout(() => order.push('timer'), 0);
        process.nextTick(() => order.push('tick'));
        Promise.resolve().then(() => order.push('promise'));
      }),
    );
    writeSync(writer, 'x');
    await until(() => order.length === 3);
    assert.equal(order, ['tick', 'promise', 'timer']);
    poll.close();
    closeSync(reader);
    closeSync(writer);
  });
});

test.skipIf(sameOnEveryKernel, 'a failing descriptor reports its errno to the callback once', async () => {
  await withPipe(async (reader, writer) => {
    const reports: unknown[] = [];
    const poll = begun(here.syscalls.poll(writer, (errno) => reports.push(errno)));
    await turn();
    assert.equal(reports, []);
    closeSync(reader);
    await until(() => reports.length > 0);
    for (let i = 0; i < 10; i++) await turn();
    assert.equal(reports, [Errno.EBADF]);
    poll.close();
    closeSync(writer);
  });
});

test.skipIf(
  sameOnEveryKernel,
  'poll returns the errno of a descriptor that cannot be polled; two polls may share a descriptor',
  async () => {
    const descriptors = () => readdirSync('/proc/self/fd').length;
    const before = descriptors();
    assert.is(
      here.syscalls.poll(987_654, () => {}),
      -Errno.EBADF,
    );
    const plain = openSync(new URL(import.meta.url).pathname, 'r');
    assert.is(
      here.syscalls.poll(plain, () => {}),
      -Errno.EPERM,
    );
    closeSync(plain);
    await withPipe(async (reader, writer) => {
      const reports: string[] = [];
      const wait = (name: string) => begun(here.syscalls.poll(reader, () => reports.push(name)));
      const [a, b] = [wait('a'), wait('b')];
      writeSync(writer, 'x');
      await until(() => reports.includes('a') && reports.includes('b'));
      a.close();
      a.close();
      b.close();
      reports.length = 0;
      for (let i = 0; i < 10; i++) await turn();
      assert.equal(reports, [], 'no calls after close');
      closeSync(reader);
      closeSync(writer);
    });
    assert.is(descriptors(), before);
  },
);

test.run();
