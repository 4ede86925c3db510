/** The command with `--report` and `--replay`: which connects the report has, and bad input. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import type { ConnectRecord } from '../../../src/cli/record.ts';
import type { ReportData } from '../../../src/cli/report/data.ts';
import { needsRoot, slowness, suite } from '../../harness.ts';
import { withDisk } from '../../small-disk.ts';
import { HEADER, START_MS } from './synthetic.ts';

const test = suite('cli/report/command', { seconds: 30 });

const COMMAND = fileURLToPath(new URL('../../../../dist/tcpconnlat.cjs', import.meta.url));

let folder = '';
test.before.each(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsbpf-report-'));
});
test.after.each(() => rmSync(folder, { recursive: true }));

const RECORD: ConnectRecord = {
  ...{ time_s: 0, time: '2026-11-28T22:40:01.000000Z', pid: 7, comm: 'curl', uid: 0, ip: 4 },
  ...{ saddr: '10.0.0.7', lport: 50_000, daddr: '192.0.2.1', dport: 443, lat_ms: 1.25 },
  ...{ retransmits: 0, result: 'established' },
};
const REFUSED = { ...RECORD, time_s: 1, dport: 80, result: 'refused', errno: 'ECONNREFUSED' };
const TIMED_OUT = {
  ...RECORD,
  time_s: 2,
  lat_ms: 130_000,
  retransmits: 6,
  result: 'timed-out',
  errno: 'ETIMEDOUT',
};
const PENDING = { ...RECORD, time_s: 3, result: 'pending' };
const RECORDS = [RECORD, REFUSED, TIMED_OUT, PENDING];

function recording(...lines: (object | string)[]): string {
  const path = join(folder, 'recording.jsonl');
  writeFileSync(
    path,
    lines.map((line) => (typeof line === 'string' ? line : `${JSON.stringify(line)}\n`)).join(''),
  );
  return path;
}

/** Runs the command; `report` is its document, if it wrote one. */
function replay(path: string, ...args: string[]) {
  const html = join(folder, 'report.html');
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [COMMAND, '--replay', path, '--report', html, ...args],
    { encoding: 'utf8', timeout: 20_000 * slowness },
  );
  let report: string | undefined;
  try {
    report = readFileSync(html, 'utf8');
  } catch {
    // none
  }
  return { status, stdout, stderr, html, report };
}

/** The data of a document. */
function dataOf(report = ''): ReportData {
  const [, json = ''] = /<script type="application\/json" id="data">([^<]*)<\/script>/.exec(report) ?? [];
  return JSON.parse(json);
}

const resultsIn = (report: string | undefined) =>
  Object.fromEntries(
    dataOf(report).results.map(({ name, counts }) => [name, counts.reduce((a, b) => a + b, 0)]),
  );

/** The list of what is missing, in a document. */
const missingIn = (report = '') =>
  Array.from(report.matchAll(/<li(?: class="loss")?>([^<]*)<\/li>/g), ([, text]) => text);

test('a report has all results, and the lines are those that the options ask for', () => {
  const path = recording(HEADER, ...RECORDS);
  for (const [args, lines] of [
    [[], 2],
    [['--failed'], 2],
    [['--outcome'], 4],
  ] as const) {
    const { status, stdout, report } = replay(path, '-q', '--json', ...args);
    assert.is(status, 0);
    assert.is(stdout.split('\n').length - 1, lines, args.join(' '));
    assert.equal(resultsIn(report), { established: 1, refused: 1, 'timed-out': 1 });
  }
});

test('its file is private, and a message says where it is', () => {
  const { stderr, html } = replay(recording(HEADER, ...RECORDS));
  assert.is(statSync(html).mode & 0o777, 0o600);
  assert.match(stderr, /\ntcpconnlat: report: \S+\/report\.html \(3 connects, \d+ KiB\)\n$/);
});

test('filters and min_ms select its connects', () => {
  const path = recording(HEADER, ...RECORDS);
  const byPort = replay(path, '--port', '80');
  assert.equal(resultsIn(byPort.report), { refused: 1 });
  assert.ok(missingIn(byPort.report).includes('3 connects were not selected by the filters.'));
  assert.ok(missingIn(byPort.report).includes('The command selects connects; see below.'));
  const slow = replay(path, '100').report;
  assert.equal(resultsIn(slow), { 'timed-out': 1 });
  assert.ok(missingIn(slow).includes('The run shows connects that took 100 ms or more.'));
});

test('times are those of the recording, also if its clock was set', () => {
  const set = { ...REFUSED, time: '2027-01-01T00:00:00.000000Z' };
  const data = dataOf(replay(recording(HEADER, RECORD, set)).report);
  assert.ok(data.startMs <= START_MS && START_MS < data.startMs + data.widthMs);
  assert.equal([...data.slowest].map(({ timeMs }) => timeMs - START_MS).sort(), [1000, 2000]);
});

