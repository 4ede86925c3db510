/** The launchers use the code cache of a bundle only if it is what the build wrote for this bundle. */
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';
import * as assert from 'uvu/assert';
import { needsRoot, suite } from '../harness.ts';

const test = suite('cli/launch', { seconds: 120 });

/** The end of the name of a bundle's cache, for this Node and architecture. */
const CACHE = `bundle.${process.version}-${process.arch}.cache`;
const PROJECT = fileURLToPath(new URL('../../../', import.meta.url));
const DIST = join(PROJECT, 'dist');
const { version } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8'));
/** A different version number of the same length. */
const OTHER = version.replaceAll(/\d/g, '7');

/** Preloaded, it prints to stderr the size of the cache that V8 gets, and whether V8 rejects it. */
const WATCH = `
  const vm = require('node:vm');
  vm.Script = class extends vm.Script {
    constructor(text, options) {
      super(text, options);
      console.error('cache of', options.cachedData?.length, 'bytes, rejected:', this.cachedDataRejected);
    }
  };
`;

/** A command in its own folder. */
class Copy {
  readonly #name: string;
  readonly #folder = mkdtempSync(join(tmpdir(), 'tsbpf-launch-'));
  readonly bundle: string;
  readonly cache: string;

  constructor(name: string) {
    this.#name = name;
    this.bundle = this.#file('bundle.cjs');
    this.cache = this.#file(CACHE);
    for (const file of readdirSync(DIST).filter((each) => each.startsWith(`${name}.`)))
      if (/\.cjs$|\.bundle\..*cache$/.test(file)) cpSync(join(DIST, file), join(this.#folder, file));
  }

  /** Runs the command. */
  version(...nodeOptions: string[]) {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [...nodeOptions, this.#file('cjs'), '--version'],
      { encoding: 'utf8' },
    );
    return { status, stdout, stderr };
  }

  /** The size of the cache that V8 gets; undefined if it gets none. */
  cacheUsed(): number | undefined {
    const watch = this.#file('watch.cjs');
    writeFileSync(watch, WATCH);
    const { status, stderr } = this.version('-r', watch);
    assert.is(status, 0, stderr);
    const [, size, rejected] = /^cache of (\S+) bytes, rejected: (\S+)$/m.exec(stderr) ?? [];
    assert.is(rejected, size === 'undefined' ? 'undefined' : 'false', stderr);
    return size === 'undefined' ? undefined : Number(size);
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true });
  }

  #file(ending: string): string {
    return join(this.#folder, `${this.#name}.${ending}`);
  }
}

function inCopy(name: string, work: (copy: Copy) => void): void {
  const copy = new Copy(name);
  try {
    work(copy);
  } finally {
    copy.remove();
  }
}

/** The text of a bundle that prints another version. */
function edited(bundle: string): string {
  const text = readFileSync(bundle, 'latin1');
  const changed = text.replaceAll(`"${version}"`, `"${OTHER}"`);
  assert.ok(changed !== text && changed.length === text.length);
  return changed;
}

/** Runs a bundle's text to its end, as the build does, and returns the code that V8 compiled from it. */
const COMPILE = `
  const { readFileSync, writeFileSync } = require('node:fs');
  const [text, code] = process.argv.slice(1);
  const { Script } = require('node:vm');
  const script = new Script(readFileSync(text, 'latin1'), { filename: text });
  const part = (name) => new Script(readFileSync(require('node:path').join(text, '..', name), 'latin1')).runInThisContext();
  const load = (name) => (name.endsWith('.cjs') ? part(name) : require(name));
  process.argv = [process.execPath, text, '--version'];
  process.once('exit', () => writeFileSync(code, script.createCachedData()));
  script.runInThisContext()(load, text);
`;

function codeOf(text: string, cache: string): Buffer {
  const [other, code] = [`${cache}.text`, `${cache}.code`];
  writeFileSync(other, text, 'latin1');
  const { status } = spawnSync(process.execPath, ['-e', COMPILE, other, code]);
  assert.is(status, 0);
  return readFileSync(code);
}

/** What a cache contains: V8's code, and the programs that the build has assembled. */
interface Content {
  readonly code: Buffer;
  readonly prebuilt: Buffer;
}

/** The file of a cache: its content with the length of the programs, then the text and the content again. */
function cacheFile(content: Content, text: string, copied = content): Buffer {
  return Buffer.concat([bytesOf(content), Buffer.from(text, 'latin1').reverse(), bytesOf(copied).reverse()]);
}

function bytesOf({ code, prebuilt }: Content): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(prebuilt.length);
  return Buffer.concat([code, prebuilt, length]);
}

/** The content of the cache of a script with this text. */
function contentOf(cache: Buffer, text: string): Content {
  const content = cache.subarray(0, (cache.length - text.length) / 2);
  const end = content.length - 4;
  const codeSize = end - content.readUInt32LE(end);
  return { code: content.subarray(0, codeSize), prebuilt: content.subarray(codeSize, end) };
}

