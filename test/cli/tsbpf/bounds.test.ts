/**
 * The command tsbpf with inputs that have no end, or are larger than any program: what it reads, and how much
 * memory that takes.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { exit, mov } from '../../../src/asm/constructors.ts';
import { encodeAll } from '../../../src/asm/encode.ts';
import { r0 } from '../../../src/asm/registers.ts';
import { objectFile } from '../../asm/fixtures/object-file.ts';
import { sameOnEveryKernel, slowness, suite } from '../../harness.ts';

const test = suite('cli/tsbpf/bounds', { seconds: 120 });

const COMMAND = fileURLToPath(new URL('../../../../dist/tsbpf.cjs', import.meta.url));

const folder = mkdtempSync(join(tmpdir(), 'tsbpf-bounds-'));
test.after(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** Preloaded into the command: prints its peak memory in KiB as the last line of stderr. */
const MEASURE = file(
  'measure.cjs',
  "process.on('exit', () => require('node:fs').writeSync(2, process.resourceUsage().maxRSS + '\\n'));",
);

interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly mebibytes: number;
}

/** Runs a shell command in which `tsbpf` is the command under test. */
function run(line: string): Ran {
  const script = `tsbpf() { '${process.execPath}' --require '${MEASURE}' '${COMMAND}' "$@"; }\n${line}`;
  const { status, stdout, stderr } = spawnSync('sh', ['-c', script], {
    cwd: folder,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    timeout: 60_000 * slowness,
  });
  const [, text = '', kibibytes = ''] = /^([\s\S]*?)(\d+)\n$/.exec(stderr) ?? [];
  return { status, stdout, stderr: text, mebibytes: Number(kibibytes) / 1024 };
}

/** The memory of Node and the command for a minimal input. */
const idle = run('echo exit | tsbpf asm - >/dev/null').mebibytes;

const sparse = file('sparse', '');
truncateSync(sparse, 65 << 20);

for (const [what, line, message] of [
  ['an endless device', 'tsbpf asm /dev/zero', '/dev/zero is larger than 64 MiB'],
  ['an endless device, for disasm', 'tsbpf disasm /dev/zero', '/dev/zero is larger than 64 MiB'],
  ['an endless pipe', 'yes | tsbpf asm -', 'standard input is larger than 64 MiB'],
  ['a pipe of zeros', 'tsbpf disasm - </dev/zero', 'standard input is larger than 64 MiB'],
  ['a large file', 'tsbpf disasm sparse', 'sparse is larger than 64 MiB'],
] as const)
  test.skipIf(sameOnEveryKernel, `${what} is read only up to the limit`, () => {
    const { status, stdout, stderr, mebibytes } = run(line);
    assert.equal(
      { status, stdout, stderr },
      { status: 2, stdout: '', stderr: `tsbpf: ${message}, the limit of this command\n` },
    );
    assert.ok(mebibytes < idle + 3 * 64, `${mebibytes} MiB, and ${idle} when idle`);
  });

const LONG = 'n'.repeat(1_000_000);
const PROGRAM = encodeAll([...Array.from({ length: 100_000 }, () => mov(r0, 0)), exit()]);

test.skipIf(sameOnEveryKernel, 'overlapping sections take no additional memory', () => {
  const code = Array.from({ length: 20_000 }, (_, index) => ({
    ...{ name: 'xdp', bytes: PROGRAM, overlaps: index > 0 },
  }));
  file('overlap.o', objectFile({ code }));
  const { status, stdout, stderr, mebibytes } = run('tsbpf disasm overlap.o');
  assert.is(status, 2);
  assert.is(stdout, '');
  assert.match(
    stderr,
    /^tsbpf: \S+overlap\.o: its sections overlap: they total \d+ bytes, the file has \d+\n$/,
  );
  assert.ok(mebibytes < idle + 64, `${mebibytes} MiB, and ${idle} when idle`);
});

