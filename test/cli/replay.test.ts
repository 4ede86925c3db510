/** The command with `--replay`, which needs neither root nor BPF. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { type Header, jsonLine } from '../../src/cli/json.ts';
import { table } from '../../src/cli/printer/columns.ts';
import { type ConnectRecord, FIELDS, fieldsOf, fieldsShown } from '../../src/cli/record.ts';
import { nativeSyscalls } from '../../src/loader/koffi.ts';
import { slowness, suite } from '../harness.ts';

const test = suite('cli/replay', { seconds: 30 });

const COMMAND = fileURLToPath(new URL('../../../dist/tcpconnlat.cjs', import.meta.url));

let folder = '';
test.before(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsbpf-replay-'));
});
test.after(() => rmSync(folder, { recursive: true }));

const HEADER: Header = {
  ...{ tsbpf: 'tcpconnlat', format: 1, version: '0.1.0', host: 'vm', kernel: '6.12.0', way: 'kprobe' },
  ...{
    options: ['--who'],
    started: '2026-11-25T15:39:56.123000Z',
    fields: ['time', ...fieldsOf('who')],
  },
};
const FIRST: ConnectRecord = {
  ...{ time_s: 0, time: '2026-11-25T15:39:56.123456Z', pid: 1201, comm: 'wget', uid: 33 },
  ...{ container: 'a'.repeat(64), pod: '8dbd9b2e-1f4c-4ab2-b9a1-0c6a5f7e9d21', ip: 4 },
  ...{ saddr: '10.0.0.7', lport: 50322, daddr: '192.0.2.1', dport: 443, lat_ms: 1.25 },
};
const SECOND: ConnectRecord = {
  ...{ time_s: 0.1, time: '2026-11-25T15:39:56.223456Z', pid: 7, comm: 'curl', uid: 0 },
  ...{ ip: 6, saddr: '::1', lport: 1, daddr: '::1', dport: 80, lat_ms: 12.5 },
};
const THIRD: ConnectRecord = { ...FIRST, time_s: 0.3, lat_ms: 30.000001 };
const RECORDS = [FIRST, SECOND, THIRD];

/** A file with these lines; objects become JSON. */
function file(name: string, ...lines: (string | object)[]): string {
  const path = join(folder, name);
  writeFileSync(
    path,
    lines.map((line) => (typeof line === 'string' ? line : `${JSON.stringify(line)}\n`)).join(''),
  );
  return path;
}

/** Runs the command until it exits. */
function replay(path: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [COMMAND, '--replay', path, '-q', ...args], {
    encoding: 'utf8',
    timeout: 20_000 * slowness,
  });
  return { status, stdout, stderr };
}

const recording = (): string => file('good', HEADER, ...RECORDS);

for (const [args, shown] of [
  [[], {}],
  [['-t'], { timestamp: true }],
  [['-tL'], { timestamp: true, lport: true }],
  [['--wall', '--who'], { wall: true, who: true }],
] as const)
  test(`a replay shows the same lines as the live run: ${args.join(' ')}`, () => {
    const columns = table({ timestamp: false, lport: false, ...shown });
    const expected = [columns.header(), ...RECORDS.map((record) => columns.line(record))].join('');
    assert.equal(replay(recording(), ...args), { status: 0, stdout: expected, stderr: '' });
  });

test('--requested shows and selects by the address that was asked for, if it was recorded', () => {
  const asked = { ...SECOND, requested_addr: 'fd00::10', requested_port: 53 };
  const fields = [...HEADER.fields, 'requested_addr', 'requested_port'];
  const path = file('requested', { ...HEADER, fields }, FIRST, asked);
  const columns = table({ timestamp: false, lport: false, requested: true });
  const [all, line] = [columns.header(), columns.line(asked)];
  assert.equal(replay(path, '--requested', '--to', 'fd00::10'), {
    status: 0,
    stdout: all + line,
    stderr: '',
  });
  assert.is(replay(path, '--to', 'fd00::10').stdout, table({ timestamp: false, lport: false }).header());
  assert.is(
    replay(path, '--json', '--requested', '--port', '53').stdout,
    jsonLine({ ...asked, time_s: 0 }, fieldsShown({ requested: true })),
  );
  const without = replay(recording(), '--requested');
  assert.match(
    without.stderr,
    /was recorded without --requested: it has no requested_addr, requested_port\n/,
  );
  const bad = file('bad-requested', { ...HEADER, fields }, { ...asked, requested_addr: '10.96.0.10' });
  assert.match(replay(bad).stderr, /requested_addr is "10\.96\.0\.10", expected IPv6 address\n/);
});

