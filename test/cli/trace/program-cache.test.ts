/** The cache of programs: a file of root with the same key, or none. live/program-cache.test.ts runs it. */
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { target } from '../../../src/asm/target.ts';
import {
  cachedPrograms,
  cachePrograms,
  describeCache,
  type ProgramCache,
  programCache,
} from '../../../src/cli/trace/program-cache.ts';
import { Errno } from '../../../src/loader/errno.ts';
import { Kernel } from '../../../src/loader/kernel.ts';
import type { Options as ToolOptions } from '../../../src/programs/tcpconnlat/options.ts';
import { tcpconnlat } from '../../../src/programs/tcpconnlat.ts';
import { needsRoot, sameOnEveryKernel, suite } from '../../harness.ts';
import { FakeSyscalls } from '../../loader/fake.ts';
import { socketTypes } from '../../programs/kernel.ts';

const test = suite('cli/trace/program-cache');

const skip = needsRoot || sameOnEveryKernel;

/** A kernel with this build ID. */
function kernelOf(id: number | undefined): Kernel {
  const fake = new FakeSyscalls();
  const note = new Uint8Array(new Uint32Array([4, 4, 3, 0x554e47, id ?? 0]).buffer);
  fake.readFile = (path) => (path === '/sys/kernel/notes' && id !== undefined ? note : -Errno.ENOENT);
  return new Kernel(fake);
}

const kernel = kernelOf(1);
const asked: ToolOptions = { probe: 'tp_btf', filter: {}, localPort: false };
const built = (options: ToolOptions) => tcpconnlat(options, target('x64', socketTypes()));

