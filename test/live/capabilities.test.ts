/**
 * The privileges of a user who is not root, and the messages when one is missing, as docs/capabilities.md
 * documents them.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import type { ProbeType } from '../../src/programs/tcpconnlat/options.ts';
import { inGuest, needsRoot, suite } from '../harness.ts';
import { PROBE_TYPES, skipReason, Tracer } from './tracer.ts';

const test = suite('live/capabilities', { seconds: 40 });

const PARANOID = '/proc/sys/kernel/perf_event_paranoid';
const paranoid = readFileSync(PARANOID, 'utf8').trim();
/** Before Linux 5.11, maps count toward the locked-memory limit. */
const before511 = /^5\.([0-9]|10)\./.test(readFileSync('/proc/sys/kernel/osrelease', 'utf8'));

function unavailable(): string | false {
  if (needsRoot) return needsRoot;
  if (!inGuest) return 'this machine is not a guest of the lab';
  try {
    execFileSync('setpriv', ['--inh-caps', '+bpf,+perfmon', '--ambient-caps', '+bpf,+perfmon', 'true']);
    return false;
  } catch {
    return 'setpriv is missing or does not know CAP_BPF';
  }
}
const reason = unavailable();

/** A user with exactly these capabilities, named as setpriv names them. */
function userWith(...capabilities: string[]): string[] {
  const list = capabilities.map((name) => `+${name}`).join();
  const flags = list ? ['--inh-caps', list, '--ambient-caps', list] : [];
  return ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', ...flags];
}

test.after.each(() => {
  if (!reason) writeFileSync(PARANOID, paranoid);
});

const noLimit = reason || (before511 ? false : 'this kernel does not count maps as locked memory');
test.skipIf(
  noLimit,
  'if maps count as locked memory, the error names the limit and CAP_SYS_RESOURCE',
  async () => {
    const limited = ['sh', '-c', 'ulimit -l 64 && exec "$@"', 'sh', ...userWith('bpf', 'perfmon')];
    const tracer = Tracer.run([], { under: limited });
    assert.equal(await tracer.ended(), { code: 1, signal: null });
    assert.match(
      tracer.stderr,
      /locked memory: this process may lock 64 KiB and lacks CAP_SYS_RESOURCE to raise the limit; /,
    );
    assert.is(tracer.stderr.trimEnd().split('\n').length, 1, tracer.stderr);
  },
);

for (const [capabilities, level, message] of [
  [[], '2', /this process lacks CAP_BPF and CAP_PERFMON /],
  [['bpf'], '2', /this process lacks CAP_PERFMON /],
  [['perfmon'], '2', /this process lacks CAP_BPF /],
  [['bpf', 'perfmon', 'sys_resource'], '3', /kernel\.perf_event_paranoid is 3, .* CAP_SYS_ADMIN; /],
] as const)
  test.skipIf(
    reason,
    `with ${capabilities.join(' and ') || 'nothing'} and perf_event_paranoid ${level} one line matches ${message.source}`,
    async () => {
      writeFileSync(PARANOID, level);
      const tracer = Tracer.run([], { under: userWith(...capabilities) });
      assert.equal(await tracer.ended(), { code: 1, signal: null });
      assert.match(tracer.stderr, message);
      assert.is(tracer.stderr.trimEnd().split('\n').length, 1, tracer.stderr);
    },
  );

/** Capabilities beyond those that every probe needs: the record's format lies in a folder of root. */
const MORE: Partial<Record<ProbeType, readonly string[]>> = { trace_event: ['dac_read_search'] };

for (const probe of PROBE_TYPES) {
  const enough = ['bpf', 'perfmon', ...(MORE[probe] ?? []), ...(before511 ? ['sys_resource'] : [])];
  test.skipIf(reason || skipReason(probe), `${probe}: ${enough.join(', ')} suffice`, async () => {
    writeFileSync(PARANOID, '2');
    const tracer = await Tracer.start(['--probe', probe], { under: userWith(...enough) });
    assert.equal(await tracer.stop('SIGINT'), { code: 0, signal: null });
    assert.is(tracer.warnings, '');
  });
}

test.skipIf(
  reason || skipReason('trace_event'),
  'without access to tracefs, --probe trace_event fails with one line',
  async () => {
    writeFileSync(PARANOID, '2');
    const tracer = Tracer.run(['--probe', 'trace_event'], {
      under: userWith('bpf', 'perfmon', 'sys_resource'),
    });
    assert.equal(await tracer.ended(), { code: 1, signal: null });
    assert.match(tracer.stderr, /^tcpconnlat: .*usually only root may read tracefs; .*\n$/);
  },
);

test.run();