test('--json prints the fields that the options ask for', () => {
  for (const [args, shown] of [
    [[], {}],
    [['--wall', '--who'], { wall: true, who: true }],
  ] as const) {
    const { stdout } = replay(recording(), '--json', ...args);
    assert.is(stdout, RECORDS.map((record) => jsonLine(record, fieldsShown(shown))).join(''));
  }
});

for (const [args, expected] of [
  [['-p', '7'], [SECOND]],
  [['-4'], [FIRST, THIRD]],
  [['-6'], [SECOND]],
  [['--uid', '33', '--comm', 'wget'], RECORDS.filter(({ uid, comm }) => uid === 33 && comm === 'wget')],
  [['--not-port', String(FIRST.dport)], RECORDS.filter(({ dport }) => dport !== FIRST.dport)],
  [['30.000001'], [THIRD]],
  [['30.000002'], []],
  [
    ['-4', '1.25'],
    [FIRST, THIRD],
  ],
] as const)
  test(`filters apply to recordings: ${args.join(' ')}`, () => {
    const { stdout } = replay(recording(), '--json', '-t', ...args);
    const shown = stdout
      .split('\n')
      .filter(Boolean)
      .map((line): ConnectRecord => JSON.parse(line));
    assert.equal(
      shown.map(({ pid, lat_ms }) => [pid, lat_ms]),
      expected.map(({ pid, lat_ms }) => [pid, lat_ms]),
    );
    const [first = FIRST] = expected;
    assert.equal(
      shown.map(({ time_s }) => time_s),
      expected.map(({ time_s }) => Math.round((time_s - first.time_s) * 1e9) / 1e9),
      'times are relative to the first line shown',
    );
  });

const ENDS = ['established', 'refused', 'rejected', 'timed-out', 'EACCES'];
for (const [args, expected] of [
  [[], ['established', 'refused', 'rejected']],
  [['--outcome'], ENDS],
  [['--failed'], ENDS.slice(1)],
] as const)
  test(`results are selected by the options: ${args.join(' ') || 'answered connects'}`, () => {
    const ends = ENDS.map((result, i): ConnectRecord => ({ ...SECOND, lport: i, result, retransmits: 0 }));
    const path = file('ends', { ...HEADER, fields: ['time', 'retransmits', 'result', 'errno'] }, ...ends);
    const { status, stdout, stderr } = replay(path, '--json', ...args);
    assert.equal([status, stderr], [0, '']);
    const shown = stdout
      .trimEnd()
      .split('\n')
      .map((line): ConnectRecord => JSON.parse(line));
    assert.equal(
      shown.map(({ lport = -1 }) => ENDS[lport]),
      expected,
    );
    assert.ok(shown.every(({ result }) => (result === undefined) === (args.length === 0)));
  });

const RESULT_HEADER: Header = { ...HEADER, fields: ['time', 'retransmits', 'result', 'errno'] };
const { lport: _, ...UNBOUND } = SECOND;
const { ip: __, saddr: ___, daddr: ____, dport: _____, ...UNKNOWN } = UNBOUND;
/** A recording of --outcome, and of --pending: a connect is pending, ends, and another one is in flight. */
const WAITS: ConnectRecord[] = [
  { ...UNBOUND, lat_ms: 5000.1, result: 'pending' },
  { ...SECOND, lat_ms: 130_000, result: 'timed-out', errno: 'ETIMEDOUT', retransmits: 6 },
  { ...SECOND, lat_ms: 3, result: 'established', retransmits: 0 },
  { ...UNKNOWN, lat_ms: 200, result: 'pending' },
];

