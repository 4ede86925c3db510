/** The file of a recording, from its check to its end. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { OutputError } from '../../../src/cli/output.ts';
import { RecordingFile, type Surroundings } from '../../../src/cli/recording/file.ts';
import { nativeSyscalls } from '../../../src/loader/koffi.ts';
import { needsRoot, suite } from '../../harness.ts';
import { withDisk } from '../../small-disk.ts';

const test = suite('cli/recording/file');

let folder = '';
test.before.each(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsbpf-file-'));
});
test.after.each(() => rmSync(folder, { recursive: true }));

let warnings: string[] = [];
const AROUND: Surroundings = { syscalls: nativeSyscalls(), warn: (text) => warnings.push(text) };

/** Writes a recording with this text. Returns the warnings. */
function record(path: string, text: string, around = AROUND): readonly string[] {
  warnings = [];
  const file = new RecordingFile(path, around);
  file.begin();
  file.write(Buffer.from(text));
  file.close();
  return warnings;
}

const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8);

for (const umask of [0, 0o022, 0o077, 0o777])
  test(`a new file has mode 600 under the umask ${umask.toString(8)}`, () => {
    const path = join(folder, 'new');
    const before = process.umask(umask);
    try {
      assert.equal(record(path, 'x'), []);
    } finally {
      process.umask(before);
    }
    assert.equal([modeOf(path), readFileSync(path, 'utf8')], ['600', 'x']);
  });

for (const [mode, after] of [
  [0o644, '600'],
  [0o660, '600'],
  [0o604, '600'],
  [0o755, '600'],
] as const)
  test(`a file of mode ${mode.toString(8)} that others can read is made private, with a warning`, () => {
    const path = join(folder, 'old');
    writeFileSync(path, 'older');
    chmodSync(path, mode);
    assert.equal(record(path, 'x'), [`the mode of ${path} was 0${mode.toString(8)} and is now 0600`]);
    assert.equal([modeOf(path), readFileSync(path, 'utf8')], [after, 'x']);
  });

for (const mode of [0o600, 0o700, 0o400])
  test.skipIf(needsRoot, `a file of mode ${mode.toString(8)} is private, and keeps it`, () => {
    const path = join(folder, 'old');
    writeFileSync(path, 'older');
    chmodSync(path, mode);
    assert.equal(record(path, 'x'), []);
    assert.is(modeOf(path), mode.toString(8));
  });

test('before begin() nothing is created or changed', () => {
  const [fresh, old] = ['fresh', 'old'].map((name) => join(folder, name)) as [string, string];
  writeFileSync(old, 'older');
  chmodSync(old, 0o644);
  warnings = [];
  for (const path of [fresh, old]) {
    const file = new RecordingFile(path, AROUND);
    assert.equal(readdirSync(folder), ['old']);
    file.close();
  }
  assert.equal([readdirSync(folder), modeOf(old), readFileSync(old, 'utf8')], [['old'], '644', 'older']);
  assert.equal(warnings, []);
});

test('a new file that stays empty is removed; an existing file is kept', () => {
  const path = join(folder, 'new');
  assert.equal(record(path, ''), []);
  assert.equal(readdirSync(folder), []);
  writeFileSync(path, '', { mode: 0o600 });
  assert.equal(record(path, ''), []);
  assert.equal(readdirSync(folder), ['new']);
});

test('an empty file that was replaced is not removed', () => {
  const path = join(folder, 'new');
  const file = new RecordingFile(path, AROUND);
  file.begin();
  unlinkSync(path);
  writeFileSync(path, 'another\u2019s');
  file.close();
  assert.is(readFileSync(path, 'utf8'), 'another\u2019s');
});

const taken = (path: string) =>
  new RegExp(
    `^cannot write the recording ${path}: another process is recording to it \\(pid ${process.pid}\\); name another file$`,
  );

