/** Frames of stacks, with a fake kernel: which files count, and what hostile ones can do. */
import * as assert from 'uvu/assert';
import { Kernel } from '../../src/loader/kernel.ts';
import { parseMappings } from '../../src/loader/symbolizer/mappings.ts';
import { PerfMap } from '../../src/loader/symbolizer/perf-map.ts';
import { frameText, Symbolizer } from '../../src/loader/symbolizer.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';

const test = suite('loader/symbolizer');

const MAPS = `00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/app
00651000-00652000 r--p 00051000 08:02 173521      /usr/bin/app
7f00a000-7f00b000 rwxp 00000000 00:00 0 
7f00c000-7f00d000 r-xp 00000000 08:02 99          /tmp/a b\\012c (deleted)
7ffd1000-7ffd2000 r-xp 00000000 00:00 0           [vdso]
`;
const STATUS = 'Name:\tapp\nUid:\t0\t1000\t0\t0\nNSpid:\t77\t5\n';

function processWith(files: Record<string, string>): { fake: FakeSyscalls; symbolizer: Symbolizer } {
  const fake = new FakeSyscalls();
  fake.files.set('/proc/77/maps', MAPS);
  fake.files.set('/proc/77/status', STATUS);
  for (const [path, text] of Object.entries(files))
    fake.contents.set(path, { bytes: Buffer.from(text), uid: 1000 });
  return { fake, symbolizer: new Symbolizer(new Kernel(fake)) };
}

const PERF_MAP = '/proc/77/root/tmp/perf-5.map';

test('executable mappings are parsed, with their paths as the kernel escapes them', () => {
  assert.equal(
    parseMappings(MAPS).map(({ start, end, offset, inode, path }) => [start, end, offset, inode, path]),
    [
      [0x40_0000n, 0x45_2000n, 0x1000, 173521n, '/usr/bin/app'],
      [0x7f00_a000n, 0x7f00_b000n, 0, 0n, ''],
      [0x7f00_c000n, 0x7f00_d000n, 0, 99n, '/tmp/a b\\012c (deleted)'],
      [0x7ffd_1000n, 0x7ffd_2000n, 0, 0n, '[vdso]'],
    ],
  );
});

test('frames without symbols have their file and the offset in it', () => {
  const { symbolizer } = processWith({});
  assert.equal(symbolizer.process(77).frames([0x40_0010n, 0x7f00_c001n, 0x10n, 0x7f00_a000n + 1n]), [
    { address: 0x40_0010n, offset: 0x1010, file: '/usr/bin/app' },
    { address: 0x7f00_c001n, offset: 1, file: '/tmp/a b\\012c (deleted)' },
    { address: 0x10n },
    { address: 0x7f00_a001n },
  ]);
});

test('compiled functions come from the perf map under the inner PID, the last entry first', () => {
  const text = '7f00a000 100 old\nnonsense\n7f00a000 80 LazyCompile:~f /app.js:1\n7f00a100 10 g\n';
  const { symbolizer } = processWith({ [PERF_MAP]: text });
  assert.equal(
    symbolizer.process(77).frames([0x7f00_a010n, 0x7f00_a091n, 0x7f00_a101n, 0x7f00_a200n]).map(frameText),
    ['LazyCompile:~f /app.js:1+0x10', 'old+0x91', 'g+0x1', '0x7f00a200'],
  );
});

test('a perf map of another user, or one that is no regular file, does not count', () => {
  for (const other of [{ uid: 1001 }, { uid: 0 }, { isFile: false }]) {
    const { fake, symbolizer } = processWith({});
    const bytes = Buffer.from('7f00a000 100 forged\n');
    fake.contents.set(PERF_MAP, { bytes, uid: 1000, ...other });
    assert.equal(symbolizer.process(77).frames([0x7f00_a010n]), [{ address: 0x7f00_a010n }]);
    assert.equal([...fake.open], [], 'no descriptor stays open');
  }
});

test('a perf map that has grown is read again', () => {
  const { fake, symbolizer } = processWith({ [PERF_MAP]: '7f00a000 10 f\n' });
  const name = () => symbolizer.process(77).frames([0x7f00_a010n])[0]?.symbol;
  assert.is(name(), undefined);
  fake.contents.set(PERF_MAP, { bytes: Buffer.from('7f00a000 10 f\n7f00a010 10 g\n'), uid: 1000 });
  assert.is(name(), 'g');
});

test('a file with another inode is not the mapped one, and no ELF file has no symbols', () => {
  const { fake, symbolizer } = processWith({ '/proc/77/root/usr/bin/app': '#!/bin/sh' });
  const frame = { address: 0x40_0010n, offset: 0x1010, file: '/usr/bin/app' };
  assert.equal(symbolizer.process(77).frames([0x40_0010n]), [frame]);
  fake.contents.set('/proc/77/map_files/400000-452000', { bytes: Buffer.from('\x7fELF') });
  assert.equal(symbolizer.process(77).frames([0x40_0010n]), [frame]);
  assert.equal(
    fake.calls.filter((call) => /^open .*(map_files|bin)/.test(call)),
    [
      'open /proc/77/map_files/400000-452000',
      'open /proc/77/root/usr/bin/app',
      'open /proc/77/map_files/400000-452000',
    ],
  );
});

test('return addresses belong to the function that called', () => {
  const { fake, symbolizer } = processWith({});
  fake.files.set(
    '/proc/kallsyms',
    'ffffffff81000000 T first\nffffffff81000100 T second\nffffffffc0000000 t third\t[mod]\n',
  );
  const frames = symbolizer.kernelFrames([
    0xffff_ffff_8100_0100n,
    0xffff_ffff_8100_0100n,
    0xffff_ffff_c000_0008n,
  ]);
  assert.equal(frames.map(frameText), [
    'second+0x0 ([kernel])',
    'first+0x100 ([kernel])',
    'third+0x8 ([mod])',
  ]);
});

test('a frame as text escapes hostile names', () => {
  const text = frameText({ address: 1n, symbol: 'f\x1b[2J', offset: 3, file: '/tmp/\n\u202e' });
  assert.is(text, 'f\\x1b[2J+0x3 (/tmp/\\n\\u202e)');
  assert.is(frameText({ address: 0x1234n, offset: 0x34, file: '/lib/x.so' }), '0x1234 (/lib/x.so+0x34)');
});

test('names of a perf map are cut, and overlaps are searched within bounds', () => {
  const map = new PerfMap(
    `1000 10 ${'x'.repeat(5_000)}\n${'2000 1 y\n'.repeat(10_000)}zz 1 no\n3000 ffffffffff no\n`,
  );
  assert.is(map.at(0x1000n)?.name.length, 512);
  assert.is(map.at(0x2000n)?.name, 'y');
  assert.is(map.at(0x3000n), undefined);
});

test.run();
