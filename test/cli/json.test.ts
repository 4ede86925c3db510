import type { TSchema } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import * as assert from 'uvu/assert';
import { type Header, jsonLine, jsonSchema } from '../../src/cli/json.ts';
import type { Caller } from '../../src/cli/record/caller.ts';
import { type ConnectRecord, FIELDS, fieldsShown, pendingRecordOf, rowReader } from '../../src/cli/record.ts';
import { AF_INET6, type ConnectEvent } from '../../src/programs/tcpconnlat/events.ts';
import { suite } from '../harness.ts';
import { recordConverter } from './record.ts';

const test = suite('cli/json');

/** A decoded event. */
function event(changes: Partial<ConnectEvent> = {}): ConnectEvent {
  return {
    attempt: { startNs: 2n ** 54n, task: { tid: 1202, pid: 1201 }, comm: 'wget' },
    latencyNs: 1_234_567,
    ports: { remote: 443, local: 50322 },
    family: 2,
    v4: { remote: Uint8Array.of(192, 0, 2, 1), local: Uint8Array.of(10, 0, 0, 7) },
    v6: { remote: new Uint8Array(16), local: new Uint8Array(16) },
    ...changes,
  };
}

const schema = jsonSchema() as TSchema & { properties: Record<string, object> };
const ALL = fieldsShown({ wall: true, who: true, resolve: true, outcome: 'all' });
const line = (record: ConnectRecord): string => jsonLine(record, ALL);
const parse = (record: ConnectRecord): Record<string, unknown> => JSON.parse(line(record));

test('an event becomes one line with the column names in lower case', () => {
  const text = jsonLine(recordConverter()(event()), fieldsShown({}));
  assert.is(
    text,
    '{"time_s":0,"pid":1201,"comm":"wget","ip":4,"saddr":"10.0.0.7","lport":50322,' +
      '"daddr":"192.0.2.1","dport":443,"lat_ms":1.234567}\n',
  );
});

test('an event of an IPv6 socket has IPv6 addresses', () => {
  const loopback = new Uint8Array(16).fill(1, 15);
  const mapped = Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1]);
  const { ip, saddr, daddr } = recordConverter()(
    event({ family: AF_INET6, v6: { remote: mapped, local: loopback } }),
  );
  assert.equal({ ip, saddr, daddr }, { ip: 6, saddr: '::1', daddr: '::ffff:127.0.0.1' });
});

const ID = '0123456789abcdef'.repeat(4);
const WHO = { user: { uid: 33, gid: 34 }, cgroup: 77n };
const CALLER: Required<Caller> = {
  cmdline: 'nginx: worker "a"',
  ...{ exe: '/usr/sbin/nginx', ppid: 1, parent: 'systemd' },
  ...{ unit: 'user@1000.service', user_unit: 'run-a\\x2db.service' },
  ...{ container: ID, container_name: 'web' },
  ...{ pod: '8dbd9b2e-1f4c-4ab2-b9a1-0c6a5f7e9d21', pod_name: 'web-0', pod_namespace: 'shop' },
};
/** The members of `CALLER` in the order of a line. */
const CALLER_TEXT =
  '"unit":"user@1000.service","user_unit":"run-a\\\\x2db.service",' +
  `"container":"${ID}","container_name":"web",` +
  '"pod":"8dbd9b2e-1f4c-4ab2-b9a1-0c6a5f7e9d21","pod_name":"web-0","pod_namespace":"shop",' +
  '"exe":"/usr/sbin/nginx","ppid":1,"parent":"systemd","cmdline":"nginx: worker \\"a\\""';