test('a second writer is refused on any path, and the first continues', () => {
  const path = join(folder, 'file');
  const first = new RecordingFile(path, AROUND);
  first.begin();
  first.write(Buffer.from('first'));
  const link = join(folder, 'link');
  symlinkSync('file', link);
  for (const name of [path, link])
    assert.throws(
      () => new RecordingFile(name, AROUND),
      (error: Error) => {
        assert.instance(error, OutputError);
        assert.match(error.message, taken(name));
        return true;
      },
    );
  first.write(Buffer.from(' and on'));
  first.close();
  assert.is(readFileSync(path, 'utf8'), 'first and on');
  assert.equal(record(path, 'next'), []);
});

test('an older recording is locked from the start', () => {
  const path = join(folder, 'file');
  writeFileSync(path, 'older');
  const first = new RecordingFile(path, AROUND);
  assert.throws(() => new RecordingFile(path, AROUND), taken(path));
  first.close();
});

test('if two start with the same new file, the first to begin gets it', () => {
  const path = join(folder, 'file');
  const [one, other] = [new RecordingFile(path, AROUND), new RecordingFile(path, AROUND)];
  one.begin();
  one.write(Buffer.from('one'));
  assert.throws(() => other.begin(), taken(path));
  other.close();
  one.close();
  assert.is(readFileSync(path, 'utf8'), 'one');
});

test('a file that another process has created and filled is not touched', () => {
  const path = join(folder, 'file');
  const file = new RecordingFile(path, AROUND);
  writeFileSync(path, 'another\u2019s');
  assert.throws(() => file.begin(), /another process has just created it; name another file$/);
  file.close();
  assert.is(readFileSync(path, 'utf8'), 'another\u2019s');
});

test('a file that another process has created but not locked is used', () => {
  const path = join(folder, 'file');
  const file = new RecordingFile(path, AROUND);
  writeFileSync(path, '', { mode: 0o600 });
  file.begin();
  file.write(Buffer.from('x'));
  file.close();
  assert.is(readFileSync(path, 'utf8'), 'x');
});

test('if the file is removed before it is locked, the path is resolved again', () => {
  const path = join(folder, 'file');
  writeFileSync(path, 'older');
  let locks = 0;
  const flock = (fd: number) => {
    if (locks++ === 0) unlinkSync(path);
    return nativeSyscalls().flock(fd);
  };
  assert.equal(record(path, 'x', { ...AROUND, syscalls: { ...AROUND.syscalls, flock } }), []);
  assert.equal([locks, readFileSync(path, 'utf8')], [2, 'x']);
});

test('a file system without locks causes a warning', () => {
  const path = join(folder, 'file');
  const flock = () => -37;
  const said = record(path, 'x', { ...AROUND, syscalls: { ...AROUND.syscalls, flock } });
  assert.equal(said, [`${path} cannot be locked (ENOLCK): do not start another recording to it`]);
  assert.is(readFileSync(path, 'utf8'), 'x');
});

test('a named pipe is neither locked nor made private, and needs a reader', () => {
  const path = join(folder, 'pipe');
  execFileSync('mkfifo', ['-m', '666', path]);
  const around = { ...AROUND, syscalls: { ...AROUND.syscalls, flock: () => assert.unreachable() as never } };
  assert.throws(
    () => record(path, 'x', around),
    /: ENXIO: no such device or address \(no process reads this pipe\)$/,
  );
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  assert.equal(record(path, 'x', around), []);
  assert.is(readSync(reader, Buffer.alloc(10)), 1);
  closeSync(reader);
  assert.is(modeOf(path), '666');
});

test.skipIf(needsRoot, 'a read-only directory is an error before tracing begins', async () => {
  await withDisk(folder, 'ro', (inner) => {
    const path = join(inner, 'new');
    assert.throws(
      () => new RecordingFile(path, AROUND),
      `cannot write the recording ${path}: EROFS: read-only file system`,
    );
  });
});

test.run();