for (const [args, expected, summary] of [
  [
    [],
    ['established'],
    ['1 connect shown', '  1 failed, not shown (--failed shows them)', '  2 not selected'],
  ],
  [
    ['--pending'],
    ['pending', 'established', 'pending'],
    ['1 connect shown', '  1 failed, not shown (--failed shows them)', '  2 shown as pending'],
  ],
  [
    ['--outcome'],
    ['pending', 'timed-out', 'established', 'pending'],
    ['2 connects shown', '  2 ended: 1 timed-out, 1 established', '  2 shown as pending'],
  ],
  [['--failed'], ['timed-out'], ['1 failed connect shown', '  1 ended: 1 timed-out', '  3 not selected']],
  [
    ['--failed', '--pending', '1000'],
    ['pending', 'timed-out'],
    ['1 failed connect shown', '  1 ended: 1 timed-out', '  1 shown as pending', '  2 not selected'],
  ],
  [
    ['--outcome', '--port', '80', '-6', '-n', '1'],
    ['pending', 'timed-out'],
    ['1 connect shown', '  1 ended: 1 timed-out', '  1 shown as pending'],
  ],
  [['--outcome', '--resolve', '--port', '81'], [], ['0 connects shown', '  4 not selected']],
] as const)
  test(`connects in flight are selected by the options: ${args.join(' ') || 'none'}`, () => {
    const path = file('waits', RESULT_HEADER, ...WAITS);
    const { stdout, stderr } = spawnSync(process.execPath, [COMMAND, '--replay', path, ...args], {
      encoding: 'utf8',
    });
    const [header = '', ...lines] = stdout.trimEnd().split('\n');
    assert.is(header.includes('RESULT'), args.length > 0);
    if (header.includes('RESULT'))
      assert.equal(
        lines.map((line) => /\b(pending|timed-out|established)\b/.exec(line)?.[0]),
        expected,
      );
    assert.equal(stderr.trimEnd().split('\n'), [`tcpconnlat: ${summary[0]}`, ...summary.slice(1)]);
  });

test('fields that were not recorded cause a one-line warning, and the others are shown', () => {
  const { uid: _, container: __, pod: ___, ...plain } = FIRST;
  const path = file('plain', { ...HEADER, fields: ['time'] }, plain);
  const { status, stdout, stderr } = replay(path, '--who', '--wall');
  assert.is(status, 0);
  const missing = `tcpconnlat: ${path} was recorded without --who: it has no ${fieldsOf('who').join(', ')}\n`;
  assert.is(stderr, missing);
  assert.is(replay(path, '--uid', '33').stderr, missing, '--uid needs the recorded users');
  assert.match(stdout, /^TIME .*\n2026\S+ 1201 .* 1\.25 {6}- {6}- {12}- {20}-\n$/);
});