test('options add the time of day, the user, the caller and the names', () => {
  const toRecord = recordConverter({
    wallClock: (ns) => `at ${ns}`,
    callers: ({ cgroup, task }) => (cgroup === 77n && task.pid === 1201 ? CALLER : {}),
  });
  const record = toRecord(event({ attempt: { ...event().attempt, ...WHO } }));
  const named = { ...record, host: 'db1.example', service: 'https' };
  assert.is(
    line(named),
    `{"time_s":0,"time":"at ${2n ** 54n + 1_234_567n}","pid":1201,"comm":"wget","uid":33,${CALLER_TEXT},"ip":4,` +
      '"saddr":"10.0.0.7","lport":50322,"daddr":"192.0.2.1","dport":443,"host":"db1.example","service":"https",' +
      '"lat_ms":1.234567}\n',
  );
  assert.is(
    jsonLine(named, fieldsShown({})),
    jsonLine(recordConverter()(event()), fieldsShown({})),
    'and without, not',
  );
});

test('times are those of the answer, in seconds since the first event', () => {
  const toRecord = recordConverter();
  const at = (startNs: bigint, latencyNs: number) =>
    toRecord(event({ attempt: { startNs, task: { tid: 1, pid: 1 }, comm: '' }, latencyNs })).time_s;
  const base = 2n ** 60n;
  assert.is(at(base, 1000), 0);
  assert.is(at(base + 500n, 1500), 0.000001);
  assert.is(at(base + 86_400_000_000_000n, 1000), 86_400, 'exact, though a time is past 2^53 ns');
  assert.is(at(base - 1_000_000_000n, 1000), -1, 'events of two CPUs may come out of order');
});

/** The record of a connect in flight. */
const waiting = (changes: Partial<ConnectEvent> = {}, hasEndpoints = true) =>
  pendingRecordOf(rowReader()(event(changes)), hasEndpoints);

test('a connect in flight has no errno and no retransmits, and perhaps no port and no addresses', () => {
  const rest = '"lat_ms":1.234567,"result":"pending"}\n';
  const unbound = { ports: { remote: 443, local: 0 } };
  assert.is(
    line(waiting(unbound)),
    `{"time_s":0,"pid":1201,"comm":"wget","ip":4,"saddr":"10.0.0.7","daddr":"192.0.2.1","dport":443,${rest}`,
  );
  assert.match(line(waiting()), /"lport":50322/, 'bound before the connect');
  assert.is(line(waiting(unbound, false)), `{"time_s":0,"pid":1201,"comm":"wget",${rest}`);
});

test('a connect in flight does not repeat the end of the connect before it', () => {
  const read = rowReader();
  const ended = { state: 7, retransmits: 3 };
  const cause = { error: 111, softError: 0, segmentsIn: 1, segmentsOut: 1, socketState: 0, exitCode: 0 };
  read(event({ ended, cause }));
  const { result, errno, retransmits } = pendingRecordOf(read(event()), true);
  assert.equal([result, errno, retransmits], ['pending', undefined, undefined]);
});

const lines: [string, ConnectRecord][] = [
  ['in flight', waiting()],
  ['in flight without endpoints', waiting({ ports: { remote: 0, local: 0 } }, false)],
  ['of IPv4', recordConverter()(event())],
  ['of IPv6', recordConverter()(event({ family: AF_INET6 }))],
  ['with no families\u2019 addresses', recordConverter()(event({ v4: undefined, v6: undefined }))],
  [
    'with everything',
    {
      ...recordConverter()(event({ attempt: { ...event().attempt, ...WHO } })),
      ...{ time: '2026-11-25T15:39:56.123456Z', ...CALLER },
      ...{ host: 'db1.example', service: 'https' },
    },
  ],
  [
    'with an odd command',
    recordConverter()(event({ attempt: { ...event().attempt, comm: '"\\\n\x1b\udcff\ufffd' } })),
  ],
];
for (const [what, record] of lines)
  test(`a line ${what} is valid against the schema`, () => {
    assert.equal([...Value.Errors(schema, parse(record))], []);
  });

test('the schema has exactly the fields, and requires those that need no option', () => {
  assert.equal(Object.keys(schema.properties), Object.keys(FIELDS));
  const ENDPOINTS = ['ip', 'saddr', 'lport', 'daddr', 'dport'];
  assert.equal(schema.required, ['time_s', 'pid', 'comm', 'lat_ms']);
  assert.equal(schema.else, { required: ENDPOINTS });
  assert.equal(
    schema.required,
    fieldsShown({}).filter((field) => !ENDPOINTS.includes(field)),
  );
  assert.is(schema.additionalProperties, false);
  assert.is(schema.$schema, 'https://json-schema.org/draft/2020-12/schema');
  for (const [name, property] of Object.entries(schema.properties))
    assert.ok('description' in property, `${name} is described`);
});

