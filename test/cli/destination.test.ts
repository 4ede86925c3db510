/**
 * Paths of recordings and reports: which are followed, and which are refused regardless of the kernel's
 * sysctls.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  fstatSync,
  lchownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { DestinationError, pathOf, resolve } from '../../src/cli/destination.ts';
import { OutputError } from '../../src/cli/output.ts';
import { needsRoot, suite } from '../harness.ts';

const test = suite('cli/destination');

let folder = '';
/** A sticky directory where every user may create files, like /tmp. */
let shared = '';
const OTHER_USER = 12_345;

test.before(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'tsbpf-destination-')));
  shared = join(folder, 'shared');
  mkdirSync(shared);
  chmodSync(shared, 0o1777);
  mkdirSync(join(folder, 'inner'));
  writeFileSync(join(folder, 'inner', 'file'), 'x');
});
test.after(() => rmSync(folder, { recursive: true }));

/** The resolved path of a recording. */
function target(path: string): string {
  const destination = resolve(path, 'the recording');
  try {
    const { directory, name, file } = destination;
    if (file !== undefined) return realpathSync(pathOf(file));
    return join(realpathSync(pathOf(directory as number)), name);
  } finally {
    destination.close();
  }
}

function refusal(path: string): OutputError {
  try {
    resolve(path, 'the recording').close();
  } catch (error) {
    assert.instance(error, OutputError);
    const { message } = error as OutputError;
    const prefix = `cannot write the recording ${path}: `;
    assert.ok(message.startsWith(prefix), message);
    return error as OutputError;
  }
  return assert.unreachable(`${path} was not refused`) as never;
}

const followed: readonly (readonly [string, () => string, string])[] = [
  ['a file', () => 'inner/file', 'inner/file'],
  ['a new file', () => 'inner/new', 'inner/new'],
  ['dots and slashes', () => './inner/..//inner/./file', 'inner/file'],
  ['a link', () => link('to-file', 'inner/file'), 'inner/file'],
  ['a link to an absolute path', () => link('absolute', join(folder, 'inner/file')), 'inner/file'],
  ['a link to no file yet', () => link('to-new', 'inner/later'), 'inner/later'],
  ['a link to a directory', () => `${link('to-folder', 'inner')}/file`, 'inner/file'],
  ['a link to a link', () => link('twice', link('once', 'inner/file')), 'inner/file'],
  ['a link up and down again', () => link('inner/around', '../inner/../inner/file'), 'inner/file'],
];
for (const [what, path, expected] of followed)
  test(`a path is resolved as in the kernel: ${what}`, () => {
    assert.is(target(join(folder, path())), join(folder, expected));
  });

function link(name: string, to: string): string {
  symlinkSync(to, join(folder, name));
  return name;
}

test('a path is relative to the working directory', () => {
  const before = process.cwd();
  process.chdir(join(folder, 'inner'));
  try {
    assert.is(target('file'), join(folder, 'inner/file'));
    assert.is(target('../inner/new'), join(folder, 'inner/new'));
  } finally {
    process.chdir(before);
  }
});

test('a descriptor of the shell is valid, as in --record >(gzip >x.gz)', () => {
  const fd = openSync(join(folder, 'inner/file'), 'r+');
  for (const path of [`/dev/fd/${fd}`, `/proc/self/fd/${fd}`, `/proc/${process.pid}/fd/${fd}`])
    assert.is(target(path), join(folder, 'inner/file'));
  closeSync(fd);
});

const faults: readonly (readonly [string, () => string, RegExp])[] = [
  ['a directory that does not exist', () => 'none/x', /: ENOENT: no such file or directory$/],
  ['a file in the place of a directory', () => 'inner/file/x', /: ENOTDIR: file is not a directory$/],
  ['a loop of links', () => link('loop', 'loop'), /: ELOOP: too many symbolic links$/],
];
for (const [what, path, message] of faults)
  test(`${what} is refused`, () => {
    const error = refusal(join(folder, path()));
    assert.match(error.message, message);
    assert.not.instance(error, DestinationError, 'the system refuses, the command line may be right');
  });

const misfits: readonly (readonly [string, () => string, RegExp])[] = [
  ['the root', () => '/', /EISDIR: it is a directory; name a file or a named pipe$/],
  ['a directory', () => folder, /EISDIR/],
  ['a directory by a slash', () => `${folder}/inner/`, /EISDIR/],
  ['a directory by dots', () => `${folder}/inner/..`, /EISDIR/],
  ['a link to a directory', () => join(folder, link('folder', 'inner')), /EISDIR/],
  ['a terminal', () => '/dev/tty', /it is a terminal or device; name a file/],
  ['the kernel\u2019s memory', () => '/dev/kmsg', /it is a terminal or device/],
  ['an endless device', () => '/dev/zero', /it is a terminal or device/],
];
for (const [what, path, message] of misfits)
  test(`${what} is refused`, () => {
    const error = refusal(path());
    assert.match(error.message, message);
    assert.instance(error, DestinationError);
  });

test.skipIf(needsRoot, 'a block device is refused', () => {
  const path = join(folder, 'disk');
  execFileSync('mknod', [path, 'b', '7', '250']);
  const error = refusal(path);
  assert.match(error.message, /: it is a block device; name a file or a named pipe$/);
  assert.instance(error, DestinationError);
});