const [header, first] = [HEADER, FIRST].map((each) => `${JSON.stringify(each)}\n`) as [string, string];
const damages: readonly (readonly [string, readonly (string | object)[], string])[] = [
  ['an empty file', [], '1: it is empty'],
  ['a text', ['hello\n'], '1: it is not JSON'],
  ['an object of another kind', [{ a: 1 }], '1: this is not a recording of tcpconnlat'],
  ['a number', ['1\n'], '1: this is not a recording of tcpconnlat'],
  ['null', ['null\n'], '1: this is not a recording of tcpconnlat'],
  ['the lines of --json alone', [FIRST], '1: this is not a recording of tcpconnlat'],
  [
    'a later format',
    [{ ...HEADER, format: 2 }],
    '1: this recording has format 2, but this version supports only format 1; use version "0.1.0", which made it',
  ],
  ['an invalid format', [{ ...HEADER, format: 'x\u202e\u009b2J' }], '1: format is "x??2J", expected number'],
  ['a first line without a field', [{ ...HEADER, way: undefined }], '1: it has no way'],
  ['a first line that is cut off', [header.slice(0, 20)], '1: it is cut off'],
  ['bytes', ['\0\x01\x02'], '1: it is cut off'],
  ['a line that is too long', ['x'.repeat(70_000)], '1: it is longer than any line of a recording can be'],
  ['a line that is not JSON', [HEADER, FIRST, '{"time_s"\n', FIRST], '3: it is not JSON'],
  ['an empty line', [HEADER, FIRST, '\n', FIRST], '3: it is not JSON'],
  ['an invalid port', [HEADER, FIRST, { ...FIRST, dport: 65_536 }], '3: dport is 65536, more than 65535'],
  ['a missing field', [HEADER, FIRST, { ...FIRST, pid: undefined }], '3: it has no pid'],
  ['an unknown field', [HEADER, FIRST, { ...FIRST, x: 1 }], '3: it has an unknown field "x"'],
  [
    'an address of another family',
    [HEADER, FIRST, { ...FIRST, daddr: '::1' }],
    '3: daddr is "::1", expected IPv4 address',
  ],
  ['a second first line', [HEADER, FIRST, HEADER], '3: it has an unknown field "tsbpf"'],
  [
    'brackets 30,000 deep',
    [HEADER, FIRST, `${'['.repeat(30_000)}${']'.repeat(30_000)}\n`],
    `3: it is ${'['.repeat(39)}\u2026, expected object`,
  ],
  [
    'brackets 30,000 deep, in a field',
    [HEADER, FIRST, `{"time_s":${'['.repeat(30_000)}${']'.repeat(30_000)}}\n`],
    '3: it has no pid',
  ],
  [
    'a first line 30,000 deep',
    [header.replace('"kprobe"', `${'['.repeat(30_000)}${']'.repeat(30_000)}`)],
    `1: way is ${'['.repeat(39)}\u2026, expected string`,
  ],
  [
    'a first line with too many fields',
    [{ ...HEADER, fields: Array(10_000).fill('x') }],
    `1: fields has more than ${Object.keys(FIELDS).length} items`,
  ],
  [
    'a time beyond the range of clocks',
    [HEADER, FIRST, first.replace('"time_s":0', '"time_s":1e308')],
    '3: time_s is 1e+308, more than 10000000000',
  ],
  [
    'an infinite number',
    [HEADER, FIRST, first.replace('"time_s":0', '"time_s":1e999')],
    '3: time_s is Infinity, expected number',
  ],
  [
    'a latency beyond the range of clocks',
    [HEADER, FIRST, { ...FIRST, lat_ms: 1e300 }],
    '3: lat_ms is 1e+300, more than 10000000000000',
  ],
  [
    'an invalid PID',
    [HEADER, FIRST, { ...FIRST, pid: 2 ** 53 }],
    '3: pid is 9007199254740992, more than 4194304',
  ],
  [
    'an invalid date',
    [HEADER, FIRST, { ...FIRST, time: '2026-99-99T15:39:56.123456Z' }],
    '3: time is "2026-99-99T15:39:56.123456Z", expected time of day in UTC',
  ],
  [
    'a day that the month does not have',
    [{ ...HEADER, started: '2026-02-30T15:39:56.123456Z' }],
    '1: started is "2026-02-30T15:39:56.123456Z", expected time of day in UTC',
  ],
  [
    'an address with a zone of 50,000 characters',
    [HEADER, FIRST, { ...SECOND, daddr: `fe80::1%${'a'.repeat(50_000)}` }],
    `3: daddr is "fe80::1%${'a'.repeat(30)}\u2026, expected IP address`,
  ],
  [
    'an address with a zone',
    [HEADER, FIRST, { ...SECOND, saddr: 'fe80::1%eth0' }],
    '3: saddr is "fe80::1%eth0", expected IP address',
  ],
  [
    'a name of 60,000 characters',
    [HEADER, FIRST, { ...FIRST, host: 'a'.repeat(60_000) }],
    `3: host is "${'a'.repeat(38)}\u2026, expected name`,
  ],
  [
    'an unknown result',
    [HEADER, FIRST, { ...FIRST, result: 'lost' }],
    '3: result is "lost", expected result',
  ],
  [
    '__proto__',
    [HEADER, FIRST, first.replace('{', '{"__proto__":{"pid":1},')],
    '3: it has an unknown field "__proto__"',
  ],
  ['a last line that is cut off', [HEADER, FIRST, first.slice(0, 50)], '3: it is cut off'],
];
for (const [what, lines, fault] of damages)
  test(`${what}: after the lines before it, an error with the line number; status 2`, () => {
    const path = file('damaged', ...lines);
    const { status, stdout, stderr } = replay(path, '--json');
    assert.is(stderr, `tcpconnlat: ${path}:${fault}\n`);
    assert.is(status, 2);
    assert.is(stdout, fault.startsWith('3') ? jsonLine(FIRST, fieldsShown({})) : '');
  });

test('a complete last line needs no newline', () => {
  const { status, stdout } = replay(file('unended', header, first.trimEnd()), '--json');
  assert.equal([status, stdout], [0, jsonLine(FIRST, fieldsShown({}))]);
});

test('a line that is not UTF-8 is an error', () => {
  const path = file('latin1');
  writeFileSync(
    path,
    Buffer.concat([Buffer.from(header), Buffer.from(first.replace('wget', 'w\xe9t'), 'latin1')]),
  );
  assert.is(replay(path).stderr, `tcpconnlat: ${path}:2: it is not JSON\n`);
});

test('an endless device is read only up to the longest line', () => {
  const { status, stderr } = replay('/dev/zero');
  assert.equal(
    [status, stderr],
    [2, 'tcpconnlat: /dev/zero:1: it is longer than any line of a recording can be\n'],
  );
});

