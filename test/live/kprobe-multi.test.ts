/** kprobe.multi on this kernel, and the kprobes that replace it on kernels without it. */
import { existsSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { getAttachCookie, getCurrentPidTgid } from '../../src/asm/helpers.ts';
import { type Functions, kprobeMulti, kretprobeMulti } from '../../src/asm/hooks.ts';
import { u64, u64n } from '../../src/asm/layout.ts';
import { hash } from '../../src/asm/map.ts';
import { target } from '../../src/asm/target.ts';
import { Errno } from '../../src/loader/errno.ts';
import { NoSuchSymbolError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { kprobesUnsupportedReason } from '../../src/loader/kprobe-events.ts';
import { hasKprobeMulti } from '../../src/loader/kprobe-multi.ts';
import { Session } from '../../src/loader/session.ts';
import type { Syscalls } from '../../src/loader/syscalls.ts';
import { needsRoot, suite } from '../harness.ts';
import { isReleased } from './release.ts';
import { here } from './tracer.ts';

const test = suite('live/kprobe-multi', { seconds: 120 });

const noKprobes = needsRoot || (kprobesUnsupportedReason(here)?.message ?? false);
const noMulti = noKprobes || (!hasKprobeMulti(here) && 'this kernel has no kprobe.multi');
const noCookies = noKprobes || (!isReleased('5.15') && 'this kernel has no cookies');
const PREFIX = process.arch === 'arm64' ? '__arm64_sys_' : '__x64_sys_';
const LINK_CREATE = 28;
const ATTACH_TYPE = 42;

/** This kernel without kprobe.multi. */
function withoutMulti(): Kernel {
  const { syscalls } = here;
  const bpf: Syscalls['bpf'] = (command, attr) =>
    command === LINK_CREATE && new DataView(attr.buffer, attr.byteOffset).getUint32(8, true) === ATTACH_TYPE
      ? -Errno.EOPNOTSUPP
      : syscalls.bpf(command, attr);
  return new Kernel(Object.assign(Object.create(syscalls), { bpf }));
}

const runs = hash('runs', { key: u64, value: u64n, maxEntries: 1024 });

/** Counts runs by cookie while this process calls getuid, getgid and geteuid 1, 2 and 3 times. */
function countRuns(functions: Functions, kernel: Kernel, hook = kprobeMulti, cookies = true) {
  const program = hook(
    functions,
    target(process.arch),
    (b) => {
      b.keep(b.context);
      b.if(b.call(getCurrentPidTgid).rsh(32).ne(process.pid), () => b.exit());
      b.count(runs, cookies ? b.call(getAttachCookie) : 0);
    },
    { name: 'multi' },
  );
  const session = Session.open({ name: 'multi', programs: [program] }, { kernel });
  try {
    process.getuid?.();
    for (let n = 0; n < 2; n++) process.getgid?.();
    for (let n = 0; n < 3; n++) process.geteuid?.();
    const multi = session.links[0]?.multi;
    assert.ok(multi);
    const counts = new Map(session.map(runs).entries());
    const names = new Map(multi.functions.map(({ cookie, symbol }) => [cookie, symbol]));
    return {
      multi,
      counts,
      byName: new Map([...counts].map(([cookie, n]) => [names.get(cookie), n])),
      session,
    };
  } finally {
    session.close();
  }
}

for (const [method, kernel, reason] of [
  ['kprobe.multi', here, noMulti],
  ['kprobe', withoutMulti(), noCookies],
] as const) {
  test.skipIf(
    reason,
    `${method}: a pattern runs the program at every function, told apart by cookies`,
    () => {
      for (const hook of [kprobeMulti, kretprobeMulti]) {
        const { multi, byName } = countRuns(`${PREFIX}get[eu]*id`, kernel, hook);
        assert.is(multi.method, method);
        assert.ok(multi.functions.length >= 3, multi.functions.map(({ symbol }) => symbol).join());
        assert.is(byName.get(`${PREFIX}getuid`), 1);
        assert.is(byName.get(`${PREFIX}geteuid`), 3);
        assert.is(byName.has(`${PREFIX}getgid`), false);
      }
    },
  );

  test.skipIf(reason, `${method}: named functions have the cookies of the tool`, () => {
    const { counts, session } = countRuns({ [`${PREFIX}getuid`]: 100, [`${PREFIX}getgid`]: 200n }, kernel);
    assert.equal([...counts].sort(), [
      [100n, 1],
      [200n, 2],
    ]);
    assert.ok(session.links[0]?.missedHits() !== undefined || !isReleased('6.7'));
  });

  test.skipIf(reason, `${method}: a pattern without a match, and a missing name, are explained`, () => {
    for (const [pattern, message] of [
      ['no_such_prefix_*', /no function of this kernel matches the pattern/],
      ['no_such_function', /this kernel has no such function/],
    ] as const)
      assert.throws(
        () => countRuns([`${PREFIX}getuid`, pattern], kernel),
        (error: unknown) => error instanceof NoSuchSymbolError && message.test(error.message),
      );
  });
}

test.skipIf(noMulti, 'hundreds of functions are attached by one call, in all kinds of code', () => {
  const { multi } = countRuns(['tcp_*', 'vfs_*', 'ext4_*'], here, kprobeMulti, false);
  assert.ok(multi.functions.length > 200, String(multi.functions.length));
  assert.ok(multi.functions.every(({ address }) => address !== 0n));
  assert.ok(existsSync('/sys/kernel/tracing/available_filter_functions'));
});

test.skipIf(noKprobes, 'without cookies the program runs on kernels before 5.15 too', () => {
  const { multi, counts } = countRuns(`${PREFIX}get[eu]*id`, withoutMulti(), kprobeMulti, false);
  assert.is(multi.method, 'kprobe');
  assert.ok((counts.get(0n) ?? 0) >= 4);
});

test.run();
