/** `--diagnose` on this kernel, with and without root. */
import { spawnSync } from 'node:child_process';
import * as assert from 'uvu/assert';
import { version } from '../../src/cli/version.ts';
import { needsRoot, slowness, suite } from '../harness.ts';
import { COMMAND, here, PROBE_TYPES, skipReason } from './tracer.ts';

const test = suite('live/diagnose', { seconds: 60 });

const NOBODY = { uid: 65_534, gid: 65_534 };
/** Whether another user can read the build and run this Node. */
const noNobody =
  needsRoot ||
  (spawnSync(process.execPath, ['-e', `require('fs').readFileSync(${JSON.stringify(COMMAND)})`], NOBODY)
    .status !== 0 &&
    'the user nobody cannot read this build or run this Node');

/** The report by names of its lines. */
function report(args: readonly string[], user = {}): Map<string, string> {
  const { status, stdout, stderr } = spawnSync(process.execPath, [COMMAND, '--diagnose', ...args], {
    ...user,
    encoding: 'utf8',
    timeout: 50_000 * slowness,
  });
  assert.equal({ status, stderr }, { status: 0, stderr: '' });
  return new Map(
    [...stdout.matchAll(/^(\S.*?) {2,}(.*)$/gm)].map(([, name = '', value = '']) => [name, value]),
  );
}

test.skipIf(
  needsRoot,
  'the report names versions, the kernel, its settings, and the probe types that work',
  () => {
    const lines = report([]);
    assert.is(lines.get('tsbpf'), version());
    assert.match(lines.get('Node') ?? '', new RegExp(`^${process.version} \\(linux ${process.arch}\\)$`));
    assert.match(lines.get('koffi') ?? '', /^3\.\d+\.\d+$/);
    assert.ok(lines.get('kernel')?.includes(here.release));
    assert.match(lines.get('user') ?? '', /^uid 0, in /);
    assert.match(
      lines.get('BTF') ?? '',
      here.btf ? /^\d{6,} bytes in / : /^no file \/sys\/kernel\/btf\/vmlinux$/,
    );
    assert.match(lines.get('kernel.perf_event_paranoid') ?? '', /^-?\d$/);
    for (const probe of PROBE_TYPES)
      assert.match(
        lines.get(probe) ?? '',
        skipReason(probe) === false ? /^works: \w+ \w+/ : /^does not work: ./,
        probe,
      );
  },
);

test.skipIf(needsRoot, 'probe types are tried with the options of the command line', () => {
  const lines = report(['--btf', '/no/such/file']);
  assert.match(
    lines.get('raw_tracepoint') ?? '',
    /^does not work: --btf \/no\/such\/file: cannot read the file/,
  );
  assert.is(lines.get('tp_btf'), 'not tried: it does not work with --btf');
});

test.skipIf(noNobody, 'without root it reports what may be read, and why the probe types do not work', () => {
  const lines = report([], NOBODY);
  assert.match(lines.get('user') ?? '', /^uid 65534, in /);
  assert.match(lines.get('capabilities') ?? '', /^0{16}: none; without CAP_SYS_ADMIN CAP_BPF CAP_PERFMON /);
  for (const probe of PROBE_TYPES) assert.match(lines.get(probe) ?? '', /^does not work: ./, probe);
});

test.run();