test('a terminal or device is an error, because reading it could block', () => {
  for (const path of ['/dev/kmsg', '/dev/ptmx']) {
    const { status, stderr } = replay(path);
    const what = 'it is a terminal or device; name a file or a named pipe, or - for standard input';
    assert.equal([status, stderr], [2, `tcpconnlat: ${path}: cannot read it: ${what}\n`]);
  }
});

test('a directory as standard input is a one-line error with status 2', () => {
  const fd = openSync(folder, 'r');
  const { status, stderr } = spawnSync(process.execPath, [COMMAND, '--replay', '-'], {
    stdio: [fd, 'pipe', 'pipe'],
    encoding: 'utf8',
  });
  closeSync(fd);
  assert.equal([status, stderr], [2, 'tcpconnlat: -: cannot read it: EISDIR: it is a directory\n']);
});

test('a growing recording is shown up to its last complete line, with status 0', () => {
  const { flock } = nativeSyscalls();
  const path = file('growing', header, first, first.slice(0, 50));
  const writer = openSync(path, 'r+');
  assert.is(flock(writer), 0);
  const shown = replay(path, '--json');
  const fromInput = spawnSync(process.execPath, [COMMAND, '--replay', '-', '--json', '--quiet'], {
    stdio: [openSync(path, 'r'), 'pipe', 'pipe'],
    encoding: 'utf8',
  });
  closeSync(writer);
  const note = (name: string) =>
    `tcpconnlat: ${name} is still being recorded: its last line is incomplete and not shown\n`;
  assert.equal(shown, { status: 0, stdout: jsonLine(FIRST, fieldsShown({})), stderr: note(path) });
  assert.equal([fromInput.status, fromInput.stderr], [0, note('-')]);
  assert.equal([replay(path).status, replay(path).stderr], [2, `tcpconnlat: ${path}:3: it is cut off\n`]);
});

test('an unreadable file is a one-line error with status 2', () => {
  for (const [path, error] of [
    [join(folder, 'none'), 'ENOENT'],
    [folder, 'EISDIR'],
  ] as const) {
    const { status, stderr } = replay(path);
    assert.is(status, 2);
    assert.match(stderr, new RegExp(`^tcpconnlat: ${path}: cannot read it: ${error}: .*\\n$`));
  }
});

