import * as assert from 'uvu/assert';
import { type ColumnOptions, table } from '../../../src/cli/printer/columns.ts';
import type { ConnectRecord } from '../../../src/cli/record.ts';
import { columnsOf } from '../../../src/cli/width.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/printer/columns');

const RECORD: ConnectRecord = {
  time_s: 1.23456,
  pid: 1201,
  comm: 'wget',
  ip: 4,
  saddr: '10.153.223.157',
  lport: 50322,
  daddr: '74.125.28.91',
  dport: 443,
  lat_ms: 13.8449,
};

/** The line of a record in a table of its own. */
function line(changes: Partial<ConnectRecord> = {}, shown: Partial<ColumnOptions> = {}): string {
  return table({ timestamp: false, lport: false, ...shown }).line({ ...RECORD, ...changes });
}

/** C's `%-Ns` for several texts, separated by spaces: the format of bcc. */
function format(widths: readonly number[], texts: readonly string[]): string {
  return texts.map((text, i) => text.padEnd(widths[i] ?? 0)).join(' ');
}

// tools/tcpconnlat.py of bcc: "%-9s" for the time, without a space after it, then these.
const PLAIN = [7, 12, 2, 16, 16, 5];
const WITH_LPORT = [7, 12, 2, 16, 6, 16, 5];

/** A connect in flight without and with endpoints. */
const WAITING: ConnectRecord = {
  time_s: 1.23456,
  pid: 1201,
  comm: 'curl',
  lat_ms: 5000.004,
  result: 'pending',
};

const cases = [
  [
    { timestamp: false, lport: false },
    format(PLAIN, ['PID', 'COMM', 'IP', 'SADDR', 'DADDR', 'DPORT', 'LAT(ms)']),
    format(PLAIN, ['1201', 'wget', '4', '10.153.223.157', '74.125.28.91', '443', '13.84']),
  ],
  [
    { timestamp: false, lport: true },
    format(WITH_LPORT, ['PID', 'COMM', 'IP', 'SADDR', 'LPORT', 'DADDR', 'DPORT', 'LAT(ms)']),
    format(WITH_LPORT, ['1201', 'wget', '4', '10.153.223.157', '50322', '74.125.28.91', '443', '13.84']),
  ],
  [
    { timestamp: true, lport: false },
    `TIME(s)  ${format(PLAIN, ['PID', 'COMM', 'IP', 'SADDR', 'DADDR', 'DPORT', 'LAT(ms)'])}`,
    `1.235    ${format(PLAIN, ['1201', 'wget', '4', '10.153.223.157', '74.125.28.91', '443', '13.84'])}`,
  ],
  [
    { timestamp: true, lport: true },
    `TIME(s)  ${format(WITH_LPORT, ['PID', 'COMM', 'IP', 'SADDR', 'LPORT', 'DADDR', 'DPORT', 'LAT(ms)'])}`,
    '1.235    ' +
      format(WITH_LPORT, ['1201', 'wget', '4', '10.153.223.157', '50322', '74.125.28.91', '443', '13.84']),
  ],
] as const;
for (const [shown, header, text] of cases)
  test(`bcc's columns, ${shown.timestamp ? 'with' : 'without'} time, ${shown.lport ? 'with' : 'without'} local port`, () => {
    assert.is(table(shown).header(), `${header}\n`);
    assert.is(line({}, shown), `${text}\n`);
  });

test('--outcome adds columns at the end', () => {
  const shown = { timestamp: false, lport: true };
  const plain = table(shown);
  const outcome = table({ ...shown, outcome: 'all' });
  const line = outcome.line({ ...RECORD, result: 'timed-out', errno: 'ETIMEDOUT', retransmits: 6 });
  assert.is(outcome.header(), `${plain.header().trimEnd()}   RETR RESULT\n`);
  assert.is(line, `${plain.line(RECORD).trimEnd()}     6    timed-out\n`);
  assert.is(line.indexOf('timed-out'), outcome.header().indexOf('RESULT'));
});

test('unknown retransmits are a dash', () => {
  const shown = table({ timestamp: false, lport: false, outcome: 'all' });
  assert.match(shown.line({ ...RECORD, result: 'failed' }), / 13\.84 {5}- {4}failed\n$/);
});

const ID = '3f4a9c0123456789'.padEnd(64, 'a');
const POD = '8dbd9b2e-1f4c-4ab2-b9a1-0c6a5f7e9d21';

