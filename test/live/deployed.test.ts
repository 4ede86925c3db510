/**
 * The single executable as deploy/ runs it, with real connects in its metrics: the systemd unit, started by a
 * systemd in namespaces of its own, and the container of the DaemonSet, as a root with the same privileges.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { buildExecutable } from '../../executable/build.ts';
import { DEPLOY, importPackage } from '../deploy/packages.ts';
import { noDownloads, sameOnEveryKernel, suite } from '../harness.ts';
import { freePort } from '../servers/server.ts';
import { hierarchies } from './cgroup-tree.ts';
import { exited, loopback, Peer, Server, until } from './connects.ts';
import { fillRoot } from './empty-root.ts';
import { noProbeHere } from './tracer.ts';

const test = suite('live/deployed', { seconds: 60 });

const skip =
  noProbeHere ||
  sameOnEveryKernel ||
  noDownloads ||
  (process.arch !== 'x64' && 'executables are built on x64');

const SYSTEMD = '/lib/systemd/systemd';
const [cgroups] = hierarchies('cgroup2');
const noSystemd =
  (!existsSync(SYSTEMD) && 'systemd is not installed') || (!cgroups && 'cgroup v2 is not mounted');

let scratch = '';
let executable = '';
let peer: Peer;
let server: Server;
test.before(async () => {
  if (skip) return;
  scratch = mkdtempSync(join(tmpdir(), 'tsbpf-deployed-'));
  executable = await buildExecutable('linux-x64', scratch);
  [peer, server] = await Promise.all([Peer.start(), Server.start('127.0.0.1')]);
});
test.after(async () => {
  await Promise.all([peer?.stop(), server?.close()]);
  if (scratch) rmSync(scratch, { recursive: true, force: true });
});

/** Makes connects until the exporter on a port has counted one of them. Returns a function for its output. */
async function assertCounts(port: number, child: ChildProcess): Promise<() => string> {
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (text: Buffer) => {
      output += text;
    });
  const line = new RegExp(
    `^tcp_connects_total\\{destination="127.0.0.1",port="${server.port}",result="established"\\} [1-9]`,
    'm',
  );
  await until(
    'a connect in the metrics',
    async () => {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`it ended: ${output}`);
      await peer.ask('connect', loopback(server.port));
      const text = await fetch(`http://127.0.0.1:${port}/metrics`).then(
        (response) => response.text(),
        () => '',
      );
      return line.test(text);
    },
    () => output,
  );
  return () => output;
}

/** What -v prints once privileges are dropped: neither systemd's filter nor the container prevents that. */
const DROPPED = /^seccomp: denies .*\ncapabilities kept: CAP_BPF \(map access\)$/m;

/** The processes that run the executable, except the programs that start it. */
function tracers(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith(
          '/usr/local/bin/tcpconnlat\0--prometheus',
        );
      } catch {
        return false; // it has ended
      }
    });
}

/** A field of a process. */
function status(pid: number, field: string): string {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  return new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(text)?.[1] ?? '';
}

const [CAP_PERFMON, CAP_BPF] = [38n, 39n];
const hex = (mask: bigint) => mask.toString(16).padStart(16, '0');

/** Asserts that a process can have no other capabilities, and has dropped all but `CAP_BPF`. */
function assertConfined(pid: number): void {
  assert.is(status(pid, 'CapBnd'), hex((1n << CAP_BPF) | (1n << CAP_PERFMON)));
  assert.is(status(pid, 'CapEff'), hex(1n << CAP_BPF));
  assert.is(status(pid, 'NoNewPrivs'), '1');
  assert.is(status(pid, 'Seccomp'), '2');
}

