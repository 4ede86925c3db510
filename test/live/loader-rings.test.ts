import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { extname } from 'node:path';
import type { Static } from '@sinclair/typebox';
import * as assert from 'uvu/assert';
import type { PerfEventArraySpec } from '../../src/asm/events.ts';
import { Session, type SessionOptions } from '../../src/loader/session.ts';
import { inGuest, needsRoot, sameOnEveryKernel, slowness, suite } from '../harness.ts';
import { type Event, type GetuidTool, getuidProcess, getuidTool, MARK, until } from '../loader/tools.ts';
import { exists } from './loaded.ts';
import { here } from './tracer.ts';

const test = suite('live/loader-rings', { seconds: 30 });

type Seen = Static<typeof Event>;

/** Opens a session and collects its events. */
function open(
  tool: GetuidTool,
  options: Partial<SessionOptions<PerfEventArraySpec<typeof Event>>> = {},
): [Session<PerfEventArraySpec<typeof Event>>, Seen[]] {
  const seen: Seen[] = [];
  return [Session.open(tool, { onEvent: (event) => seen.push(event), ...options }), seen];
}

const btfId = needsRoot ? undefined : here.btf?.find('typedef', 'btf_trace_sys_enter');

for (const [name, attachment, reason] of [
  ['raw_tracepoint', { kind: 'raw_tracepoint', tracepoint: 'sys_enter' }, needsRoot],
  [
    'tp_btf',
    { kind: 'tp_btf', tracepoint: 'sys_enter', btfId: btfId ?? 0 },
    needsRoot || (btfId === undefined ? 'this kernel has no BTF' : false),
  ],
] as const)
  test.skipIf(reason, `${name} events arrive once, in order and without delay`, async () => {
    const [session, seen] = open(getuidTool(process.pid, attachment));
    try {
      for (let call = 1; call <= 5; call++) {
        const start = performance.now();
        process.getuid?.();
        await until(() => seen.length === call);
        // The first event may come before the event loop waits. No event must wait for the sweep, once a
        // second.
        assert.ok(performance.now() - start < 500, `${performance.now() - start} ms`);
      }
      assert.equal(
        seen.map(({ sequence, mark }) => [sequence, mark]),
        [1, 2, 3, 4, 5].map((sequence) => [sequence, MARK]),
      );
      assert.is(session.lost, 0);
    } finally {
      session.close();
    }
  });

test.skipIf(needsRoot, 'events of another process on any CPU arrive', async () => {
  const child = getuidProcess(2000);
  const [session, seen] = open(getuidTool(child.pid));
  try {
    await child.go();
    const calls = session.map((session.tool as GetuidTool).calls).lookup(0) ?? 0;
    await until(() => seen.length === calls);
    const { counted: missed } = session.missedRuns();
    assert.ok(calls + missed >= 2000, `${calls} calls were seen, and ${missed} missed`);
    assert.equal(
      seen.map(({ sequence }) => sequence).sort((a, b) => a - b),
      Array.from({ length: calls }, (_, index) => index + 1),
    );
    // An emulated machine is interrupted inside a program more often than a real one.
    if (!inGuest) assert.is(missed, 0);
  } finally {
    session.close();
  }
});

/** Calls of a flood; fewer on slow machines. */
const FLOOD = 500_000 / slowness;

test.skipIf(needsRoot, 'a flood is read by watermark, and events that did not fit are counted', async () => {
  const child = getuidProcess(FLOOD);
  let lost = 0;
  const [session, seen] = open(getuidTool(child.pid), {
    pagesPerCpu: 1024,
    wakeup: { flushMs: 50 },
    onLost: (count) => {
      lost += count;
    },
  });
  let calls = 0;
  try {
    await child.go();
    calls = session.map((session.tool as GetuidTool).calls).lookup(0) ?? 0;
  } finally {
    session.close();
  }
  assert.ok(calls >= FLOOD);
  assert.is(seen.length + lost, calls, `${seen.length} read, ${lost} lost`);
  assert.is(session.lost, lost);
  assert.ok(seen.every(({ mark }) => mark === MARK));
});

const countsLosses = !needsRoot && Number.parseInt(here.release, 10) >= 6;

test.skipIf(
  needsRoot || (countsLosses ? false : 'this kernel does not count losses (6.0)'),
  'an unread ring of one page fills up: every event is read or counted as lost, including the last losses',
  () => {
    const [session, seen] = open(getuidTool(process.pid), { pagesPerCpu: 1 });
    for (let call = 0; call < 1000; call++) process.getuid?.();
    session.close();
    assert.ok(seen.length > 0);
    assert.ok(session.lost > 0);
    assert.is(seen.length + session.lost, 1000);
  },
);

test.skipIf(needsRoot || sameOnEveryKernel, 'an idle session uses no CPU', async () => {
  const [session] = open(getuidTool(process.pid));
  try {
    await new Promise((resolve) => setTimeout(resolve, 200));
    const before = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, 2000));
    const { user, system } = process.cpuUsage(before);
    // Polling would use all of it, even on an emulated machine.
    assert.ok(user + system < 100_000 * slowness, `${(user + system) / 1000} ms of 2 s`);
  } finally {
    session.close();
  }
});

test.skipIf(needsRoot, 'close leaves no descriptors or programs', async () => {
  const descriptors = () => readdirSync('/proc/self/fd').length;
  const cycle = (): number[] => {
    const [session] = open(getuidTool(process.pid));
    const ids = session.programs.map((program) => program.info().id);
    session.close();
    return ids;
  };
  cycle();
  const before = descriptors();
  const ids = Array.from({ length: 20 }, cycle).flat();
  assert.is(descriptors(), before);
  await until(() => ids.every((id) => !exists(here, id)));
});

test.skipIf(needsRoot, 'after SIGKILL nothing stays attached', async () => {
  const file = (path: string) => new URL(path + extname(import.meta.url), import.meta.url).href;
  const script = `
    const { Session } = await import('${file('../../src/loader/session')}');
    const { getuidTool } = await import('${file('../loader/tools')}');
    const session = Session.open(getuidTool(process.pid), { onEvent() {} });
    console.log(session.programs[0].info().id);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [output] = await once(child.stdout, 'data');
  const id = Number(output);
  assert.is(exists(here, id), true);
  child.kill('SIGKILL');
  await once(child, 'exit');
  await until(() => !exists(here, id));
});

test.skipIf(needsRoot, 'session.map is the map that programs write', () => {
  const tool = getuidTool(process.pid);
  const [session] = open(tool);
  try {
    process.getuid?.();
    process.getuid?.();
    assert.is(session.map(tool.calls).lookup(0), 2);
    assert.equal(session.skipped, []);
  } finally {
    session.close();
  }
});

test.run();
