/**
 * The command without BTF, and with tracefs elsewhere or unmounted: in a mount namespace, with empty folders
 * mounted over the originals.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { tracepoint } from '../../src/asm/hooks.ts';
import { target } from '../../src/asm/target.ts';
import { Attr } from '../../src/loader/bpf.ts';
import { attach } from '../../src/loader/link.ts';
import { loadProgram } from '../../src/loader/load.ts';
import { readTracepointFormat, tracepointId } from '../../src/loader/tracefs.ts';
import { needsRoot, sameOnEveryKernel, slowness, suite } from '../harness.ts';
import { connectHere, Server } from './connects.ts';
import { COMMAND, here, skipReason, Tracer } from './tracer.ts';

const test = suite('live/no-types', { seconds: 60 });

/** Runs a command in a new mount namespace, after `script` has changed the mounts. */
const inNamespace = (script: string) => ['unshare', '-m', 'sh', '-c', `${script}\nexec "$@"`, 'sh'];
/** Without the build ID, too: the programs that the build has assembled need no BTF. */
const NO_BTF = 'mount -t tmpfs none /sys/kernel/btf && mount --bind /dev/null /sys/kernel/notes || exit 9';
const NO_TRACEFS =
  'umount -a -t tracefs,debugfs 2>/dev/null; ! grep -E " (tracefs|debugfs) " /proc/mounts || exit 9';
/** In a folder with a space in its name. */
const TRACEFS = `${NO_TRACEFS}\nmkdir -p "$DIR/a b" && mount -t tracefs none "$DIR/a b" || exit 9`;

const folder = needsRoot ? '' : mkdtempSync(join(tmpdir(), 'tsbpf-types-'));
process.env.DIR = folder;

const works = (script: string) => {
  const [file = '', ...words] = [...inNamespace(script), 'true'];
  return spawnSync(file, words).status === 0;
};
const noNamespace = needsRoot || (works(`${NO_BTF}\n${TRACEFS}`) ? false : 'cannot mount in a new namespace');
const noTypes = needsRoot || (here.btf === undefined && 'this kernel has no BTF');