const ended = { state: 7, retransmits: 2 };
const cause = { error: 0, softError: 0, segmentsIn: 0, segmentsOut: 1, socketState: 2, exitCode: 0 };
const outcomes: [string, Partial<ConnectEvent>, string][] = [
  ['with an error', { ended, cause: { ...cause, error: 110 } }, '2,"result":"timed-out","errno":"ETIMEDOUT"'],
  ['by an error’s name', { ended, cause: { ...cause, error: 13 } }, '2,"result":"EACCES","errno":"EACCES"'],
  [
    'by an unknown number',
    { ended, cause: { ...cause, error: 999 } },
    '2,"result":"errno 999","errno":"errno 999"',
  ],
  ['without one', { ended, cause }, '2,"result":"aborted"'],
];
for (const [what, changes, text] of outcomes)
  test(`the outcome follows the other fields and is valid: ${what}`, () => {
    const record = recordConverter()(event(changes));
    assert.ok(line(record).endsWith(`"lat_ms":1.234567,"retransmits":${text}}\n`), line(record));
    assert.equal([...Value.Errors(schema, parse(record))], []);
  });

test('if only the state is known, there are no retransmits', () => {
  const record = recordConverter()(event({ ended }));
  assert.ok(line(record).endsWith('"lat_ms":1.234567,"result":"failed"}\n'), line(record));
  assert.equal([...Value.Errors(schema, parse(record))], []);
});

const wrong: [string, Record<string, unknown>][] = [
  ['a port as text', { dport: '443' }],
  ['a port that is none', { lport: 65_536 }],
  ['an IP of 5', { ip: 5 }],
  ['a negative latency', { lat_ms: -1 }],
  ['a command that is too long', { comm: 'sixteen letters!' }],
  ['another field', { retries: 1 }],
  ['no pid', { pid: undefined }],
  ['a time that is local', { time: '2026-11-25T15:39:56.123456+01:00' }],
  ['a container of 12 digits', { container: ID.slice(0, 12) }],
  ['a slice as unit', { unit: 'system.slice' }],
  ['a unit with a space', { unit: 'a b.service' }],
  ['a unit that is too long', { user_unit: `${'a'.repeat(248)}.service` }],
  ['a name of a pod with a slash', { pod_name: 'a/b' }],
  ['a command line that is too long', { cmdline: 'a'.repeat(4 * 4096 + 1) }],
];
for (const [what, changes] of wrong)
  test(`${what} is not valid`, () => {
    assert.is(Value.Check(schema, { ...recordConverter()(event()), ...changes }), false);
  });

test('the first line of a recording is a definition of the schema', () => {
  const { recording } = schema.$defs as { recording: TSchema };
  const header: Header = {
    ...{ tsbpf: 'tcpconnlat', format: 1, version: '0.1.0', host: 'vm', kernel: '6.12.0', way: 'kprobe' },
    ...{ options: ['--record', 'x'], started: '2026-11-25T15:39:56.123000Z', fields: ['time'] },
  } as const;
  assert.equal([...Value.Errors(recording, header)], []);
  for (const changes of [{ tsbpf: 'execs' }, { format: 2 }, { options: 'x' }, { kernel: undefined }])
    assert.is(Value.Check(recording, { ...header, ...changes }), false);
});

test('the printed schema is the same', () => {
  const printed = JSON.parse(JSON.stringify(schema));
  assert.equal(printed.properties.ip.anyOf, [
    { const: 4, type: 'number' },
    { const: 6, type: 'number' },
  ]);
  assert.equal([printed.type, printed.required], ['object', schema.required]);
  assert.is(printed.$defs.recording.type, 'object');
});

test.run();
