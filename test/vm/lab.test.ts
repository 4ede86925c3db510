/** Parts of the lab that can be tested without booting a guest. */
import { readdirSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { suite } from '../harness.ts';
import { cpio, FOLDER, PLAIN } from './cpio.ts';
import { describeKernels } from './docs.ts';
import { loadOrder } from './kernel.ts';
import { isOrdinary, totalOf, type Visited, visits } from './lab.ts';
import { kernelsOf, MATRIX, nameOf, OTHER } from './matrix.ts';

const test = suite('vm/lab');

test('the newest cloud kernel of a series comes first, ordered numerically', () => {
  const names = [
    'linux-image-6.12.9+deb12-cloud-amd64',
    'linux-image-6.12.117+deb12-cloud-amd64',
    'linux-image-6.12.20+deb12-cloud-amd64',
  ];
  const releases = kernelsOf('6.12', names).map((kernel) => kernel.release);
  assert.equal(releases, [
    '6.12.117+deb12-cloud-amd64',
    '6.12.20+deb12-cloud-amd64',
    '6.12.9+deb12-cloud-amd64',
  ]);
});

test('other series, flavors and meta packages are ignored', () => {
  const names = [
    'linux-image-6.1.0-56-cloud-amd64',
    'linux-image-6.12.117+deb12-cloud-amd64',
    'linux-image-6.1.0-56-amd64',
    'linux-image-6.1.0-56-cloud-amd64-unsigned',
    'linux-image-6.1.0-56-cloud-amd64-dbg',
    'linux-image-cloud-amd64',
    'linux-image-6.1-cloud-amd64',
    'linux-headers-6.1.0-56-cloud-amd64',
  ];
  assert.equal(kernelsOf('6.1', names), [
    { release: '6.1.0-56-cloud-amd64', packages: ['linux-image-6.1.0-56-cloud-amd64'] },
  ]);
});

test('a kernel with an empty image package is made of its binary and modules packages', () => {
  const release = '7.3.4+deb13-cloud-amd64';
  const names = ['image', 'binary', 'modules', 'base', 'binary-unsigned'].map(
    (kind) => `linux-${kind}-${release}`,
  );
  assert.equal(kernelsOf('7.3', names), [
    { release, packages: [`linux-binary-${release}`, `linux-modules-${release}`] },
  ]);
});

test('a kernel with missing packages is ignored', () => {
  const names = ['linux-image', 'linux-binary'].map((kind) => `${kind}-6.19.14+deb13-cloud-amd64`);
  assert.equal(kernelsOf('6.19', names), []);
});

test('modules are loaded once, after their dependencies; built-in modules are skipped', () => {
  const dep = [
    'kernel/virtio_blk.ko: kernel/virtio.ko kernel/virtio_ring.ko',
    'kernel/virtio_ring.ko: kernel/virtio.ko',
    'kernel/virtio.ko:',
    'kernel/virtio-pci.ko: kernel/virtio.ko',
  ].join('\n');
  assert.equal(loadOrder(dep, ['virtio_pci', 'virtio_blk', 'virtio_console']), [
    'kernel/virtio.ko',
    'kernel/virtio-pci.ko',
    'kernel/virtio_ring.ko',
    'kernel/virtio_blk.ko',
  ]);
});

test('an archive aligns names and content to four bytes and ends with a trailer', () => {
  const archive = cpio([
    { path: 'bin', mode: FOLDER },
    { path: 'bin/five', mode: PLAIN, data: Buffer.from('12345') },
  ]);
  const member = (offset: number, nameLength: number): string =>
    archive.toString('latin1', offset + 110, offset + 110 + nameLength);
  // A header of 110 bytes and the name with its zero byte, padded; then the content, padded.
  assert.is(archive.length % 4, 0);
  assert.is(archive.toString('latin1', 0, 6), '070701');
  assert.is(member(0, 4), 'bin\0');
  assert.is(member(116, 9), 'bin/five\0');
  assert.is(archive.toString('latin1', 116 + 54, 116 + 62), '00000005'); // c_filesize
  assert.is(archive.toString('latin1', 236, 241), '12345');
  assert.is(member(244, 11), 'TRAILER!!!\0');
  assert.is(archive.length, 368);
});

test('--core runs all tests on the oldest kernel and the newest, and the core on the others', () => {
  const files = readdirSync(new URL('../live/', import.meta.url)).filter((file) => file.endsWith('.test.js'));
  const whole = visits({ core: true }, ['x64']).filter(isOrdinary);
  const ends = [MATRIX[0], MATRIX.at(-1)].map((source) => source?.series);
  for (const file of files) {
    const ran = whole.filter(({ filters }) => filters.some((filter) => `test/live/${file}`.includes(filter)));
    const everywhere = /^(tcpconnlat|kprobe-events|jump-table)\.test/.test(file);
    assert.equal(
      ran.map(({ series }) => series),
      everywhere ? MATRIX.map(({ series }) => series) : ends,
      file,
    );
  }
  for (const { filters } of whole) assert.ok(filters.includes('test/lab/'));
});

test('a full run visits every kernel twice, one without IPv6, and one under lockdown', () => {
  const all = visits({}, ['x64', 'arm64']);
  assert.equal(
    all.filter(isOrdinary).map(({ series }) => series),
    [...MATRIX, ...OTHER].map(nameOf),
  );
  assert.equal(
    all.filter(({ counting }) => counting).map(({ series }) => series),
    MATRIX.map(nameOf),
  );
  assert.equal(
    all.flatMap(({ kernelArguments = [] }) => kernelArguments),
    ['ipv6.disable=1', 'lockdown=confidentiality lsm=lockdown,capability,bpf'],
  );
});

test('kernels of a processor without QEMU are skipped', () => {
  assert.equal(
    visits({ filters: ['live/'] }, ['x64']).map(({ series }) => series),
    MATRIX.map(({ series }) => series),
  );
  assert.equal(visits({}, []), []);
});

test('named tests run on the named kernels only, without extra arguments', () => {
  assert.equal(visits({ series: ['6.12', '7.3'], filters: ['live/btf'] }, ['x64']), [
    { series: '6.12', filters: ['live/btf'] },
    { series: '7.3', filters: ['live/btf'] },
  ]);
});

const visited: readonly Visited[] = [
  {
    visit: { series: '6.1', filters: [] },
    release: '6.1.0-1-cloud-amd64',
    summary: { passed: 7, failed: 0, flaky: 0, skipped: 1 },
    seconds: 61.4,
    facts: { release: '6.1.0-1-cloud-amd64', rows: [['fentry', 'yes']] },
  },
  {
    visit: { series: '6.18', filters: [] },
    summary: { passed: 0, failed: 1, flaky: 0, skipped: 0 },
    seconds: 2,
  },
];

test('a kernel that could not be downloaded is a failure and has a row in docs/kernels.md', () => {
  assert.equal(totalOf(visited), { passed: 7, failed: 1, flaky: 0, skipped: 1 });
  const page = describeKernels(visited, new Date('2026-01-02T03:04:05Z'), 'core');
  assert.match(page, 'With `--core`: ');
  assert.match(page, '2026-01-02');
  assert.match(page, '|  | 6.1 |\n|---|---|\n| fentry | yes |\n');
  assert.match(page, '| 6.1.0-1-cloud-amd64 |  | 7 passed, 0 failed, 1 skipped | 61 |');
  assert.match(page, '| 6.18: could not be downloaded |  | 0 passed, 1 failed | 2 |');
});

test('an outcome names probes and kernels only if they differ', () => {
  const on = (series: string, results: Record<string, string>): Visited => ({
    visit: { series, filters: [] },
    summary: { passed: 1, failed: 0, flaky: 0, skipped: 0 },
    seconds: 1,
    facts: { release: series, rows: [], outcomes: [{ title: 'no listener', results }] },
  });
  const page = describeKernels(
    [
      on('5.10', { kprobe: 'refused', tp_btf: 'refused' }),
      on('6.1', { kprobe: 'refused', tp_btf: 'aborted' }),
      on('6.12', { kprobe: 'refused' }),
    ],
    new Date(0),
    'all',
  );
  assert.match(page, 'All tests of `test/live`');
  assert.match(page, '| connect | result |\n|---|---|\n| no listener | refused; aborted (`tp_btf`, 6.1) |\n');
});

test('a run without kernels has failed', () => {
  assert.is(totalOf([]).failed, 1);
});

test.run();