test('times as far apart as a recording may have them work', () => {
  const header = { ...HEADER, started: '9999-12-31T23:59:59.999999Z' };
  const [early, late] = [-5e9, 5e9].map((time_s) => ({
    ...RECORD,
    time_s,
    time: '0000-01-01T00:00:00.000000Z',
  }));
  const { status, stderr, report } = replay(recording(header, late as object, early as object), '-q');
  assert.equal([status, stderr], [0, '']);
  assert.equal(resultsIn(report), { established: 2 });
});

test('it says how the recording was made', () => {
  const { report = '' } = replay(recording({ ...HEADER, options: ['--comm', "it's <b>"] }, RECORD));
  assert.match(report, /<dt>Kernel<\/dt><dd><bdi>Linux 6\.12\.48<\/bdi><\/dd>/);
  assert.match(
    report,
    /<dt>Recorded with<\/dt><dd><bdi>tcpconnlat --comm &#39;it&#39;\\&#39;&#39;s &#60;b&#62;&#39; \(version 0\.1\.0\)/,
  );
  assert.match(report, /<dt>Report made with<\/dt><dd><bdi>tcpconnlat --replay \S+ --report /);
});

test('it says that a recording has no results', () => {
  const { result: _, retransmits: __, ...answered } = RECORD;
  const header = { ...HEADER, fields: ['time', 'uid'] };
  const { stderr, report } = replay(recording(header, answered));
  assert.match(stderr, /was recorded without --outcome: it has no retransmits, result, errno/);
  assert.equal(resultsIn(report), { answered: 1 });
  assert.ok(missingIn(report).some((note) => note?.startsWith('It was recorded without --outcome')));
});

test('a damaged recording ends with status 2, and its report has the connects before and says so', () => {
  const { status, stderr, report } = replay(recording(HEADER, RECORD, 'x\n', REFUSED), '-q');
  assert.is(status, 2);
  assert.match(stderr, /^tcpconnlat: \S+recording\.jsonl:3: it is not JSON\n$/);
  assert.equal(resultsIn(report), { established: 1 });
  assert.match(
    missingIn(report)[0] ?? '',
    /^The rest of the recording was not read: \S+:3: it is not JSON\.$/,
  );
});

test('what is no recording leaves an older report', () => {
  writeFileSync(join(folder, 'report.html'), 'old');
  const { status, report } = replay(recording('x\n'));
  assert.equal([status, report], [2, 'old']);
});

test('--count ends the report with the last line', () => {
  assert.equal(resultsIn(replay(recording(HEADER, ...RECORDS), '-n', '1').report), { established: 1 });
});

test('a reader that exits ends the run, and the report says that it is incomplete', () => {
  const lines = Array.from({ length: 20_000 }, (_, i) => ({ ...RECORD, time_s: i / 1000 }));
  const path = recording(HEADER, ...lines);
  const html = join(folder, 'report.html');
  execFileSync('sh', [
    '-c',
    '"$@" | head -n 1',
    'sh',
    process.execPath,
    COMMAND,
    '-q',
    '--replay',
    path,
    '--report',
    html,
  ]);
  const report = readFileSync(html, 'utf8');
  assert.is(missingIn(report)[0], 'The rest of the recording was not read.');
  assert.ok((resultsIn(report).established ?? 0) < lines.length);
});

for (const [path, reason, status] of [
  ['.', /it is a directory/, 2],
  ['missing/report.html', /ENOENT/, 1],
  ['/dev/full', /ENOSPC: no space left on device/, 1],
] as const)
  test(`one line and status ${status} if the report cannot be written to ${path}`, () => {
    const file = path.startsWith('/') ? path : join(folder, path);
    const args = [COMMAND, '-q', '--replay', recording(HEADER, RECORD), '--report', file];
    const ended = spawnSync(process.execPath, args, { encoding: 'utf8' });
    assert.is(ended.status, status, ended.stderr);
    assert.match(ended.stderr, /^tcpconnlat: cannot write the report .*\n$/);
    assert.match(ended.stderr, reason);
  });

test.skipIf(needsRoot, 'a full disk leaves an older report', async () => {
  const path = recording(HEADER, RECORD);
  await withDisk(folder, 'size=32k', (disk) => {
    const html = join(disk, 'report.html');
    writeFileSync(html, 'old');
    const args = [COMMAND, '-q', '--replay', path, '--report', html];
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    assert.is(status, 1);
    assert.match(stderr, /^tcpconnlat: cannot write the report \S+: ENOSPC: no space left on device\n$/);
    assert.is(readFileSync(html, 'utf8'), 'old');
    assert.equal(readdirSync(disk), ['report.html']);
  });
});

test.skipIf(needsRoot, 'a user without privileges can make a report', () => {
  execFileSync('chmod', ['0777', folder]);
  const path = recording(HEADER, RECORD);
  execFileSync('chmod', ['0644', path]);
  const html = join(folder, 'report.html');
  const args = [COMMAND, '-q', '--replay', path, '--report', html];
  const { status, stderr } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    uid: 65_534,
    gid: 65_534,
  });
  assert.equal([status, stderr, statSync(html).uid], [0, '', 65_534]);
});

test.run();