/** Runs `work` with a cache that is not there yet, in a new folder. */
function inFolder(work: (cache: ProgramCache, folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'tsbpf-programs-'));
  try {
    work({ directory: join(folder, 'cache'), build: '0123456789abcdef' }, folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const store = (cache: ProgramCache, options = asked, on = kernel) =>
  cachePrograms(options, on, built(options), cache);
const filesOf = ({ directory }: ProgramCache) => readdirSync(directory).map((name) => join(directory, name));

/** The path of the only file. */
function only(cache: ProgramCache): string {
  const files = filesOf(cache);
  assert.is(files.length, 1);
  return files[0] as string;
}

test.skipIf(skip, 'programs are the same after they were stored, in files that only root can read', () => {
  inFolder((cache) => {
    assert.is(cachedPrograms(asked, kernel, cache), undefined);
    assert.not(existsSync(cache.directory), 'a look creates nothing');
    store(cache);
    const found = cachedPrograms(asked, kernel, cache);
    const expected = built(asked);
    assert.equal(
      found?.programs.map(({ name, attachment }) => [name, attachment]),
      expected.programs.map(({ name, attachment }) => [name, attachment]),
    );
    assert.equal(found?.maps, expected.maps);
    assert.is(lstatSync(cache.directory).mode & 0o7777, 0o700);
    assert.is(lstatSync(only(cache)).mode & 0o7777, 0o600);
  });
});

test.skipIf(skip, 'other options, kernels and builds have their own programs', () => {
  inFolder((cache) => {
    store(cache);
    const others: [ToolOptions, Kernel, ProgramCache][] = [
      [{ ...asked, localPort: true }, kernel, cache],
      [{ ...asked, filter: { port: { only: [[443, 443]] } } }, kernel, cache],
      [{ ...asked, probe: 'raw_tracepoint' }, kernel, cache],
      [asked, kernelOf(2), cache],
      [asked, kernel, { ...cache, build: '0123456789abcdee' }],
    ];
    for (const [options, on, other] of others) {
      const name = `${JSON.stringify(options)} ${on.buildId} ${other.build}`;
      assert.is(cachedPrograms(options, on, other), undefined, name);
      store(other, options, on);
      assert.ok(cachedPrograms(options, on, other), name);
    }
    assert.is(filesOf(cache).length, others.length + 1);
  });
});

test.skipIf(skip, 'a file with the name of another key is not used', () => {
  inFolder((cache) => {
    store(cache);
    const file = only(cache);
    renameSync(file, `${file}.other`);
    store(cache, { ...asked, family: 4 });
    const [other = ''] = filesOf(cache).filter((each) => each.endsWith('.programs'));
    renameSync(other, file);
    assert.is(cachedPrograms(asked, kernel, cache), undefined);
    renameSync(`${file}.other`, file);
    assert.ok(cachedPrograms(asked, kernel, cache));
  });
});

test.skipIf(skip, 'what belongs to a run or has no text is not kept', () => {
  inFolder((cache) => {
    const network = { address: Uint8Array.of(10, 0, 0, 0), prefix: 8 };
    for (const filter of [
      { pid: { only: [[1, 1] as const] } },
      { netns: { only: [[4026531840, 4026531840] as const] } },
      { to: { only: [network] } },
    ])
      store(cache, { ...asked, filter });
    store(cache, asked, kernelOf(undefined));
    assert.is(existsSync(cache.directory) ? filesOf(cache).length : 0, 0);
  });
});

for (const [what, spoil] of [
  ['a flipped bit', (file: string) => flip(file, 400)],
  ['a flipped bit in the copy', (file: string) => flip(file, lstatSync(file).size - 400)],
  ['a byte less', (file: string) => truncateSync(file, lstatSync(file).size - 1)],
  ['half of its bytes', (file: string) => truncateSync(file, lstatSync(file).size / 2)],
  ['no bytes', (file: string) => truncateSync(file)],
  ['two bytes more', (file: string) => appendFileSync(file, '\0\0')],
  ['more than a mebibyte', (file: string) => truncateSync(file, 2 << 20)],
  ['another owner', (file: string) => chownSync(file, 65534, 0)],
  ['a mode that lets others read', (file: string) => chmodSync(file, 0o604)],
  ['a mode that lets a group write', (file: string) => chmodSync(file, 0o620)],
] as const)
  test.skipIf(skip, `a file with ${what} is not used, and is replaced`, () => {
    inFolder((cache) => {
      store(cache);
      spoil(only(cache));
      assert.is(cachedPrograms(asked, kernel, cache), undefined);
      store(cache);
      assert.ok(cachedPrograms(asked, kernel, cache));
    });
  });

function flip(file: string, at: number): void {
  const bytes = readFileSync(file);
  bytes[at] = (bytes[at] as number) ^ 1;
  writeFileSync(file, bytes);
}

test.skipIf(skip, 'a symbolic link, a folder or a FIFO instead of the file is not used', () => {
  inFolder((cache, folder) => {
    store(cache);
    const file = only(cache);
    const elsewhere = join(folder, 'elsewhere');
    renameSync(file, elsewhere);
    symlinkSync(elsewhere, file);
    assert.is(cachedPrograms(asked, kernel, cache), undefined);
    store(cache);
    assert.ok(lstatSync(file).isFile(), 'the link is replaced');
    rmSync(file);
    mkdirSync(file);
    assert.is(cachedPrograms(asked, kernel, cache), undefined);
    store(cache);
    assert.ok(lstatSync(file).isDirectory());
    assert.equal(filesOf(cache), [file], 'no draft is left');
  });
});

for (const [what, spoil, why] of [
  ['belongs to another user', (path: string) => chownSync(path, 65534, 0), 'it belongs to uid 65534'],
  ['can be written by a group', (path: string) => chmodSync(path, 0o770), 'others can write it'],
  ['can be written by all users', (path: string) => chmodSync(path, 0o707), 'others can write it'],
  [
    'is a symbolic link',
    (path: string) => {
      renameSync(path, `${path}.real`);
      symlinkSync(`${path}.real`, path);
    },
    /ELOOP|ENOTDIR/,
  ],
  [
    'is a file',
    (path: string) => {
      rmSync(path, { recursive: true });
      writeFileSync(path, '');
    },
    'ENOTDIR',
  ],
] as const)
  test.skipIf(skip, `a directory that ${what} is not used`, () => {
    inFolder((cache, folder) => {
      store(cache);
      assert.match(describeCache(cache), ', 1 of at most 32 files');
      spoil(cache.directory);
      const before = tree(folder);
      assert.is(cachedPrograms(asked, kernel, cache), undefined);
      store(cache, { ...asked, family: 6 });
      assert.equal(tree(folder), before, 'nothing is written');
      const text = describeCache(cache);
      assert.ok(text.startsWith(`${cache.directory}, not used: `), text);
      assert.match(text, why);
    });
  });

function tree(folder: string): string[] {
  return (readdirSync(folder, { recursive: true }) as string[]).sort();
}

test.skipIf(skip, 'a directory that cannot be made is no error', () => {
  for (const directory of ['/proc/tsbpf-cache', '/dev/null/cache', '/nowhere/at/all']) {
    const cache = { directory, build: '0123456789abcdef' };
    store(cache);
    assert.is(cachedPrograms(asked, kernel, cache), undefined);
    assert.match(describeCache(cache), /, (does not exist yet|not used: ENOTDIR)$/);
  }
});

test.skipIf(skip, 'the oldest files are removed, and none of other programs', () => {
  inFolder((cache) => {
    mkdirSync(cache.directory, { mode: 0o700 });
    const path = (name: string) => join(cache.directory, name);
    const aged = (name: string, seconds: number) => {
      writeFileSync(path(name), 'x');
      utimesSync(path(name), seconds, seconds);
    };
    for (let i = 0; i < 32; i++) aged(`${String(i).padStart(16, '0')}.programs`, 1000 + i);
    aged('00000000000000ff.draft-12', 900); // of a run that was killed
    aged('notes.txt', 1);
    store(cache);
    const names = readdirSync(cache.directory);
    assert.is(names.length, 33);
    for (const gone of ['00000000000000ff.draft-12', '0000000000000000.programs'])
      assert.not(names.includes(gone), gone);
    for (const kept of ['notes.txt', '0000000000000001.programs']) assert.ok(names.includes(kept), kept);
    assert.ok(cachedPrograms(asked, kernel, cache));
  });
});

test.skipIf(skip, 'only root has a cache, in the directory that the variable names', () => {
  const before = process.env.TCPCONNLAT_CACHE;
  const stated = (value: string | undefined) => {
    if (value === undefined) delete process.env.TCPCONNLAT_CACHE;
    else process.env.TCPCONNLAT_CACHE = value;
    return programCache('build');
  };
  try {
    assert.equal(stated(undefined), { directory: '/var/cache/tcpconnlat', build: 'build' });
    assert.equal(stated('/a/b'), { directory: '/a/b', build: 'build' });
    assert.is(stated(''), 'TCPCONNLAT_CACHE is empty');
    assert.is(stated('a/b'), 'TCPCONNLAT_CACHE is not an absolute path');
    assert.is(programCache(), 'the command runs from its sources');
    process.seteuid?.(65534);
    assert.is(stated('/a/b'), 'only root has one');
  } finally {
    process.seteuid?.(0);
    process.env.TCPCONNLAT_CACHE = before;
  }
  assert.is(describeCache('only root has one'), 'none, only root has one');
});

test.run();
