/** Facts about processes: from a folder of a test, and of this process. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { processFacts } from '../../../src/cli/record/process.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/record/process');

/** The text of /proc/PID/stat of a process that started 1234 ticks after the boot. */
const stat = (pid: number, comm: string, ppid: number, start: number | string = 1234) =>
  `${pid} (${comm}) S ${ppid} 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 ${start} 1000 200 18446744073709551615\n`;

interface Files {
  readonly stat?: string;
  readonly comm?: string;
  readonly cmdline?: string | Uint8Array;
  readonly exe?: string;
}

/** Runs `work` with a /proc that has these processes. */
function withProc(processes: Record<number, Files>, work: (proc: string) => void): void {
  const proc = mkdtempSync(join(tmpdir(), 'tsbpf-proc-'));
  try {
    for (const [pid, { exe, ...files }] of Object.entries(processes)) {
      mkdirSync(join(proc, pid));
      for (const [name, content] of Object.entries(files)) writeFileSync(join(proc, pid, name), content);
      if (exe !== undefined) symlinkSync(exe, join(proc, pid, 'exe'));
    }
    work(proc);
  } finally {
    rmSync(proc, { recursive: true });
  }
}

const NGINX: Files = {
  stat: stat(7, 'nginx', 1),
  exe: '/usr/sbin/nginx (deleted)',
  cmdline: 'nginx:\0worker process\0',
};
const INIT: Files = { comm: 'systemd\n' };

test('executable, parent and command line', () =>
  withProc({ 1: INIT, 7: NGINX }, (proc) => {
    const facts = { exe: '/usr/sbin/nginx (deleted)', ppid: 1, parent: 'systemd' };
    assert.equal(processFacts({ pid: 7, commandLine: false }, proc), facts);
    assert.equal(processFacts({ pid: 7, commandLine: true }, proc), {
      ...facts,
      cmdline: 'nginx: worker process',
    });
  }));

test('a process that started at another time has no facts', () =>
  withProc({ 1: INIT, 7: NGINX }, (proc) => {
    const started = (startNs: bigint) => processFacts({ pid: 7, startNs, commandLine: true }, proc);
    assert.is(started(12_340_000_000n).ppid, 1);
    assert.is(started(12_349_999_999n).ppid, 1);
    assert.equal(started(12_350_000_000n), {});
    assert.equal(started(12_339_999_999n), {});
  }));

test('what cannot be read is absent', () =>
  withProc({ 1: {}, 7: { stat: stat(7, 'x', 1) }, 8: { exe: '/x' }, 9: { stat: '' } }, (proc) => {
    assert.equal(processFacts({ pid: 7, commandLine: true }, proc), { ppid: 1 });
    for (const pid of [8, 9, 10]) assert.equal(processFacts({ pid, commandLine: true }, proc), {});
  }));

test('a process without a parent, such as a kernel thread', () =>
  withProc({ 2: { stat: stat(2, 'kthreadd', 0), cmdline: '' } }, (proc) => {
    assert.equal(processFacts({ pid: 2, commandLine: true }, proc), { ppid: 0 });
  }));

test('names may contain parentheses, spaces and line feeds', () => {
  for (const comm of ['a) S 99 (b', ') S 99 1', 'a\nb', '((', ''])
    withProc({ 1: { comm: 'a\n) b\n' }, 7: { stat: stat(7, comm, 1) } }, (proc) => {
      const facts = processFacts({ pid: 7, startNs: 12_340_000_000n, commandLine: false }, proc);
      assert.equal(facts, { ppid: 1, parent: 'a\n) b' }, JSON.stringify(comm));
    });
});

test('the command line is cut at 4096 bytes, and may have any bytes', () => {
  for (const [cmdline, expected] of [
    ['a'.repeat(10_000), 'a'.repeat(4096)],
    ['\0\0\0', undefined],
    ['a\0\0b\0\0', 'a  b'],
    ['\x1b[31m\0', '\x1b[31m'],
    [Uint8Array.of(0x61, 0xff, 0), 'a\\xff'],
  ] as const)
    withProc({ 7: { stat: stat(7, 'x', 0), cmdline } }, (proc) => {
      assert.is(processFacts({ pid: 7, commandLine: true }, proc).cmdline, expected);
    });
});

test('the facts about this process are those of Node', () => {
  const facts = processFacts({ pid: process.pid, commandLine: true });
  assert.is(facts.exe, process.execPath);
  assert.is(facts.ppid, process.ppid);
  assert.is(facts.parent, readFileSync(`/proc/${process.ppid}/comm`, 'utf8').trimEnd());
  assert.ok(facts.cmdline?.includes('process'), facts.cmdline);
});

test.run();
