/**
 * CPUs that go offline and come back while the command runs. Only in guests of the lab. After its start the
 * command may open rings only if it was started with a CPU offline, or with --keep-privileges.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { inGuest, needsRoot, suite } from '../harness.ts';
import { connectHere, Server, until } from './connects.ts';
import { PROBE_TYPES, skipReason, Tracer } from './tracer.ts';

const test = suite('live/hotplug', { seconds: 60 });

const CPU = '/sys/devices/system/cpu/cpu1/online';

function unavailable(): string | false {
  if (needsRoot) return needsRoot;
  if (!inGuest) return 'this machine is not a guest of the lab';
  if (!existsSync(CPU)) return 'CPU 1 cannot be taken offline';
  return false;
}
const reason = unavailable();
const probe = PROBE_TYPES.find((candidate) => skipReason(candidate) === false) ?? 'kprobe';

const switchCpu = (on: boolean) => writeFileSync(CPU, on ? '1' : '0');

/** Pins this process and its loopback traffic to one CPU. */
function pin(cpu: number): void {
  execFileSync('taskset', ['-a', '-p', '-c', String(cpu), String(process.pid)]);
}

let server: Server;
let tracer: Tracer;

test.before(async () => {
  if (!reason) server = await Server.start('127.0.0.1');
});
test.after.each(async () => {
  if (reason) return;
  switchCpu(true);
  execFileSync('taskset', ['-a', '-p', '3', String(process.pid)]);
  if (tracer.child.exitCode === null) await tracer.stop('SIGKILL');
});
test.after(() => server?.close());

/** Connects from a CPU and waits until the connect is shown. */
async function connectOn(cpu: number): Promise<void> {
  pin(cpu);
  assert.is(await connectShown(), true);
}

/** Connects, and returns whether the connect is shown within 5 s. */
async function connectShown(): Promise<boolean> {
  const { localPort } = await connectHere(server.port);
  const shown = () => tracer.rows().some(({ LPORT }) => Number(LPORT) === localPort);
  const end = performance.now() + 5000;
  while (!shown() && performance.now() < end) await sleep(20);
  return shown();
}

test.skipIf(
  reason,
  'connects of a CPU are shown until it goes offline, and again when it is back',
  async () => {
    tracer = await Tracer.start(['-L', '--probe', probe, '--keep-privileges']);
    await connectOn(1);
    pin(0);
    switchCpu(false);
    await tracer.until('the warning', () => /CPU 1 went offline; /.test(tracer.stderr));
    await connectOn(0);
    switchCpu(true);
    await tracer.until('the warning', () =>
      /CPU 1 came online; connects answered there in the last [\d.]+ s may be missing\n/.test(tracer.stderr),
    );
    await connectOn(1);
    await connectOn(0);
    assert.equal(await tracer.stop('SIGINT'), { code: 0, signal: null });
    assert.is(tracer.warnings.split('\n').length, 3, tracer.stderr);
  },
);

test.skipIf(
  reason,
  'a CPU that was offline for a moment is noticed, and its connects are shown again',
  async () => {
    tracer = await Tracer.start(['-L', '--probe', probe, '--keep-privileges']);
    await connectOn(1);
    pin(0);
    switchCpu(false);
    switchCpu(true);
    await tracer.until('the warning', () =>
      /CPU 1 (went offline and came back|came online); connects answered there/.test(tracer.stderr),
    );
    await connectOn(1);
  },
);

test.skipIf(
  reason,
  'connects of a CPU that was offline at the start are shown once it is online',
  async () => {
    pin(0);
    switchCpu(false);
    tracer = await Tracer.start(['-L', '--probe', probe]);
    await connectOn(0);
    switchCpu(true);
    await tracer.until('the warning', () => /CPU 1 came online/.test(tracer.stderr));
    await connectOn(1);
    await until('CPU 1', () => readFileSync(CPU, 'utf8').trim() === '1');
  },
);

test.skipIf(
  reason,
  'without privileges a CPU that comes back gets a warning with the remedy, and others are shown',
  async () => {
    tracer = await Tracer.start(['-L', '--probe', probe]);
    await connectOn(1);
    pin(0);
    switchCpu(false);
    await tracer.until('the warning', () => /CPU 1 went offline; /.test(tracer.stderr));
    switchCpu(true);
    await tracer.until('the warning', () =>
      /cannot open the perf ring of CPU 1: perf_event_open: EPERM .* dropped its privileges .*; start the command again, or use --keep-privileges\n/.test(
        tracer.stderr,
      ),
    );
    await connectOn(0);
    assert.equal(await tracer.stop('SIGINT'), { code: 0, signal: null });
    assert.is(tracer.warnings.split('\n').length, 3, tracer.stderr);
  },
);

test.run();
