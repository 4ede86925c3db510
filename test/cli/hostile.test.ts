/**
 * Hostile text on every path to a terminal: arguments, file names, file contents, and the names of processes.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { Btf } from '../../src/asm/btf.ts';
import { callSubprogram, exit, lddw, mov } from '../../src/asm/constructors.ts';
import { encodeAll } from '../../src/asm/encode.ts';
import { u32, u64 } from '../../src/asm/layout.ts';
import { listTool } from '../../src/asm/listing.ts';
import { hash } from '../../src/asm/map.ts';
import { positionAt } from '../../src/asm/position.ts';
import { r0, r1 } from '../../src/asm/registers.ts';
import { type Header, jsonLine } from '../../src/cli/json.ts';
import { table } from '../../src/cli/printer/columns.ts';
import { parseServices } from '../../src/cli/printer/services.ts';
import { type ConnectRecord, fieldsShown } from '../../src/cli/record.ts';
import { openRecording } from '../../src/cli/recording.ts';
import { NoProbeError } from '../../src/cli/trace/probes.ts';
import { loadedLines } from '../../src/cli/tsbpf/dump.ts';
import { KernelError, VerifierError } from '../../src/loader/errors.ts';
import type { Kernel } from '../../src/loader/kernel.ts';
import { nativeSyscalls } from '../../src/loader/koffi.ts';
import { summarize } from '../../src/loader/verifier/log.ts';
import { renderVerifierError } from '../../src/loader/verifier/report.ts';
import { BtfWriter } from '../asm/btf-writer.ts';
import { objectFile } from '../asm/fixtures/object-file.ts';
import { slowness, suite } from '../harness.ts';
import { assertSafe, ESCAPED, HOSTILE } from '../hostile.ts';

const test = suite('cli/hostile', { seconds: 120 });

const DIST = fileURLToPath(new URL('../../../dist/', import.meta.url));
/** A folder with a hostile name. */
const folder = join(mkdtempSync(join(tmpdir(), 'tsbpf-hostile-')), HOSTILE);
mkdirSync(folder);
test.after(() => rmSync(join(folder, '..'), { recursive: true, force: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const HEADER: Header = {
  ...{ tsbpf: 'tcpconnlat', format: 1, version: HOSTILE, host: HOSTILE, kernel: HOSTILE, way: HOSTILE },
  ...{ options: [HOSTILE], started: '2026-11-25T15:39:56.123000Z', fields: ['time'] },
};
/** At most 15 characters. */
const COMM = 'a\x1b[2J\n\x7f\x9b\u202e\u2028\u200b\xad';
const RECORD: ConnectRecord = {
  ...{ time_s: 0, time: '2026-11-25T15:39:56.123456Z', pid: 1201, comm: COMM, ip: 4, saddr: '10.0.0.7' },
  ...{ lport: 50322, daddr: '127.0.0.1', dport: 4, lat_ms: 1.25, host: HOSTILE, service: HOSTILE },
};

/** The record without the names that the schema refuses: only its COMM is hostile. */
const { host: _host, service: _service, ...REPLAYED } = RECORD;

function recording(name: string, ...lines: object[]): string {
  return file(name, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
}

const OBJECT = objectFile({
  code: [{ name: HOSTILE, bytes: encodeAll([lddw(r1, 0), callSubprogram(-1), mov(r0, 0), exit()]) }],
  symbols: [
    { name: HOSTILE, section: 0 },
    { name: Buffer.from('\x9b2J\xff', 'latin1'), section: 0, kind: 'object' },
  ],
  relocations: [{ section: 0, slot: 0, symbol: 1 }],
});

const PROGRAM = 'map m: hash, key 4 bytes, value 4 bytes, 1 entry\nr1 = map[m]\nr0 = 0\nexit\n';

interface Run {
  readonly what: string;
  readonly command: 'tsbpf' | 'tcpconnlat';
  readonly args: readonly string[];
  readonly input?: string;
  readonly status: number;
  /** The expected number of lines on stderr: no line is forged. */
  readonly lines: number;
}

const tsbpf = (what: string, args: readonly string[], status: number, lines = 1, input?: string): Run => ({
  ...{ what, command: 'tsbpf', args, status, lines },
  ...(input !== undefined && { input }),
});
const tcpconnlat = (what: string, args: readonly string[], status: number, lines = 1): Run => ({
  ...{ what, command: 'tcpconnlat', args, status, lines },
});

const RUNS: readonly Run[] = [
  // An error in the command line has one or two lines of usage.
  tsbpf('an option', [`--${HOSTILE}`], 2, 2),
  tsbpf('a short option', ['-\x1b'], 2, 2),
  tsbpf('a subcommand', [HOSTILE], 2, 2),
  tsbpf('a subcommand like another', ['as\x1bm'], 2, 3),
  tsbpf('an option of a subcommand', ['asm', `--${HOSTILE}`], 2, 2),
  tsbpf('a choice', ['asm', '-f', HOSTILE, '-'], 2, 2),
  tsbpf('an argument too many', ['asm', '-', HOSTILE], 2, 2),
  tsbpf('a text that is not there', ['asm', `none${HOSTILE}`], 1),
  tsbpf('an output that cannot be written', ['asm', '-', '-o', `/nowhere/${HOSTILE}`], 1, 1, 'exit\n'),
  tsbpf('an object that is not there', ['disasm', `none${HOSTILE}`], 1),
  tsbpf('a folder', ['asm', folder], 1),
  tsbpf(
    'an unknown section',
    [
      'disasm',
      '-s',
      HOSTILE,
      file('other.o', objectFile({ code: [{ name: 'xdp', bytes: encodeAll([exit()]) }] })),
    ],
    2,
  ),
  tsbpf('sections that are listed', ['disasm', '-s', 'xdp', file('evil.o', OBJECT)], 2),
  tsbpf('names in an object', ['disasm', file('evil.o', OBJECT)], 0, 0),
  tsbpf('names in an object, with opcodes', ['disasm', '-x', '-s', HOSTILE, file('evil.o', OBJECT)], 0, 0),
  tsbpf('a section by the name that is printed', ['disasm', '-s', ESCAPED, file('evil.o', OBJECT)], 0, 0),
  tsbpf('bytes that are none', ['disasm', file('bytes', Buffer.from('\x1b'))], 2),
  tsbpf('a text that is no program', ['asm', file('text', `${HOSTILE}\n`)], 2),
  tsbpf('a character', ['asm', '-'], 2, 1, '\x1b\n'),
  tsbpf('a character of C1', ['asm', '-'], 2, 1, 'r0 = \u009b2J\n'),
  tsbpf('maps to fill in, by the name of the file', ['asm', file(HOSTILE, PROGRAM)], 0, 1),
  tsbpf('a listing', ['asm', '-f', 'text', file('listing', PROGRAM)], 0, 1),
  tsbpf('a loaded program by its name', ['dump', HOSTILE], 1),
  tsbpf('a loaded program by where it is pinned', ['dump', `/sys/fs/bpf/${HOSTILE}`], 1),
  // Here the usage is repeated too.
  tcpconnlat('an option', [`--${HOSTILE}`], 2, 3),
  tcpconnlat('a choice', ['--probe', HOSTILE], 2, 3),
  tcpconnlat('a port', ['--port', HOSTILE], 2, 3),
  tcpconnlat('a network', ['--to', HOSTILE], 2, 3),
  tcpconnlat('a latency', [HOSTILE], 2, 3),
  tcpconnlat('types that are not there', ['--dry-run', '--btf', HOSTILE], 2),
  tcpconnlat('types that are none', ['--dry-run', '--btf', file('types', HOSTILE)], 2),
  tcpconnlat('a cgroup that is not there', ['--dry-run', '--probe', 'kprobe', '--cgroup', HOSTILE], 2),
  tcpconnlat('a namespace that is not there', ['--dry-run', '--probe', 'kprobe', '--netns', HOSTILE], 2),
  tcpconnlat('a recording that cannot be written', ['--record', `/nowhere/${HOSTILE}`], 1),
  tcpconnlat('a recording that is not there', ['--replay', HOSTILE], 2),
  tcpconnlat('a recording of another format', ['--replay', recording('format', { ...HEADER, format: 2 })], 2),
  tcpconnlat('a recording that is none', ['--replay', recording('none', { ...HEADER, format: HOSTILE })], 2),
  tcpconnlat(
    'an invalid field',
    ['-q', '--replay', recording('field', HEADER, { ...RECORD, [HOSTILE]: 1 })],
    2,
  ),
  tcpconnlat(
    'an invalid address',
    ['-q', '--replay', recording('address', HEADER, { ...RECORD, daddr: HOSTILE })],
    2,
  ),
  tcpconnlat(
    'names in columns',
    ['-q', '--replay', recording('names', HEADER, REPLAYED), '--resolve', '-tL'],
    0,
    0,
  ),
  tcpconnlat(
    'names in JSON',
    ['-q', '--replay', recording('names', HEADER, REPLAYED), '--resolve', '--json'],
    0,
    0,
  ),
  tcpconnlat(
    'a recording without a field',
    ['-q', '--replay', recording('lacks', HEADER, REPLAYED), '--who'],
    0,
    1,
  ),
];

for (const { what, command, args, input = '', status, lines } of RUNS)
  test(`${command}: ${what}`, () => {
    const run = spawnSync(process.execPath, [join(DIST, `${command}.cjs`), ...args], {
      cwd: folder,
      input,
      timeout: 20_000 * slowness,
    });
    assertSafe(run.stdout, 'stdout');
    assertSafe(run.stderr, 'stderr');
    const stderr = run.stderr.toString();
    assert.is(run.status, status, stderr);
    assert.is(stderr.split('\n').length - 1, lines, stderr);
    for (const line of [...run.stdout.toString().split('\n'), ...stderr.split('\n')])
      assert.not.match(line, /^; forged/);
  });

test('names in an object file are one line each, and comments if they are not valid labels', () => {
  const { stdout } = spawnSync(
    process.execPath,
    [join(DIST, 'tsbpf.cjs'), 'disasm', file('evil.o', OBJECT)],
    {
      encoding: 'utf8',
    },
  );
  assert.is(
    stdout,
    `; section ${ESCAPED}\n; ${ESCAPED}:\n   0: (18) r1 = 0x0 <\ufffd2J\ufffd>\n   2: (85) call pc-1\n   3: (b7) r0 = 0\n   4: (95) exit\n`,
  );
});

test('asm does not read a name as an instruction', () => {
  const evil = objectFile({
    code: [{ name: 'xdp', bytes: encodeAll([mov(r0, 0), exit()]) }],
    symbols: ['r0 = 7 ; x', 'exit //', 'label', '> r0 = 7'].map((name) => ({ name, section: 0 })),
  });
  const run = (args: string[], input: string | Uint8Array) =>
    spawnSync(process.execPath, [join(DIST, 'tsbpf.cjs'), ...args], { input, encoding: 'utf8' }).stdout;
  assert.is(run(['asm', '-'], run(['disasm', '-'], evil)), 'b700000000000000\n9500000000000000\n');
});

test('columns with names from every source', () => {
  const shown = table({ timestamp: true, lport: true, wall: true, who: true, resolve: true, outcome: true });
  const line = shown.line({
    ...RECORD,
    ...{
      container: HOSTILE,
      pod: HOSTILE,
      unit: HOSTILE,
      exe: HOSTILE,
      parent: HOSTILE,
      result: HOSTILE,
      time: HOSTILE,
      saddr: HOSTILE,
      daddr: HOSTILE,
    },
  });
  assertSafe(line + shown.header(), 'columns');
  assert.is(line.indexOf('\n'), line.length - 1);
});

test('JSON lines contain the original names', () => {
  const caller = { exe: HOSTILE, parent: HOSTILE, cmdline: HOSTILE };
  const line = jsonLine({ ...RECORD, ...caller }, fieldsShown({ resolve: true, who: true }));
  assertSafe(line, 'JSON');
  assert.is(line.indexOf('\n'), line.length - 1);
  assert.is(JSON.parse(line).comm, COMM);
  assert.is(JSON.parse(line).host, HOSTILE);
  assert.is(JSON.parse(line).cmdline, HOSTILE);
});

test('recordings contain the original names', async () => {
  const path = join(folder, 'recording');
  const written = openRecording(
    path,
    { who: false, outcome: undefined },
    { version: HOSTILE, args: ['--comm', COMM] },
    { syscalls: nativeSyscalls(), warn() {}, onFailure() {} },
  );
  written.begin({ host: HOSTILE, kernel: HOSTILE, way: HOSTILE, started: '2026-11-25T15:39:56.123000Z' });
  written.add(RECORD);
  await written.end();
  const bytes = readFileSync(path);
  assertSafe(bytes, 'recording');
  const [header, record] = bytes
    .toString()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.equal(header.options, ['--comm', COMM]);
  assert.is(header.host, HOSTILE);
  assert.is(record.comm, COMM);
});

test('a service name is one word', () => {
  const names = parseServices(`${HOSTILE.replaceAll(/\s/g, '')} 4/tcp\n`);
  assertSafe(
    table({ timestamp: false, lport: false, resolve: true }).line({ ...RECORD, service: names.get(4) }),
    'columns',
  );
});

test('a listing with source lines and file names', () => {
  const instructions = [{ ...mov(r0, 0), position: positionAt(`/${HOSTILE}`, 1, 1) }, exit()];
  const text = listTool(
    {
      name: 'tool',
      programs: [{ name: 'program', attachment: { kind: 'kprobe', symbol: 'tcp_v4_connect' }, instructions }],
      maps: [hash('m', { key: u32, value: u64, maxEntries: 1 })],
    },
    (position) =>
      position && { ...position.location, file: `/${HOSTILE}`, line: 1, column: 1, text: `\t${HOSTILE}` },
  );
  assertSafe(text, 'listing');
  assert.ok(text.includes(`; /${ESCAPED}:1: ${ESCAPED}\n`), text);
  assert.not.match(text, /^; forged/m);
});

test('a verifier error with the end of the log and source lines', () => {
  const log = `0: (b7) r1 = 0\n1: (95) exit\nR0 ${HOSTILE.replaceAll('\n', '')}\nprocessed 2 insns\n`;
  const assembled = assemble([mov(r1, 0), { ...exit(), position: positionAt('/a', 1, 1) }]);
  const find = () => ({ file: `/${HOSTILE}`, line: 1, column: 1, text: HOSTILE });
  const text = renderVerifierError(new VerifierError(HOSTILE, 13, log, summarize(log), assembled, find));
  assertSafe(text, 'report');
  assert.not.match(text, /^; forged/m);
});

test('the probe types that were tried, one line each', () => {
  const error = new KernelError({ syscall: 'bpf(BPF_PROG_LOAD)', errno: 1, tried: HOSTILE });
  const { message } = new NoProbeError({ release: HOSTILE } as Kernel, [{ probe: 'kprobe', error }]);
  assertSafe(message, 'message');
  assert.is(message.split('\n').length, 2);
});

test('a loaded program with names of maps, functions and types, and source lines', () => {
  const writer = new BtfWriter();
  const int = writer.int(HOSTILE, 4, 1);
  const id = writer.func(HOSTILE, writer.prototype(int, { [HOSTILE]: writer.pointer(int) }));
  const types = writer.blob();
  const lines = loadedLines(
    {
      ...{ id: 1, name: HOSTILE, bytes: encodeAll([callSubprogram(0), exit()]), functions: [1n] },
      maps: new Map([[1, HOSTILE]]),
      btf: Btf.parse(types),
      functionInfo: [{ slot: 0, type: id }],
      lines: [{ slot: 0, file: HOSTILE, line: 1, column: 1, text: `int\tx; ${HOSTILE}` }],
    },
    { base: 1n, functions: [1n], nameAt: () => HOSTILE },
    false,
  );
  const text = [...lines].join('');
  assertSafe(text, 'dump');
  assert.equal(text.split('\n').slice(0, 3), [
    `${ESCAPED} ${ESCAPED}(${ESCAPED} * ${ESCAPED}):`,
    `; int\tx; ${ESCAPED} [file:${ESCAPED} line_num:1 line_col:1]`,
    `   0: (85) call pc+0#${ESCAPED}`,
  ]);
});

test.run();