/** The command with a pipe as standard input. */
function piped(...args: string[]) {
  const child = spawn(process.execPath, [COMMAND, '--replay', '-', '-q', ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  const ended = new Promise<number | null>((resolve) => {
    child.once('close', resolve);
  });
  return { child, output, ended };
}

test('lines from a pipe are shown as they arrive', async () => {
  const { child, output, ended } = piped('--json');
  child.stdin.write(header);
  for (const count of [1, 2, 3]) {
    child.stdin.write(first.slice(0, 30));
    await sleep(20);
    child.stdin.write(first.slice(30));
    while (output.stdout.split('\n').length - 1 < count) await sleep(5);
  }
  child.stdin.end(first.slice(0, 9));
  assert.is(await ended, 2);
  assert.is(output.stderr, 'tcpconnlat: -:5: it is cut off\n');
});

test('a signal ends a replay with status 0', async () => {
  const { child, output, ended } = piped();
  child.stdin.write(header);
  while (!output.stdout.includes('\n')) await sleep(5);
  child.kill('SIGINT');
  assert.is(await ended, 0);
  assert.is(output.stderr, '');
});

test('a signal ends a replay that waits for the writer of a named pipe, or for its data', async () => {
  const path = join(folder, 'fifo');
  execFileSync('mkfifo', [path]);
  for (const begun of [false, true]) {
    const child = spawn(process.execPath, [COMMAND, '--replay', path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let shown = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      shown += text;
    });
    // O_RDWR does not wait for a reader.
    const writer = begun ? openSync(path, 'r+') : undefined;
    if (writer !== undefined) {
      writeSync(writer, header);
      while (!shown.includes('\n')) await sleep(5);
    } else await sleep(2000 * slowness); // by then it waits
    child.kill('SIGINT');
    const status = await new Promise((resolve) => child.once('exit', resolve));
    if (writer !== undefined) closeSync(writer);
    assert.is(status, 0);
  }
});

test('when the reader of the output exits, a replay ends silently', async () => {
  const { child, output, ended } = piped();
  child.stdin.on('error', () => {});
  child.stdin.write(header);
  while (!output.stdout.includes('\n')) await sleep(5);
  child.stdout.destroy();
  while (child.exitCode === null) {
    child.stdin.write(first);
    await sleep(5);
  }
  assert.is(await ended, 0);
  assert.is(output.stderr, '');
});

test('a slow reader gets every line of a recording larger than the buffer', async () => {
  const count = 20_000;
  const path = file('large', header, first.repeat(count));
  const child = spawn(process.execPath, [COMMAND, '--replay', path, '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await sleep(1000 * slowness); // by then the pipe is full
  let lines = 0;
  for await (const chunk of Readable.from(child.stdout)) lines += chunk.toString().split('\n').length - 1;
  assert.is(lines, count);
  assert.is(child.exitCode ?? (await new Promise((resolve) => child.once('exit', resolve))), 0);
});

// --- the summary ---------------------------------------------------------------------------------

const OUTCOMES = [
  { ...FIRST, result: 'established', retransmits: 0 },
  { ...FIRST, result: 'refused', errno: 'ECONNREFUSED', retransmits: 0 },
  { ...FIRST, result: 'timed-out', errno: 'ETIMEDOUT', retransmits: 6, lat_ms: 130_000 },
  { ...SECOND, result: 'aborted', retransmits: 0 },
];

for (const [args, expected] of [
  [[], ['2 connects shown', '  2 failed, not shown (--failed shows them)']],
  [
    ['-p', '7'],
    ['0 connects shown', '  1 failed, not shown (--failed shows them)', '  3 not selected'],
  ],
  [['20'], ['0 connects shown', '  1 failed, not shown (--failed shows them)', '  3 not selected']],
  [
    ['--failed'],
    ['3 failed connects shown', '  3 ended: 1 refused, 1 timed-out, 1 aborted', '  1 not selected'],
  ],
  [['--outcome'], ['4 connects shown', '  4 ended: 1 established, 1 refused, 1 timed-out, 1 aborted']],
  [
    ['--json', '--outcome', '-6'],
    ['1 connect shown', '  1 ended: 1 aborted', '  3 not selected'],
  ],
] as const)
  test(`the summary of a replay with ${args.join(' ') || 'no option'}: ${expected.join('; ')}`, () => {
    const fields = [...HEADER.fields, 'retransmits', 'result', 'errno'];
    const path = file('outcomes', { ...HEADER, fields }, ...OUTCOMES);
    assert.equal(
      spawnSync(process.execPath, [COMMAND, '--replay', path, ...args], { encoding: 'utf8' }).stderr,
      `tcpconnlat: ${expected.join('\n')}\n`,
    );
    assert.is(replay(path, ...args).stderr, '', '--quiet');
  });

for (const options of [[], ['--json'], ['--resolve']])
  test(`-n ends a replay after the lines, and does not read the rest ${options.join('')}`, () => {
    const path = file('first', HEADER, ...RECORDS, 'nonsense\n');
    const args = ['--replay', path, ...options];
    const run = (count: string) =>
      spawnSync(process.execPath, [COMMAND, ...args, '-n', count], { encoding: 'utf8' });
    const { status, stdout, stderr } = run('2');
    assert.equal({ status, stderr }, { status: 0, stderr: 'tcpconnlat: 2 connects shown\n' });
    assert.is(stdout.split('\n').length - 1, options[0] === '--json' ? 2 : 3);
    assert.is(run('4').status, 2, 'the damaged line is read');
  });

test('-n ends a replay from a pipe that stays open', async () => {
  const child = spawn(process.execPath, [COMMAND, '--replay', '-', '-q', '-n', '1'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.write([HEADER, FIRST, SECOND].map((line) => `${JSON.stringify(line)}\n`).join(''));
  const output = child.stdout.toArray();
  const [status] = await once(child, 'exit');
  assert.is(status, 0);
  assert.is(
    Buffer.concat(await output)
      .toString()
      .split('\n').length - 1,
    2,
  );
});

test('for a recording without results, the summary has no failures', () => {
  const path = file('answered', HEADER, ...RECORDS);
  const { stderr } = spawnSync(process.execPath, [COMMAND, '--replay', path], { encoding: 'utf8' });
  assert.is(stderr, 'tcpconnlat: 3 connects shown\n');
});

test('a damaged recording has a summary before the error; another file has none', () => {
  const run = (path: string) =>
    spawnSync(process.execPath, [COMMAND, '--replay', path], { encoding: 'utf8' }).stderr;
  const path = file('damaged', HEADER, FIRST, 'nonsense\n');
  assert.is(run(path), `tcpconnlat: 1 connect shown\ntcpconnlat: ${path}:3: it is not JSON\n`);
  assert.is(run('/no/such/file').split('\n').length, 2);
});

test.run();
