/** The file of a report: checked before tracing, written in one step, private. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { DestinationError } from '../../../src/cli/destination.ts';
import { OutputError } from '../../../src/cli/output.ts';
import { ReportFile } from '../../../src/cli/report/file.ts';
import { nativeSyscalls } from '../../../src/loader/koffi.ts';
import { needsRoot, suite } from '../../harness.ts';
import { withDisk } from '../../small-disk.ts';

const test = suite('cli/report/file');

let folder = '';
test.before.each(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'tsbpf-report-')));
});
test.after.each(() => rmSync(folder, { recursive: true }));

/** Writes a report. */
function write(path: string, text = 'new'): void {
  const file = new ReportFile(path);
  try {
    file.write(text);
  } finally {
    file.close();
  }
}

function refusal(work: () => void): OutputError {
  try {
    work();
  } catch (error) {
    assert.instance(error, OutputError);
    return error as OutputError;
  }
  throw new Error('not refused');
}

const modeOf = (path: string) => statSync(path).mode & 0o777;

for (const umask of [0, 0o777])
  test(`a report is private under the umask ${umask.toString(8)}, and so is one that replaces another`, () => {
    const before = process.umask(umask);
    try {
      const path = join(folder, 'report.html');
      write(path);
      assert.is(modeOf(path), 0o600);
      chmodSync(path, 0o644);
      write(path, 'newer');
      assert.is(modeOf(path), 0o600);
      assert.is(readFileSync(path, 'utf8'), 'newer');
      assert.equal(readdirSync(folder), ['report.html']);
    } finally {
      process.umask(before);
    }
  });

test('nothing changes until the report is written', () => {
  const path = join(folder, 'report.html');
  new ReportFile(path).close();
  assert.equal(readdirSync(folder), []);
  writeFileSync(path, 'old');
  new ReportFile(path).close();
  assert.is(readFileSync(path, 'utf8'), 'old');
});

test('a link of this user leads to the file that is replaced', () => {
  mkdirSync(join(folder, 'inner'));
  symlinkSync('inner/report.html', join(folder, 'link'));
  write(join(folder, 'link'));
  assert.is(readFileSync(join(folder, 'inner/report.html'), 'utf8'), 'new');
});

test('a name of the greatest length and of any bytes works', () => {
  const path = join(folder, 'ü'.repeat(127));
  write(path);
  assert.is(readFileSync(path, 'utf8'), 'new');
  assert.is(readdirSync(folder).length, 1);
});

test('a path that cannot hold a report is refused before tracing', () => {
  writeFileSync(join(folder, 'file'), '');
  for (const [path, reason] of [
    [folder, /EISDIR: it is a directory/],
    [join(folder, 'file', 'x'), /ENOTDIR/],
    [join(folder, 'missing', 'x'), /ENOENT/],
    ['/dev/zero', /it is a terminal or device/],
  ] as const) {
    const { message } = refusal(() => new ReportFile(path));
    assert.match(message, /^cannot write the report /);
    assert.match(message, reason);
  }
});

test('the recording that is read is not overwritten under any name', () => {
  const recording = join(folder, 'recording');
  writeFileSync(recording, 'x');
  symlinkSync('recording', join(folder, 'link'));
  const error = refusal(() => new ReportFile(join(folder, 'link'), statSync(recording, { bigint: true })));
  assert.instance(error, DestinationError);
  assert.match(error.message, /it is the recording that is read; name another file/);
});

test('a file that a process records to is not overwritten', () => {
  const path = join(folder, 'recording');
  const fd = openSync(path, 'w');
  try {
    assert.is(nativeSyscalls().flock(fd), 0);
    const { message } = refusal(() => new ReportFile(path));
    assert.match(
      message,
      new RegExp(`a process is recording to it \\(pid ${process.pid}\\); name another file`),
    );
  } finally {
    closeSync(fd);
  }
});

test('/dev/null takes a report, and /dev/full is a full disk', () => {
  write('/dev/null');
  assert.match(refusal(() => write('/dev/full')).message, /^cannot write the report \/dev\/full: ENOSPC/);
});

test('a descriptor of the shell takes a report', () => {
  const path = join(folder, 'descriptor');
  writeFileSync(path, 'a much longer old text');
  const fd = openSync(path, 'r+');
  write(`/dev/fd/${fd}`);
  closeSync(fd);
  assert.is(readFileSync(path, 'utf8'), 'new');
});

test('a named pipe needs a reader, and gets the report', () => {
  const path = join(folder, 'pipe');
  execFileSync('mkfifo', [path]);
  assert.match(refusal(() => write(path)).message, /ENXIO.*\(no process reads this pipe\)/);
  const reader = openSync(path, 'r+');
  write(path);
  const bytes = Buffer.alloc(10);
  assert.is(bytes.toString('utf8', 0, readSync(reader, bytes)), 'new');
  closeSync(reader);
});

test.skipIf(needsRoot, 'a full disk leaves an older report, and no draft', async () => {
  await withDisk(folder, 'size=64k', (disk) => {
    const path = join(disk, 'report.html');
    writeFileSync(path, 'old');
    const { code, message } = refusal(() => write(path, 'x'.repeat(100_000)));
    assert.is(code, 'ERR_OUTPUT');
    assert.match(message, /^cannot write the report \S+\/report\.html: ENOSPC: no space left on device$/);
    assert.is(readFileSync(path, 'utf8'), 'old');
    assert.equal(readdirSync(disk), ['report.html']);
  });
});

test.skipIf(needsRoot, 'a folder of another user needs a capability', () => {
  const needs = () => {
    const file = new ReportFile(join(folder, 'report.html'));
    try {
      return file.needsOverride;
    } finally {
      file.close();
    }
  };
  assert.is(needs(), false);
  chownSync(folder, 12_345, 12_345);
  assert.is(needs(), true);
  chmodSync(folder, 0o777);
  assert.is(needs(), false);
});

test.run();
