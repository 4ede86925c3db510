/** What a user who isn't root needs, and what is said where it is missing: the promises of docs/capabilities.md. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import type { ProbeType } from '../../src/programs/tcpconnlat.ts';
import { inGuest, needsRoot, suite } from '../harness.ts';
import { hidesRefused, PROBE_TYPES, refusalOf, Tracer } from './tracer.ts';

const test = suite('live/capabilities', { seconds: 40 });

const PARANOID = '/proc/sys/kernel/perf_event_paranoid';
const paranoid = readFileSync(PARANOID, 'utf8').trim();
/** A limit of locked memory counts the maps. */
const before511 = /^5\.([0-9]|10)\./.test(readFileSync('/proc/sys/kernel/osrelease', 'utf8'));

function lacking(): string | false {
  if (needsRoot) return needsRoot;
  if (!inGuest) return 'this machine is not a guest of the lab';
  try {
    execFileSync('setpriv', ['--inh-caps', '+bpf,+perfmon', '--ambient-caps', '+bpf,+perfmon', 'true']);
    return false;
  } catch {
    return 'there is no setpriv, or it does not know CAP_BPF';
  }
}
const reason = lacking();

/** A user with these capabilities, as setpriv names them, and no other. */
function userWith(...capabilities: string[]): string[] {
  const list = capabilities.map((name) => `+${name}`).join();
  const given = list ? ['--inh-caps', list, '--ambient-caps', list] : [];
  return ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', ...given];
}

test.after.each(() => {
  if (!reason) writeFileSync(PARANOID, paranoid);
});

const noLimit = reason || (before511 ? false : 'this kernel does not count maps as locked memory');
test.skipIf(
  noLimit,
  'where maps count as locked memory, the limit and CAP_SYS_RESOURCE are named',
  async () => {
    const limited = ['sh', '-c', 'ulimit -l 64 && exec "$@"', 'sh', ...userWith('bpf', 'perfmon')];
    const tracer = Tracer.run([], { under: limited });
    assert.equal(await tracer.ended(), { code: 1, signal: null });
    assert.match(tracer.stderr, /locked memory: .* 64 KiB, .* CAP_SYS_RESOURCE /);
    assert.is(tracer.stderr.trimEnd().split('\n').length, 1, tracer.stderr);
  },
);

for (const [capabilities, level, message] of [
  [[], '2', /this process lacks CAP_BPF and CAP_PERFMON /],
  [['bpf'], '2', /this process lacks CAP_PERFMON /],
  [['perfmon'], '2', /this process lacks CAP_BPF /],
  [['bpf', 'perfmon', 'sys_resource'], '3', /kernel\.perf_event_paranoid is 3, .* CAP_SYS_ADMIN: /],
] as const)
  test.skipIf(
    reason,
    `with ${capabilities.join(' and ') || 'nothing'} and perf_event_paranoid ${level} one line says ${message.source}`,
    async () => {
      writeFileSync(PARANOID, level);
      const tracer = Tracer.run([], { under: userWith(...capabilities) });
      assert.equal(await tracer.ended(), { code: 1, signal: null });
      assert.match(tracer.stderr, message);
      assert.is(tracer.stderr.trimEnd().split('\n').length, 1, tracer.stderr);
    },
  );

/** Besides the two that every way needs: the record's description is in a folder of root's. */
const MORE: Partial<Record<ProbeType, readonly string[]>> = { trace_event: ['dac_read_search'] };

for (const probe of PROBE_TYPES) {
  const enough = ['bpf', 'perfmon', ...(MORE[probe] ?? []), ...(before511 ? ['sys_resource'] : [])];
  test.skipIf(reason || refusalOf(probe), `${probe}: ${enough.join(', ')} are enough`, async () => {
    writeFileSync(PARANOID, '2');
    const tracer = await Tracer.start(['--probe', probe], { under: userWith(...enough) });
    assert.equal(await tracer.stop('SIGINT'), { code: 0, signal: null });
    if (hidesRefused(probe))
      assert.match(tracer.complaints, /^tcpconnlat: refused connects are not shown: .*\n$/);
    else assert.is(tracer.complaints, '');
  });
}

test.skipIf(
  reason || refusalOf('trace_event'),
  'without access to tracefs its record is not watched, and one line says so',
  async () => {
    writeFileSync(PARANOID, '2');
    const tracer = Tracer.run(['--probe', 'trace_event'], {
      under: userWith('bpf', 'perfmon', 'sys_resource'),
    });
    assert.equal(await tracer.ended(), { code: 1, signal: null });
    assert.match(
      tracer.stderr,
      /^tcpconnlat: .*tracefs is for root, or for whom its files are made readable\n$/,
    );
  },
);

test.run();