test('a socket is refused', async () => {
  const path = join(folder, 'socket');
  const server = createServer().listen(path);
  await new Promise((done) => server.once('listening', done));
  assert.match(refusal(path).message, /it is a socket; name a file/);
  await new Promise((done) => server.close(done));
});

for (const path of ['/dev/stdout', '/dev/stderr', '/dev/fd/1', '/proc/self/fd/2', '/proc/thread-self/fd/1'])
  test(`the output of the command is refused: ${path}`, () => {
    const error = refusal(path);
    assert.match(error.message, /it is the output of this command; name another file$/);
    assert.instance(error, DestinationError);
  });

test('/dev/null and /dev/full are valid, and no descriptor stays open', () => {
  const before = openSync('/dev/null', 'r');
  closeSync(before);
  for (const path of ['/dev/null', '/dev/full']) assert.is(target(path), path);
  refusal('/dev/zero');
  refusal(join(folder, 'none/x'));
  const after = openSync('/dev/null', 'r');
  closeSync(after);
  assert.is(after, before);
});

/** Files in the shared directory that another user may have planted. */
const planted: readonly (readonly [string, (path: string) => void, RegExp])[] = [
  [
    'a link of another user',
    (path) => {
      symlinkSync(join(folder, 'inner/file'), path);
      lchownSync(path, OTHER_USER, OTHER_USER);
    },
    /: planted is a symbolic link of another user \(uid 12345\), in a sticky directory; name a file elsewhere$/,
  ],
  [
    'a dangling link of another user',
    (path) => {
      symlinkSync(join(folder, 'inner/nothing'), path);
      lchownSync(path, OTHER_USER, OTHER_USER);
    },
    /: planted is a symbolic link of another user/,
  ],
  [
    'a file of another user',
    (path) => {
      writeFileSync(path, '');
      chownSync(path, OTHER_USER, OTHER_USER);
    },
    /: it belongs to another user \(uid 12345\), in a sticky directory; name a file elsewhere$/,
  ],
  [
    'a named pipe of another user',
    (path) => {
      execFileSync('mkfifo', [path]);
      chownSync(path, OTHER_USER, OTHER_USER);
    },
    /: it belongs to another user \(uid 12345\)/,
  ],
  [
    'a hard link to a file',
    (path) => linkSync(join(folder, 'inner/file'), path),
    /: it has another name \(hard link\), and its directory is sticky; name a new file$/,
  ],
];
for (const mode of [0o1777, 0o1775])
  for (const [what, plant, message] of planted)
    test.skipIf(needsRoot, `${what} is refused in a sticky directory of mode ${mode.toString(8)}`, () => {
      chmodSync(shared, mode);
      const path = join(shared, 'planted');
      plant(path);
      try {
        assert.match(refusal(path).message, message);
      } finally {
        rmSync(path);
      }
    });

test.skipIf(needsRoot, 'a planted link to a directory is refused within a path', () => {
  const path = join(shared, 'folder');
  symlinkSync(join(folder, 'inner'), path);
  lchownSync(path, OTHER_USER, OTHER_USER);
  assert.match(refusal(join(path, 'new')).message, /: folder is a symbolic link of another user/);
});

test.skipIf(needsRoot, 'an own link to a planted file is refused', () => {
  const path = join(shared, 'theirs');
  writeFileSync(path, '');
  chownSync(path, OTHER_USER, OTHER_USER);
  symlinkSync(path, join(folder, 'mine'));
  assert.match(refusal(join(folder, 'mine')).message, /: it belongs to another user/);
});

const trusted: readonly (readonly [string, () => string])[] = [
  ['a new file in a sticky directory', () => join(shared, 'new')],
  [
    'an own file in a sticky directory',
    () => {
      writeFileSync(join(shared, 'own'), '');
      return join(shared, 'own');
    },
  ],
  [
    'a file of the owner of the sticky directory',
    () => {
      const theirs = join(folder, 'their-shared');
      mkdirSync(theirs);
      chmodSync(theirs, 0o1777);
      chownSync(theirs, OTHER_USER, OTHER_USER);
      writeFileSync(join(theirs, 'file'), '');
      chownSync(join(theirs, 'file'), OTHER_USER, OTHER_USER);
      return join(theirs, 'file');
    },
  ],
  [
    'another user\u2019s file elsewhere',
    () => {
      const path = join(folder, 'inner/theirs');
      writeFileSync(path, '');
      chownSync(path, OTHER_USER, OTHER_USER);
      return path;
    },
  ],
];
for (const [what, path] of trusted)
  test.skipIf(needsRoot, `${what} is followed`, () => {
    const made = path();
    assert.is(target(made), made);
  });

test('an own link in a sticky directory is followed', () => {
  const path = join(shared, 'own-link');
  symlinkSync(join(folder, 'inner/file'), path);
  assert.is(target(path), join(folder, 'inner/file'));
});

test('a resolved directory stays the same if it is renamed', () => {
  const [path, moved] = [join(folder, 'before'), join(folder, 'after')];
  mkdirSync(path);
  const destination = resolve(join(path, 'new'), 'the recording');
  execFileSync('mv', [path, moved]);
  assert.is(fstatSync(destination.directory as number).ino, statSync(moved).ino);
  destination.close();
});

test.run();
