/** The command tsbpf as a process: text to bytes and back, and its errors. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { OBJECT, OBJECT_TEXT } from '../asm/fixtures/object.ts';
import { suite } from '../harness.ts';

const test = suite('cli/tsbpf', { seconds: 30 });

const COMMAND = fileURLToPath(new URL('../../../dist/tsbpf.cjs', import.meta.url));

const folder = mkdtempSync(join(tmpdir(), 'tsbpf-command-'));
test.after(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

function run(
  args: readonly string[],
  input: string | Uint8Array = '',
): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [COMMAND, ...args], {
    input,
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

const TEXT = `; counts down
  r0 = 3
again:
  r0 += -1
  if r0 != 0x0 goto again
  exit
`;
const HEX = 'b700000003000000\n07000000ffffffff\n5500feff00000000\n9500000000000000\n';
const DUMP = '   0: (b7) r0 = 3\n   1: (07) r0 += -1\n   2: (55) if r0 != 0x0 goto pc-2\n   3: (95) exit\n';

test('asm prints one instruction per line, and disasm reads it', () => {
  const made = run(['asm', file('down.bpf', TEXT)]);
  assert.equal(made, { status: 0, stdout: HEX, stderr: '' });
  assert.equal(run(['disasm', '-'], made.stdout), { status: 0, stdout: DUMP, stderr: '' });
});

test('asm -o writes bytes, and disasm reads them', () => {
  const output = join(folder, 'down.bin');
  assert.equal(run(['asm', file('down.bpf', TEXT), '-o', output]), { status: 0, stdout: '', stderr: '' });
  assert.is(readFileSync(output).toString('hex'), HEX.replaceAll('\n', ''));
  assert.is(run(['disasm', output]).stdout, DUMP);
  assert.is(run(['asm', '-f', 'raw', '-'], TEXT).stdout.length > 0, true);
});

test('asm reads the output of disasm', () => {
  assert.is(run(['asm', '-'], run(['disasm', '-'], HEX).stdout).stdout, HEX);
});

test('hexadecimal may contain blanks, commas and 0x', () => {
  assert.is(run(['disasm', '-'], '0x95, 0x00, 0x00, 0x00,\n0x00 00 0000').stdout, '   0: (95) exit\n');
});

test('disasm -x prints the bytes below each instruction', () => {
  assert.is(
    run(['disasm', '-x', '-'], '9500000000000000').stdout,
    '   0: (95) exit\n       95 00 00 00 00 00 00 00\n',
  );
});

test('disasm prints the sections of an object file with functions and relocations', () => {
  const path = file('count.o', OBJECT);
  assert.equal(run(['disasm', path]), { status: 0, stdout: OBJECT_TEXT, stderr: '' });
  assert.is(
    run(['disasm', '-s', 'socket', path]).stdout,
    '; section socket\ntwo:\n   0: (b4) w0 = 2\n   1: (95) exit\n',
  );
});

test('asm reports the maps that a loader has to fill in', () => {
  const text = 'map counts: hash, key 4 bytes, value 8 bytes, 16 entries\nr1 = map[counts]\nr0 = 0\nexit\n';
  const { status, stdout, stderr } = run(['asm', '-'], text);
  assert.is(status, 0);
  assert.is(stdout.split('\n')[0], '18110000000000000000000000000000');
  assert.is(stderr, 'tsbpf: -: the descriptors of maps (counts) are zero: the loader has to fill them in\n');
});

const TABLE = `map shard: hash, key 4 bytes, value 8 bytes, 64 entries
map shards: arrayOfMaps, key 4 bytes, value 4 bytes, 4 entries, inner map shard
map ways: instructionArray, key 4 bytes, value 16 bytes, 2 entries, labels small, large
  r6 = *(u64 *)(r1 +0)
  r1 = map[shards]
  r0 = 0
  if r6 > 0x1 goto out
  r6 <<= 3
  r2 = map[ways][0]+0
  r2 += r6
  r2 = *(u64 *)(r2 +0)
  gotox r2
small:
  r0 = 1
  exit
large:
  r0 = 0x2
out:
  exit
`;

test('asm reports the slots for the entries of a jump table', () => {
  const { status, stderr } = run(['asm', '-'], TABLE);
  assert.is(status, 0);
  assert.is(
    stderr,
    'tsbpf: -: the descriptors of maps (shards, ways) are zero: the loader has to fill them in\n' +
      'tsbpf: -: the loader has to set the entries of ways to the slots 11, 13\n',
  );
});

test('asm -f text prints maps, slots and labels, and assembles to the same program', () => {
  const { status, stdout } = run(['asm', '-f', 'text', '-'], TABLE);
  assert.is(status, 0);
  assert.equal(stdout.match(/^map .*$/gm), TABLE.match(/^map .*$/gm));
  assert.match(stdout, / {2}4: 25 06 0a 00 01 00 00 00 {2}\(25\) if r6 > 0x1 goto pc\+10 <out>\n/);
  assert.equal(stdout.match(/^\w+:$/gm), ['small:', 'large:', 'out:']);
  assert.is(run(['asm', '-f', 'text', '-'], stdout).stdout, stdout);
  const hex = run(['asm', '-'], TABLE);
  assert.equal(run(['asm', '-'], stdout), hex);
  assert.is(run(['asm', '-'], run(['disasm', '-'], hex.stdout).stdout).stdout, hex.stdout);
});

const INVALID: readonly [what: string, args: readonly string[], input: string, message: RegExp][] = [
  [
    'a misspelt instruction',
    ['asm', '-'],
    'r0 = 0\nexti\n',
    /^tsbpf: \/dev\/stdin:2:1: expected an instruction, found 'exti'\n$/,
  ],
  [
    'an operand that does not fit',
    ['asm', '-'],
    '  r0 <<= 64\n',
    /^tsbpf: \/dev\/stdin:1:10: lsh: shift 64 is not between 0 and 63\n$/,
  ],
  [
    'an unknown label',
    ['asm', '-'],
    'r0 = 0\n  goto out\nexit\n',
    /^tsbpf: \/dev\/stdin:2:3: undefined label 'out'\n$/,
  ],
  [
    'a label too far',
    ['asm', '-'],
    `goto out\n${'r0 = 0\n'.repeat(40_000)}out:\nexit\n`,
    /^tsbpf: \/dev\/stdin:1:1: ja: label 'out' is 40000 slots away, which does not fit in 16 signed bits; use gotol \(Linux 6\.6\)\n$/,
  ],
  [
    'a program that does not end with exit',
    ['asm', '-'],
    'r0 = 0\n',
    /^tsbpf: \/dev\/stdin:1:1: the program ends with mov; its last instruction must be an exit or a jump\n$/,
  ],
  [
    'a jump table with an unknown label',
    ['asm', '-'],
    TABLE.replace('small:', 'smaller:'),
    /^tsbpf: \/dev\/stdin:3:76: undefined label 'small'; nearest: smaller\n$/,
  ],
  ['an empty program', ['asm', '-'], '', /^tsbpf: \/dev\/stdin: a program needs at least one instruction\n$/],
  [
    'an unknown opcode',
    ['disasm', '-'],
    'ff00000000000000',
    /^tsbpf: \/dev\/stdin: slot 0: unknown opcode ff in ff 00 00 00 00 00 00 00\n$/,
  ],
  [
    'half an instruction',
    ['disasm', '-'],
    '95000000',
    /^tsbpf: \/dev\/stdin: 4 bytes are not a whole number of 8-byte slots\n$/,
  ],
  [
    'hexadecimal for asm',
    ['asm', '-'],
    HEX,
    /^tsbpf: \/dev\/stdin:1:1: this file contains hexadecimal, not text; use tsbpf disasm\n$/,
  ],
  [
    'bytes for asm',
    ['asm', '-'],
    '\u0095\0\0\0\0\0\0\0',
    /^tsbpf: \/dev\/stdin:1:1: this file contains bytes, not text; use tsbpf disasm\n$/,
  ],
  [
    'text for disasm',
    ['disasm', '-'],
    TEXT,
    /^tsbpf: \/dev\/stdin: this is text, neither bytes nor hexadecimal; use tsbpf asm\n$/,
  ],
  ['an empty file of bytes', ['disasm', '-'], '', /^tsbpf: \/dev\/stdin: the file is empty\n$/],
  [
    '--section for a file without sections',
    ['disasm', '-s', 'xdp', '-'],
    HEX,
    /^tsbpf: \/dev\/stdin: --section needs an object file, and this file is not one\n$/,
  ],
  [
    'an unknown command',
    ['asmm'],
    '',
    /^tsbpf: error: unknown command 'asmm'\n(\(Did you mean asm\?\)\n)?Try 'tsbpf --help'\.\n$/,
  ],
  ['no file', ['asm'], '', /^tsbpf: error: missing required argument 'file'\nTry 'tsbpf --help'\.\n$/],
  ['two files', ['asm', 'a', 'b'], '', /^tsbpf: error: too many arguments for 'asm'\./],
  ['a bad id', ['dump', '0'], '', /A program id is a number from 1 to 4294967295\./],
];

for (const [what, args, input, message] of INVALID)
  test(`${what} causes a one-line error and status 2`, () => {
    const { status, stdout, stderr } = run(args, input);
    assert.match(stderr, message);
    assert.is(stdout, '');
    assert.is(status, 2);
  });

test('a file that cannot be read or written causes status 1', () => {
  const missing = run(['asm', '/nowhere/a.bpf']);
  assert.is(missing.stderr, 'tsbpf: cannot read /nowhere/a.bpf: ENOENT (no such file or directory)\n');
  assert.is(missing.status, 1);
  const unwritten = run(['asm', '-', '-o', '/nowhere/a.bin'], TEXT);
  assert.is(unwritten.stderr, 'tsbpf: cannot write /nowhere/a.bin: ENOENT (no such file or directory)\n');
  assert.is(unwritten.status, 1);
});

test('output that cannot be written causes an error and status 1', () => {
  const { status, stderr } = spawnSync('sh', ['-c', `'${process.execPath}' '${COMMAND}' asm - >/dev/full`], {
    input: TEXT,
    encoding: 'utf8',
  });
  assert.match(stderr, /^tsbpf: cannot write the output: ENOSPC/);
  assert.is(status, 1);
});

test('help and version', () => {
  const manifest = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
  assert.equal(run(['--version']), { status: 0, stdout: `${manifest.version}\n`, stderr: '' });
  for (const command of ['asm', 'disasm', 'dump']) {
    assert.match(run(['--help']).stdout, new RegExp(`^  ${command} `, 'm'));
    assert.is(run([command, '--help']).status, 0);
  }
  assert.is(run([]).status, 2);
});

test.run();