test('--wall adds the first column', () => {
  const time = '2026-11-25T15:39:56.123456Z';
  const shown = table({ timestamp: true, lport: false, wall: true });
  assert.match(shown.header(), /^TIME\(s\) {2}TIME {24}PID {5}COMM /);
  assert.match(shown.line({ ...RECORD, time }), new RegExp(`^1\\.235 {4}${time} 1201 {4}wget `));
});

test('--who and --resolve add columns at the end', () => {
  const [plain, more] = [table(cases[0][0]), table({ ...cases[0][0], who: true, resolve: true })];
  assert.ok(
    more
      .header()
      .startsWith(`${plain.header().trimEnd()}   UID    PARENT       WORKLOAD             DESTINATION EXE`),
  );
  const caller = { unit: 'nginx.service', parent: 'systemd', exe: '/usr/sbin/nginx' };
  const named = { ...RECORD, ...caller, uid: 33, host: 'db1.example', service: 'https' };
  assert.is(
    more.line(named),
    `${plain.line(RECORD).trimEnd()}     33     systemd      nginx.service        db1.example:https /usr/sbin/nginx\n`,
  );
});

test('--requested adds a column with the address and port, before those of --who', () => {
  const shown = table({ ...cases[0][0], requested: true, who: true });
  assert.match(shown.header(), / LAT\(ms\) {3}REQUESTED {13}UID /);
  const asked = { requested_addr: '10.96.0.10', requested_port: 53 };
  assert.match(shown.line({ ...RECORD, ...asked }), / 443 {3}13\.84 {5}10\.96\.0\.10:53 {9}- /);
  assert.match(shown.line(RECORD), / 13\.84 {5}- {21}- /, 'not known');
  const asked6 = { ip: 6, requested_addr: '::ffff:10.96.0.10', requested_port: 53 } as const;
  assert.match(shown.line({ ...RECORD, ...asked6 }), / \[::ffff:10\.96\.0\.10\]:53 - /);
  assert.is(shown.outgrown, true);
});

const IN_POD = { container: ID, pod: POD };
const NAMED = { pod_name: 'cart-0', pod_namespace: 'shop' };
for (const [what, caller, text] of [
  ['a unit', { unit: 'nginx.service' }, 'nginx.service'],
  ['a unit of a user', { unit: 'user@1000.service', user_unit: 'app.scope' }, 'app.scope'],
  ['a container in a unit', { unit: `docker-${ID}.scope`, container: ID }, '3f4a9c012345'],
  ['a container with a name', { container: ID, container_name: 'web' }, 'web'],
  ['a pod without names', IN_POD, `${POD}/3f4a9c012345`],
  ['a pod with its name', { ...IN_POD, ...NAMED }, 'shop/cart-0/3f4a9c012345'],
  ['a pod with all names', { ...IN_POD, ...NAMED, container_name: 'app' }, 'shop/cart-0/app'],
  ['a pod without a container', { pod: POD }, POD],
  ['nothing', {}, '-'],
] as const)
  test(`the workload of ${what}`, () => {
    assert.is(line(caller, { who: true }).trimEnd().split(/ +/).at(-2), text);
  });

test('a long workload widens its column, a parent is cut as a command is, and a path is complete', () => {
  const shown = table({ timestamp: false, lport: false, who: true });
  const exe = `/opt/${'a'.repeat(100)}`;
  const text = shown.line({ ...RECORD, uid: 0, parent: 'containerd-shim', exe });
  assert.ok(text.endsWith(` 0      containerd-s -                    ${exe}\n`), text);
  assert.is(shown.outgrown, false);
  shown.line({ ...RECORD, uid: 0, ...IN_POD });
  assert.is(shown.outgrown, true);
});

for (const [what, changes, text] of [
  ['a name and a service', { host: 'db1.example', service: 'https' }, 'db1.example:https'],
  ['a name alone', { host: 'db1.example' }, 'db1.example:443'],
  ['a service alone', { service: 'https' }, '74.125.28.91:https'],
  ['a service at an IPv6 address', { ip: 6, daddr: '2001:db8::1', service: 'https' }, '[2001:db8::1]:https'],
  ['neither', {}, '-'],
] as const)
  test(`a destination with ${what}`, () => {
    const words = line(changes, { resolve: true }).trimEnd().split(/ +/);
    assert.is(words.at(-1), text);
  });

test('unknown values are a dash', () => {
  const words = line({}, { wall: true, who: true }).trimEnd().split(/ +/);
  assert.equal([words[0], ...words.slice(-4)], ['-', '-', '-', '-', '-']);
});

