/** Stop signals to tcpconnlat, at any time and in any number. */

import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { catches, floodWith, listeningOn } from '../cli/processes.ts';
import { sameOnEveryKernel, slowness, suite } from '../harness.ts';
import { until } from './connects.ts';
import { exists, programsOf } from './loaded.ts';
import { here, noProbeHere, Tracer } from './tracer.ts';

const test = suite('live/stop-signals', { seconds: 120 });

const skip = noProbeHere || sameOnEveryKernel;
const OWN = ['-p', String(process.pid)];
const STOP = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const NUMBERS = [2, 15, 1];

test.skipIf(skip, 'SIGUSR1 opens no debugger, and tracing continues', async () => {
  const tracer = await Tracer.start(OWN);
  for (let times = 0; times < 3; times++) {
    tracer.child.kill('SIGUSR1');
    await sleep(200 * slowness); // time for Node to open its port
  }
  assert.equal(listeningOn(tracer.pid), []);
  assert.equal(await tracer.stop(), { code: 0, signal: null });
  assert.is(tracer.warnings, '');
});

for (const signals of [['SIGINT'], STOP] as const) {
  test.skipIf(
    skip,
    `${signals.join(', ')} sent from the start to the end of the startup: status 0`,
    async () => {
      for (let round = 0; round < 5; round++) {
        const tracer = Tracer.run(OWN);
        // Before it has listeners, Node itself starts, and a signal ends it.
        await tracer.until('its listeners', () => NUMBERS.every((number) => catches(tracer.pid, number)));
        await sleep(round * 10 * slowness);
        await floodWith(signals, tracer.child);
        assert.equal([await tracer.ended(), tracer.warnings], [{ code: 0, signal: null }, '']);
      }
    },
  );

  test.skipIf(
    skip,
    `${signals.join(', ')} sent until a trace has ended: status 0, nothing attached`,
    async () => {
      for (let round = 0; round < 3; round++) {
        const tracer = await Tracer.start(OWN);
        const ids = programsOf(tracer.pid);
        assert.ok(ids.length > 0);
        await floodWith(signals, tracer.child);
        assert.equal([await tracer.ended(), tracer.warnings], [{ code: 0, signal: null }, '']);
        await until('the end of the programs', () => !ids.some((id) => exists(here, id)));
      }
    },
  );
}

test.skipIf(skip, 'eight SIGINTs in a row end a trace with status 0', async () => {
  const tracer = await Tracer.start(OWN);
  for (let times = 0; times < 8; times++) tracer.child.kill('SIGINT');
  assert.equal([await tracer.ended(), tracer.warnings], [{ code: 0, signal: null }, '']);
});

/** Whether a starting process has loaded a program. */
function holdsPrograms(pid: number): boolean {
  try {
    return programsOf(pid).length > 0;
  } catch {
    return false; // a descriptor was closed during the read
  }
}

/** Writes to a pipe until it is full. */
function fill(pipe: string): void {
  const fd = openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK);
  try {
    for (;;) writeSync(fd, Buffer.alloc(4096, '\n'));
  } catch {
    closeSync(fd);
  }
}

test.skipIf(skip, 'signals while the last lines wait for a slow reader end with status 0', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tsbpf-signals-'));
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const stdout = openSync(pipe, constants.O_RDWR); // also opens the read end, and never reads
  fill(pipe);
  const tracer = Tracer.run(OWN, { stdout });
  try {
    await tracer.until('the programs', () => holdsPrograms(tracer.pid));
    await sleep(200 * slowness);
    const sent = await floodWith(STOP, tracer.child);
    assert.equal(await tracer.ended(), { code: 0, signal: null });
    assert.ok(sent > 8, `${sent} signals in half a second`);
  } finally {
    tracer.child.kill('SIGKILL');
    closeSync(stdout);
    rmSync(folder, { recursive: true });
  }
});

test.run();