for (const [what, content] of [
  ['bytes', Buffer.concat(Array.from({ length: 20 }, () => PROGRAM))],
  ['hexadecimal', Array.from({ length: 10 }, () => Buffer.from(PROGRAM).toString('hex')).join('\n')],
  [
    'an object file',
    objectFile({ code: [{ name: 'xdp', bytes: Buffer.concat(Array.from({ length: 20 }, () => PROGRAM)) }] }),
  ],
  [
    'an object file of symbols that share a long name',
    objectFile({
      code: [{ name: 'xdp', bytes: PROGRAM }],
      symbols: Array.from({ length: 100_000 }, () => ({ name: LONG, section: 0 })),
    }),
  ],
] as const)
  test.skipIf(sameOnEveryKernel, `disasm takes memory in proportion to its file: ${what}`, () => {
    file('large', content);
    const { status, stderr, mebibytes } = run('tsbpf disasm large >/dev/null');
    assert.equal({ status, stderr }, { status: 0, stderr: '' });
    const size = content.length / (1 << 20);
    assert.ok(mebibytes < idle + 64 + 4 * size, `${mebibytes} MiB for ${size}, and ${idle} when idle`);
  });

test('nothing is printed if the last instruction of a file is not valid', () => {
  file('broken', Buffer.concat([PROGRAM, Buffer.from('ff00000000000000', 'hex')]));
  const { status, stdout, stderr } = run('tsbpf disasm broken');
  assert.is(status, 2);
  assert.is(stdout, '');
  assert.match(stderr, /^tsbpf: \S+broken: slot 100001: unknown opcode ff in ff 00 00 00 00 00 00 00\n$/);
});

test('when the reader exits, the command ends with status 0', () => {
  file('program', PROGRAM);
  const { stdout } = run('{ tsbpf disasm program; echo $? >status; } | head -n 1; cat status');
  assert.is(stdout, '   0: (b7) r0 = 0\n0\n');
});

const LINES = 200_000;

for (const [what, last, message] of [
  ['an unknown label', 'goto nowhere', "undefined label 'nowhere'"],
  [
    'a jump out of the program',
    'goto pc+70',
    `ja targets slot ${LINES + 71}, outside the program (${LINES + 2} slots)`,
  ],
  ['a label too far', 'goto start', "ja: label 'start' is -200001 slots away"],
  ['unreachable code', 'exit\n  exit', 'unreachable instruction exit'],
] as const)
  test(`an error after many instructions has a line and column: ${what}`, () => {
    file('late.bpf', `start:\n${'r0 = 0\n'.repeat(LINES)}  ${last}\nexit\n`);
    const { status, stderr } = run('tsbpf asm late.bpf');
    assert.is(status, 2);
    const line = LINES + 2 + (last.includes('\n') ? 1 : 0);
    assert.ok(stderr.startsWith(`tsbpf: ${folder}/late.bpf:${line}:3: ${message}`), stderr);
    assert.is(stderr.split('\n').length, 2);
  });

for (const name of ['100%.bpf', 'a%20b.bpf', 'a (1).bpf', 'a:1:2', '%E0%A4%A.bpf', 'a\nb.bpf', 'a\\b.bpf'])
  test(`errors of assembling have the line and column, in a file called ${JSON.stringify(name)}`, () => {
    file(name, 'r0 = 0\n  goto out\nexit\n');
    const { status, stderr } = run(`tsbpf asm '${name}'`);
    assert.is(status, 2);
    const shown = name.replace('\n', '\\n');
    assert.is(stderr, `tsbpf: ${folder}/${shown}:2:3: undefined label 'out'\n`);
  });

test('a message lists only the first of many maps', () => {
  const maps = Array.from({ length: 60 }, (_, i) => `map m${i}: hash, key 4 bytes, value 4 bytes, 1 entry\n`);
  const loads = maps.map((_, i) => `r1 = map[m${i}]\n`);
  file('maps.bpf', `${maps.join('')}${loads.join('')}r0 = 0\nexit\n`);
  const { status, stderr } = run('tsbpf asm maps.bpf >/dev/null');
  assert.is(status, 0);
  assert.match(
    stderr,
    /^tsbpf: maps\.bpf: the descriptors of maps \(m0, m1, .*, m19, … 60 in total\) are zero: /,
  );
});

test.run();
