/**
 * Reads recordings of the tracer, and any other text: the result is an error with a line number, or records
 * that match the schema.
 */
import { Value } from '@sinclair/typebox/value';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { type Header, headerLine, jsonLine, recordSchema } from '../../../src/cli/json.ts';
import { formatTime } from '../../../src/cli/record/wall-clock.ts';
import { type ConnectRecord, fieldsShown } from '../../../src/cli/record.ts';
import { RecordingError } from '../../../src/cli/recording.ts';
import { RecordingReader } from '../../../src/cli/replay/reader.ts';
import { AF_INET6, type ConnectEvent } from '../../../src/programs/tcpconnlat/events.ts';
import { suite } from '../../harness.ts';
import { recordConverter } from '../record.ts';

const test = suite('cli/replay/reader', { seconds: 60 });

const ALL = fieldsShown({ wall: true, who: true, resolve: true, outcome: true });
const RECORDED = fieldsShown({ wall: true, who: true, requested: true, outcome: true });
const HEADER: Header = {
  ...{ tsbpf: 'tcpconnlat', format: 1, version: '0.1.0', host: 'vm', kernel: '6.12.0', way: 'kprobe' },
  ...{ options: ['-t'], started: '2026-11-25T15:39:56.123000Z', fields: ['time'] },
};

/** Reads all lines. @throws {RecordingError} */
function read(lines: readonly (string | Uint8Array)[], isGrowing = false): ConnectRecord[] {
  const reader = new RecordingReader({ name: 'file', isGrowing });
  const records = lines.flatMap((line) => reader.next({ bytes: Buffer.from(line), whole: true }) ?? []);
  reader.end();
  return records;
}

const u32 = fc.oneof(fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.constantFrom(0, 2 ** 32 - 1));
const s32 = fc.integer();
const port = fc.integer({ min: 0, max: 65_535 });
const address = (length: number) =>
  fc.oneof(
    fc.uint8Array({ minLength: length, maxLength: length }),
    fc
      .array(fc.constantFrom(0, 0, 255), { minLength: length, maxLength: length })
      .map((bytes) => Uint8Array.from(bytes)),
  );
const ends = (length: number) => fc.record({ remote: address(length), local: address(length) });
/** A thread name as in the kernel: up to 15 arbitrary bytes and a zero. */
const comm = fc
  .uint8Array({ maxLength: 15 })
  .map((bytes) => Buffer.from(bytes.subarray(0, (bytes.indexOf(0) + 16) % 16)).toString());
/** Two times of the kernel's clock in ascending order. */
const moments = fc
  .tuple(fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }), fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }))
  .map(([one, other]) => (one < other ? [one, other] : [other, one]) as [bigint, bigint]);

/** Any event that programs may send. */
const event: fc.Arbitrary<ConnectEvent> = fc
  .record({
    moments,
    task: fc.record({ tid: u32, pid: fc.integer({ min: 0, max: 4_194_304 }) }),
    comm,
    user: fc.record({ uid: u32, gid: u32 }),
    requested: fc.record({ address: address(16), port, family: fc.constantFrom(0, 2) }),
    family: fc.constantFrom(2, AF_INET6),
    ports: fc.record({ remote: port, local: port }),
    v4: ends(4),
    v6: ends(16),
    ended: fc.option(fc.record({ state: fc.constantFrom(0, 1, 2, 7, 8), retransmits: u32 }), {
      nil: undefined,
    }),
    cause: fc.option(
      fc.record({
        ...{ error: fc.oneof(s32, fc.integer({ min: 0, max: 133 })), softError: s32 },
        ...{ segmentsIn: u32, segmentsOut: u32, socketState: u32, exitCode: u32 },
      }),
      { nil: undefined },
    ),
  })
  .map(({ moments: [startNs, endNs], task, comm, user, requested, ...rest }) => ({
    attempt: { startNs, task, comm, user, cgroup: 1n, requested },
    latencyNs: Number(endNs - startNs),
    ...rest,
  })) as fc.Arbitrary<ConnectEvent>;

const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,252}$/);
const unit = fc.stringMatching(/^[A-Za-z0-9:_.\\@-]{1,240}\.(service|scope|socket|mount|swap)$/);
const place = fc.record(
  {
    ...{ container: fc.stringMatching(/^[0-9a-f]{64}$/), container_name: name, pod: fc.uuid() },
    ...{ pod_name: name, pod_namespace: name, unit, user_unit: unit, ppid: fc.nat(4_194_304) },
    exe: fc.string({ maxLength: 100, unit: 'binary' }),
    parent: fc.string({ maxLength: 20, unit: 'binary' }),
    cmdline: fc.string({ maxLength: 100, unit: 'binary' }),
  },
  { requiredKeys: [] },
);

test('everything that the tracer records is read back unchanged', () => {
  fc.assert(
    fc.property(fc.array(event, { minLength: 1 }), place, (events, where) => {
      const toRecord = recordConverter({ wallClock: formatTime, callers: () => where });
      const records = events.map(toRecord);
      const lines = records.map((record) => jsonLine(record, RECORDED));
      for (const line of lines) assert.equal([...Value.Errors(recordSchema(), JSON.parse(line))], []);
      assert.equal(
        read([headerLine(HEADER), ...lines]).map((record) => jsonLine(record, RECORDED)),
        lines,
      );
    }),
    { numRuns: 300 },
  );
});

const RECORD: ConnectRecord = {
  ...{ time_s: 0, time: '2026-11-25T15:39:56.123456Z', pid: 1201, comm: 'wget', uid: 33 },
  ...{ container: 'a'.repeat(64), pod: '8dbd9b2e-1f4c-4ab2-b9a1-0c6a5f7e9d21', ip: 4 },
  ...{ saddr: '10.0.0.7', lport: 50322, daddr: '192.0.2.1', dport: 443, host: 'a', service: 'https' },
  ...{ lat_ms: 1.25, retransmits: 0, result: 'refused', errno: 'ECONNREFUSED' },
};