let server: Server;
const file = join(folder, 'types.btf');
test.before(async () => {
  server = await Server.start('127.0.0.1');
  if (!noTypes) copyFileSync('/sys/kernel/btf/vmlinux', file);
});
test.after(async () => {
  await server.close();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

/** Runs the command until it exits. */
function run(script: string, args: readonly string[]) {
  const [command = '', ...words] = [...inNamespace(script), process.execPath, COMMAND, ...args];
  const { status, stdout, stderr } = spawnSync(command, words, {
    encoding: 'utf8',
    timeout: 30_000 * slowness,
  });
  return { status, stdout, stderr };
}

/** Traces one connect of this process and returns the tracer after it has stopped. */
async function traced(script: string, args: readonly string[]) {
  const tracer = await Tracer.start(['-v', '-L', '-p', String(process.pid), ...args], {
    under: inNamespace(script),
  });
  const { localPort } = await connectHere(server.port);
  await tracer.until('the connect', () => tracer.rows().length > 0);
  assert.equal(await tracer.stop(), { code: 0, signal: null });
  assert.equal(
    tracer.rows().map(({ LPORT, DPORT }) => [LPORT, DPORT]),
    [[String(localPort), String(server.port)]],
  );
  return tracer;
}

test.skipIf(
  noNamespace,
  'without BTF the command uses trace_event, finds tracefs, and reports the limits',
  async () => {
    const { stdout, warnings } = await traced(`${NO_BTF}\n${TRACEFS}`, []);
    assert.match(
      stdout,
      /^probe type: trace_event \(the first probe type that this kernel supports\)\nnot kprobe: .*\nnot tp_btf: .*BTF/,
    );
    assert.match(warnings, /^tcpconnlat: refused connects are not shown: .*\n$/);
  },
);

test.skipIf(
  noNamespace || noTypes,
  'without kernel BTF, --btf FILE enables kprobe or raw_tracepoint',
  async () => {
    const { stdout, warnings } = await traced(`${NO_BTF}\n${NO_TRACEFS}`, ['--btf', file]);
    assert.match(stdout, /^probe type: (kprobe|raw_tracepoint) .*\nkernel BTF: \S+types\.btf\n/);
    assert.is(warnings, '');
  },
);

test.skipIf(noNamespace, 'without BTF and tracefs, the error lists the options', () => {
  const { status, stdout, stderr } = run(`${NO_BTF}\n${NO_TRACEFS}`, []);
  assert.equal({ status, stdout }, { status: 1, stdout: '' });
  assert.match(stderr, /trace_event: .*mount -t tracefs tracefs \/sys\/kernel\/tracing/);
  assert.match(stderr, /--btf FILE to read kernel BTF from a file\n$/);
});

test.skipIf(noNamespace, 'without BTF, an explicit probe fails and the error names alternatives', () => {
  const { status, stderr } = run(NO_BTF, ['--probe', 'raw_tracepoint']);
  assert.is(status, 1);
  assert.match(stderr, /^tcpconnlat: no BTF in .*--btf FILE.*--probe trace_event, which needs no BTF\n$/);
});

test.skipIf(sameOnEveryKernel, 'a --btf file without BTF prints one line and exits with status 2', () => {
  const bad = join(tmpdir(), `tsbpf-bad-${process.pid}`);
  writeFileSync(bad, 'no types at all, for certain');
  try {
    for (const [name, message] of [
      [bad, /not BTF: it begins with/],
      [`${bad}-not`, /cannot read the file: ENOENT/],
      [tmpdir(), /cannot read the file: EISDIR/],
      [process.execPath, /it is an ELF file/],
    ] as const) {
      const { status, stdout, stderr } = spawnSync(process.execPath, [COMMAND, '--btf', name], {
        encoding: 'utf8',
      });
      assert.equal({ status, stdout }, { status: 2, stdout: '' });
      assert.match(stderr, /^tcpconnlat: --btf .*\n$/);
      assert.match(stderr, message);
    }
  } finally {
    rmSync(bad);
  }
});

// --- other users of the tracepoint ---------------------------------------------------------------

const noRecord = skipReason('trace_event');

test.skipIf(
  noRecord,
  'other perf counters of the tracepoint keep counting, unless the program returns 0',
  async () => {
    const { syscalls } = here;
    const on = {
      ...target(process.arch),
      formats: [readTracepointFormat(here, 'sock', 'inet_sock_set_state')],
    };
    // PERF_TYPE_TRACEPOINT, of this process on any CPU.
    const attr = new Attr(syscalls, 64)
      .u32(0, 2)
      .u32(4, 64)
      .u64(8, BigInt(tracepointId(here, 'sock', 'inet_sock_set_state')));
    const fd = attr.use((bytes) => syscalls.perfEventOpen(bytes, process.pid, -1, -1, 8));
    assert.ok(fd > 0);
    const count = () => {
      const bytes = new Uint8Array(new ArrayBuffer(8));
      assert.is(syscalls.read(fd, bytes), 8);
      return new DataView(bytes.buffer).getBigUint64(0, true);
    };
    try {
      for (const [hides, body] of [
        [false, () => {}],
        [true, (b: { exit(value: number): void }) => b.exit(0)],
      ] as const) {
        const spec = tracepoint('sock', 'inet_sock_set_state', on, body);
        const program = loadProgram(here, spec, assemble(spec.instructions), new Map());
        const link = attach(here, program);
        const before = count();
        await connectHere(server.port);
        const counted = count() - before;
        link.close();
        program.close();
        assert.is(counted === 0n, hides, `${counted} counted`);
      }
    } finally {
      syscalls.close(fd);
    }
  },
);

test.run();