test.skipIf(skip || noSystemd, 'the systemd unit exports connects, without root', async () => {
  const port = await freePort();
  const units = join(scratch, 'units');
  mkdirSync(join(units, 'tcpconnlat.service.d'), { recursive: true });
  writeFileSync(join(units, 'tcpconnlat.service'), readFileSync(join(DEPLOY, 'systemd/tcpconnlat.service')));
  writeFileSync(join(units, 'test.target'), '[Unit]\nWants=tcpconnlat.service\n');
  // The port that is documented may be in use here.
  writeFileSync(
    join(units, 'tcpconnlat.service.d/test.conf'),
    `[Unit]\nAfter=\n[Service]\nExecStart=\nExecStart=/usr/local/bin/tcpconnlat --prometheus -v --listen 127.0.0.1:${port}\nStandardOutput=truncate:/run/output\nStandardError=inherit\n`,
  );
  const cgroup = mkdtempSync(join(cgroups as string, 'tsbpf-'));
  const script = [
    'echo $$ >"$1/cgroup.procs"',
    'exec unshare --mount --pid --cgroup --fork --kill-child sh -c "$0" "$2" "$3"',
  ].join(' && ');
  const inside = [
    'mount -t proc proc /proc',
    'umount -R /sys/fs/cgroup',
    'mount -t cgroup2 cgroup2 /sys/fs/cgroup',
    'mount -t tmpfs tmpfs /run',
    'mkdir -p /run/systemd/system /run/bin',
    'cp -r "$0"/. /run/systemd/system',
    'cp "$1" /run/bin/tcpconnlat',
    'mount --bind /run/bin /usr/local/bin',
    `exec env -i container=test PATH=/usr/sbin:/usr/bin SYSTEMD_UNIT_PATH=/run/systemd/system ${SYSTEMD} --system --unit=test.target --log-target=console --show-status=no`,
  ].join(' && ');
  const child = spawn('sh', ['-c', script, inside, cgroup, units, executable], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  try {
    await assertCounts(port, child);
    const [pid = 0] = tracers();
    assert.ok(Number(status(pid, 'Uid').split(/\s/)[0]) >= 61_184, 'a dynamic user');
    assertConfined(pid);
    assert.match(readFileSync(`/proc/${pid}/root/run/output`, 'utf8'), DROPPED);
  } finally {
    child.kill('SIGKILL');
    await exited(child);
    await until('the cgroups to be empty', () => removeCgroups(cgroup));
  }
});

/** Removes a cgroup with those below it; returns whether no process is left in them. */
function removeCgroups(folder: string): boolean {
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true }))
      if (entry.isDirectory() && !removeCgroups(join(folder, entry.name))) return false;
    rmdirSync(folder);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EBUSY') return false;
    throw error;
  }
}

interface DaemonSet {
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly containers: readonly [
          {
            readonly args: readonly string[];
            readonly securityContext: { readonly capabilities: { readonly add: readonly string[] } };
            readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
          },
        ];
        readonly volumes: readonly { readonly name: string; readonly hostPath?: { readonly path: string } }[];
      };
    };
  };
}

test.skipIf(skip, 'the container of the DaemonSet exports connects', async () => {
  const { parse } = await importPackage<{ parse: (text: string) => DaemonSet }>('yaml/dist/index.js');
  const { containers, volumes } = parse(readFileSync(join(DEPLOY, 'kubernetes/daemonset.yaml'), 'utf8')).spec
    .template.spec;
  const [{ args, securityContext, volumeMounts }] = containers;
  const port = await freePort();
  const root = join(scratch, 'root');
  const setpriv = execFileSync('sh', ['-c', 'command -v setpriv'], { encoding: 'utf8' }).trim();
  fillRoot(root, [executable, setpriv], {
    folders: ['proc', 'sys', 'dev/shm', ...volumeMounts.map(({ mountPath }) => mountPath)],
    files: ['setpriv', 'usr/local/bin/tcpconnlat'],
  });
  const mounts = volumeMounts.flatMap(({ name, mountPath }) => {
    const path = volumes.find((volume) => volume.name === name)?.hostPath?.path;
    if (path === undefined) return `mount -t tmpfs -o size=16m tmpfs "$0${mountPath}"`;
    return existsSync(path) ? [`mount --rbind -o ro ${path} "$0${mountPath}"`] : [];
  });
  const script = [
    'mount --bind "$0" "$0"',
    'mount -t proc proc "$0/proc"',
    'mount --rbind /sys "$0/sys"',
    'mount -o remount,ro,bind "$0/sys"',
    'mount -t tmpfs -o noexec tmpfs "$0/dev/shm"',
    ...mounts,
    `mount --bind ${setpriv} "$0/setpriv"`,
    'mount --bind "$1" "$0/usr/local/bin/tcpconnlat"',
    'shift',
    'mount -o remount,ro,bind "$0"',
    'exec env -i "$(command -v chroot)" "$0" "$@"',
  ].join(' && ');
  const { add } = securityContext.capabilities;
  const privileges = [
    '--no-new-privs',
    '--inh-caps=-all',
    `--bounding-set=${['-all', ...add.map((name) => `+${name.toLowerCase()}`)].join()}`,
  ];
  const words = args.map((word) => (word.startsWith('--listen=') ? `--listen=127.0.0.1:${port}` : word));
  const namespaces = ['--mount', '--pid', '--ipc', '--uts', '--cgroup', '--fork', '--kill-child'];
  const child = spawn(
    'unshare',
    [
      ...[...namespaces, 'sh', '-c', script, root, executable],
      ...['/setpriv', ...privileges, '/usr/local/bin/tcpconnlat', ...words, '-v'],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  try {
    const output = await assertCounts(port, child);
    const [pid = 0] = tracers();
    assert.is(status(pid, 'Uid').split(/\s/)[0], '0');
    assertConfined(pid);
    assert.match(output(), DROPPED);
    assert.is(spawnSync('touch', [`/proc/${pid}/root/file`]).status, 1, 'the root is read-only');
  } finally {
    child.kill('SIGKILL');
    await exited(child);
  }
});

test.run();