/**
 * Reads arbitrary lines. Returns the records; undefined if reading fails with a one-line error that names a
 * line.
 */
function readAny(lines: readonly (string | Uint8Array)[]): ConnectRecord[] | undefined {
  try {
    return read(lines);
  } catch (error) {
    assert.instance(error, RecordingError);
    assert.match((error as Error).message, /^file:[1-9]\d*: .{1,300}$/u);
    assert.not.match((error as Error).message, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    return undefined;
  }
}

/**
 * Checks that reading fails, or that the records print as JSON that matches the schema.
 */
function refusedOrValid(lines: readonly (string | Uint8Array)[]): void {
  const records = readAny(lines) ?? [];
  const [first = 0] = records.map(({ time_s }) => time_s).sort((a, b) => a - b);
  for (const record of records) {
    const shown = jsonLine({ ...record, time_s: record.time_s - first }, ALL);
    assert.equal([...Value.Errors(recordSchema(), JSON.parse(shown))], [], shown);
  }
}

/** Numbers as JSON texts, from the whole range of fields. */
const numberText = fc.oneof(
  fc.double().map(String),
  fc.maxSafeInteger().map(String),
  fc.constantFrom(
    '-0',
    '1e999',
    '-1e999',
    '1e308',
    '-1e308',
    '1e-400',
    '9007199254740993',
    '1e10',
    '-1e10',
    '1.0',
  ),
);
const valueText = fc.oneof(
  numberText,
  fc.jsonValue().map((value) => JSON.stringify(value)),
  fc.string({ unit: 'binary' }).map((value) => JSON.stringify(value)),
  fc.constantFrom('"\\ud800"', '"\\u0000"', 'null', '{"__proto__":1}', `"fe80::1%${'a'.repeat(50_000)}"`),
  fc.integer({ min: 1, max: 30_000 }).map((depth) => '['.repeat(depth) + ']'.repeat(depth)),
  fc.integer({ min: 1, max: 10_000 }).map((depth) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`),
  ...Object.values(RECORD).map((value) => fc.constant(JSON.stringify(value))),
);

test('a field with any other value is an error, or prints as JSON that matches the schema', () => {
  const names = [...Object.keys(RECORD), ...Object.keys(HEADER), '__proto__', 'constructor', 'toString', ''];
  const field = fc.tuple(fc.constantFrom(...names), valueText);
  /** The text of an object with replaced or duplicated fields. */
  const changed = (object: object, fields: readonly [string, string][], twice: boolean) => {
    const texts = Object.entries(object).map(([name, value]) => [name, JSON.stringify(value)] as const);
    const kept = twice ? texts : texts.filter(([name]) => !fields.some(([other]) => other === name));
    return `{${[...kept, ...fields].map(([name, text]) => `${JSON.stringify(name)}:${text}`).join(',')}}`;
  };
  fc.assert(
    fc.property(fc.array(field, { minLength: 1, maxLength: 3 }), fc.boolean(), (fields, twice) => {
      refusedOrValid([JSON.stringify(HEADER), JSON.stringify(RECORD), changed(RECORD, fields, twice)]);
      refusedOrValid([changed(HEADER, fields, twice), JSON.stringify(RECORD)]);
    }),
    { numRuns: 1000 },
  );
});

test('a changed line, or any text as a line, is an error, or prints as JSON that matches the schema', () => {
  const change = fc.tuple(fc.nat(700), fc.nat(3), fc.uint8Array({ maxLength: 4 }));
  const line = Buffer.from(JSON.stringify(RECORD));
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), valueText, (changes, text) => {
      const changed = changes.reduce(
        (bytes, [at, gone, come]) => Buffer.concat([bytes.subarray(0, at), come, bytes.subarray(at + gone)]),
        line,
      );
      refusedOrValid([JSON.stringify(HEADER), line, changed]);
      refusedOrValid([JSON.stringify(HEADER), line, text]);
      refusedOrValid([changed, line]);
      refusedOrValid([text, line]);
    }),
    { numRuns: 700 },
  );
});

test('times with too large a difference are an error', () => {
  const at = (time_s: number) => JSON.stringify({ ...RECORD, time_s });
  assert.is(read([JSON.stringify(HEADER), at(-4e9), at(5e9), at(-5e9)]).length, 3);
  assert.throws(
    () => read([JSON.stringify(HEADER), at(0), at(-6e9), at(6e9)]),
    'file:4: time_s is 6000000000, more than 10000000000 from the time of another line',
  );
});

test('the last line of a growing recording may be incomplete', () => {
  const reader = new RecordingReader({ name: 'file', isGrowing: true });
  const half = { bytes: Buffer.from(JSON.stringify(RECORD).slice(0, 50)), whole: false };
  assert.is(reader.isUnfinished(half), true);
  assert.is(reader.isUnfinished({ ...half, whole: true }), false, 'a line with its newline is finished');
  const whole = { bytes: Buffer.from(JSON.stringify(RECORD)), whole: false };
  assert.is(reader.isUnfinished(whole), false, 'all but the newline is there');
  assert.is(new RecordingReader({ name: 'file', isGrowing: false }).isUnfinished(half), false);
  assert.equal(read([], true), [], 'the first line is not there yet');
});

test('the name of a recording does not break the line of an error', () => {
  const reader = new RecordingReader({ name: 'a\nb\x1b[2J', isGrowing: false });
  assert.throws(() => reader.next({ bytes: Buffer.from('x'), whole: true }), 'a?b?[2J:1: it is not JSON');
});

test.run();