test('numbers have as many digits as in bcc', () => {
  assert.match(line({ lat_ms: 0 }), / 0\.00\n$/);
  assert.match(line({ lat_ms: 0.005001 }), / 0\.01\n$/);
  assert.match(line({ lat_ms: 12_345.678 }), / 12345\.68\n$/);
  assert.match(line({ time_s: 0 }, { timestamp: true }), /^0\.000 {4}1201 /);
  assert.match(line({ time_s: 123_456.7891 }, { timestamp: true }), /^123456\.789 1201 /);
});

test('a command name is truncated to 12 characters', () => {
  const [head, tail] = ['abcdefghijkl', 'mno'];
  assert.is(line({ comm: head + tail }), line({ comm: head }));
  assert.is(line({ comm: head }).indexOf(' 4  10.'), 8 + 12);
});

test('a command name is truncated between characters, to 12 columns', () => {
  assert.match(line({ comm: 'ten chars \u{1F980}a' }), /^1201 {4}ten chars \u{1F980} 4 /u);
  assert.match(line({ comm: 'elevenchars\u{1F980}' }), /^1201 {4}elevenchars {2}4 /u);
  assert.match(line({ comm: 'nine char\\xff' }), /^1201 {4}nine char {4}4 /);
});

test('wide characters and combining marks do not shift the columns', () => {
  for (const comm of ['漢字', 'e\u0301\u0302', '한국어', '😀😀😀😀😀😀'])
    assert.is(columnsOf(line({ comm }).split(' 4 ')[0] as string), 8 + 12, comm);
});

test('a name without visible characters is in quotes', () => {
  assert.match(line({ comm: '' }), /^1201 {4}'' {11}4 /);
  assert.match(line({ comm: ' ' }), /^1201 {4}' ' {10}4 /);
});

test('control characters in a command name do not reach the terminal', () => {
  assert.is(line({ comm: 'a\x1b[2J\nb\t\x7f\x9b' }), line({ comm: 'a?[2J?b???' }));
  assert.is(
    line({ comm: 'r\u202el\u2028x' }),
    line({ comm: 'r?l?x' }),
    'nor do bidirectional controls and line separators',
  );
});

test('a long IPv6 address widens its column for the following lines too', () => {
  const long = '2001:db8:aaaa:bbbb:cccc:dddd:eeee:1';
  const shown = table({ timestamp: false, lport: true });
  const columns = (text: string) =>
    ['50322', RECORD.daddr, '443', '13.84'].map((part) => text.indexOf(` ${part}`));
  const before = shown.line(RECORD);
  assert.is(shown.outgrown, false);
  const wide = shown.line({ ...RECORD, ip: 6, saddr: long });
  assert.is(shown.outgrown, true);
  assert.equal(columns(shown.line(RECORD)), columns(wide), 'in line with it');
  const by = long.length - 16;
  assert.equal(
    columns(wide),
    columns(before).map((at) => at + by),
  );
  assert.is(shown.header().indexOf('LPORT'), wide.indexOf('50322'), 'and so are new titles');
  assert.is(shown.outgrown, false, 'nothing has grown since');
});

test('addresses of 16 characters do not widen the columns', () => {
  const shown = table({ timestamp: false, lport: false });
  shown.line({ ...RECORD, saddr: '255.255.255.255', daddr: '::ffff:127.0.0.1' });
  assert.is(shown.outgrown, false);
});

test('a time just before the first event is 0.000, an earlier one is negative', () => {
  assert.match(line({ time_s: -0.0004 }, { timestamp: true }), /^0\.000 /);
  assert.match(line({ time_s: -0.0016 }, { timestamp: true }), /^-0\.002 /);
});

test('what is not known about a connect in flight is a dash', () => {
  const shown = { timestamp: false, lport: true, pendingMs: 5000 };
  const cells = (record: ConnectRecord) => table(shown).line(record).trim().split(/ +/);
  assert.equal(cells(WAITING), ['1201', 'curl', '-', '-', '-', '-', '-', '5000.00', '-', 'pending']);
  assert.equal(cells({ ...WAITING, ip: 4, saddr: '10.0.0.1', daddr: '192.0.2.1', dport: 443 }), [
    ...['1201', 'curl', '4', '10.0.0.1', '-', '192.0.2.1', '443', '5000.00', '-', 'pending'],
  ]);
  assert.match(table(shown).header(), / RETR RESULT$/m);
  const resolved = table({ timestamp: false, lport: false, outcome: 'all', resolve: true });
  assert.match(resolved.line(WAITING), / pending +-\n$/);
});

test.run();