for (const name of ['tcpconnlat', 'tsbpf']) {
  test(`${name}: the cache belongs to this V8 and this bundle`, () => {
    const text = readFileSync(join(DIST, `${name}.bundle.cjs`), 'latin1');
    assert.is(/[^\n\r\t -~]/.exec(text), null, 'nothing but ASCII, which is how it is read');
    const cache = readFileSync(join(DIST, `${name}.${CACHE}`));
    const content = contentOf(cache, text);
    assert.ok(cache.equals(cacheFile(content, text)), 'it contains the bundle and the content as copies');
    assert.is(new Script(text, { cachedData: content.code }).cachedDataRejected, false);
  });

  test(`${name}: V8 uses the cache of the build`, () => {
    inCopy(name, (copy) => {
      const { code } = contentOf(readFileSync(copy.cache), readFileSync(copy.bundle, 'latin1'));
      assert.is(copy.cacheUsed(), code.length);
    });
  });

  test(`${name}: a cache of different code with the same length is not used`, () => {
    inCopy(name, (copy) => {
      const text = readFileSync(copy.bundle, 'latin1');
      const other = edited(copy.bundle);
      const own = contentOf(readFileSync(copy.cache), text);
      const changed = { ...own, code: codeOf(other, copy.cache) };
      for (const foreign of [changed.code, cacheFile(changed, other), cacheFile(changed, text, own)]) {
        writeFileSync(copy.cache, foreign);
        assert.equal(copy.version(), { status: 0, stdout: `${version}\n`, stderr: '' });
      }
    });
  });

  test(`${name}: a bundle and a cache that a tool rewrote alike run as rewritten`, () => {
    inCopy(name, (copy) => {
      for (const file of [copy.bundle, copy.cache]) {
        const content = readFileSync(file, 'latin1');
        const rewritten = content.replaceAll('printable', 'printabel').replaceAll(version, OTHER);
        assert.ok(rewritten !== content && rewritten.length === content.length);
        writeFileSync(file, rewritten, 'latin1');
      }
      assert.equal(copy.version(), { status: 0, stdout: `${OTHER}\n`, stderr: '' });
      assert.is(copy.cacheUsed(), undefined);
    });
  });

  test(`${name}: an edited bundle of the same length runs instead of its cached code`, () => {
    inCopy(name, (copy) => {
      writeFileSync(copy.bundle, edited(copy.bundle), 'latin1');
      assert.equal(copy.version(), { status: 0, stdout: `${OTHER}\n`, stderr: '' });
    });
  });

  test(`${name}: an edited bundle with its own cache runs`, () => {
    inCopy(name, (copy) => {
      const text = edited(copy.bundle);
      writeFileSync(copy.bundle, text, 'latin1');
      const code = codeOf(text, copy.cache);
      writeFileSync(copy.cache, cacheFile({ code, prebuilt: Buffer.from('') }, text));
      assert.equal(copy.version(), { status: 0, stdout: `${OTHER}\n`, stderr: '' });
      assert.is(copy.cacheUsed(), code.length);
    });
  });

  for (const [what, spoil, lacks = false] of [
    ['is missing', (cache: string) => rmSync(cache)],
    ['is empty', (cache: string) => truncateSync(cache)],
    ['is cut off', (cache: string) => truncateSync(cache, 10_000)],
    ['is a byte longer', (cache: string) => appendFileSync(cache, '\0')],
    ['is two bytes longer', (cache: string) => appendFileSync(cache, '\0\0')],
    ['is something else', (cache: string) => writeFileSync(cache, 'x'.repeat(1000))],
    ['can be written by everybody', (cache: string) => chmodSync(cache, 0o666)],
    ['belongs to another user', (cache: string) => chownSync(cache, 65534, 65534), needsRoot],
    [
      'is a folder',
      (cache: string) => {
        rmSync(cache);
        mkdirSync(cache);
      },
    ],
  ] as const)
    test.skipIf(lacks, `${name} starts if the cache ${what}`, () => {
      inCopy(name, (copy) => {
        spoil(copy.cache);
        assert.equal(copy.version(), { status: 0, stdout: `${version}\n`, stderr: '' });
        assert.is(copy.cacheUsed(), undefined);
      });
    });

  for (const [what, spoil, says] of [
    ['is missing', (bundle: string) => rmSync(bundle), /ENOENT/],
    ['is empty', (bundle: string) => truncateSync(bundle), /is damaged/],
    ['is cut off', (bundle: string) => truncateSync(bundle, 10_000), /\.bundle\.cjs:\d+: \S/],
  ] as const)
    test(`${name} reports in one line that its bundle ${what}`, () => {
      inCopy(name, (copy) => {
        spoil(copy.bundle);
        const { status, stdout, stderr } = copy.version();
        assert.equal([status, stdout, stderr.match(/\n/g)?.length], [1, '', 1], stderr);
        assert.match(stderr, new RegExp(`^${name}: cannot load its own code: .*; install the package again`));
        assert.match(stderr, says);
      });
    });

  test(`${name}: a cache with a flipped bit is not used`, () => {
    inCopy(name, (copy) => {
      const good = readFileSync(copy.cache);
      // in V8's header, at the beginning of the code, and throughout the file with its copies
      const places = [...[0, 9, 18, 31], ...Array.from({ length: 8 }, (_, i) => (good.length * i + 60) / 8)];
      for (const place of places.map(Math.floor)) {
        const bad = Buffer.from(good);
        bad[place] = (bad[place] as number) ^ (1 << (place % 8));
        writeFileSync(copy.cache, bad);
        assert.is(copy.cacheUsed(), undefined, `byte ${place}`);
      }
    });
  });
}

test.run();
