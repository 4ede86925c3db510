/** The lines of rows, written as bytes, are the lines of their records, made as strings. */
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { encodeValue, sampleView } from '../../src/asm/layout.ts';
import { formatAddress, writeAddress } from '../../src/cli/address.ts';
import { jsonLine, jsonWriter } from '../../src/cli/json.ts';
import { LineBuffer } from '../../src/cli/line-buffer.ts';
import { table } from '../../src/cli/printer/columns.ts';
import type { Caller } from '../../src/cli/record/caller.ts';
import { formatTime } from '../../src/cli/record/wall-clock.ts';
import { fieldsShown, recordOf, rowReader } from '../../src/cli/record.ts';
import { AF_INET, AF_INET6, type ConnectEvent, eventOf } from '../../src/programs/tcpconnlat/events.ts';
import { suite } from '../harness.ts';

const test = suite('cli/rows', { seconds: 60 });

const u32 = fc.oneof(fc.nat(70_000), fc.constantFrom(0, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1));
const u16 = fc.oneof(fc.nat(65_535), fc.constantFrom(0, 9, 10, 65_535));
const latencyNs = fc.oneof(
  fc.nat(2 ** 31 - 1),
  fc.constantFrom(0, 1, 5000, 15_000, 2 ** 53 - 1),
  fc.bigInt(0n, 2n ** 53n - 1n).map(Number),
);
/** Close to each other, so that times are small and some are negative, or anywhere. */
const startNs = fc.oneof(
  fc.bigInt(0n, 10_000n).map((ns) => 10n ** 15n + ns),
  fc.bigInt(0n, 10n ** 13n).map((ns) => 10n ** 15n + ns),
  fc.bigInt(0n, 2n ** 63n - 1n),
);
/** Addresses with many zeros, which have a short form, IPv4-mapped ones, and any. */
const octet = fc.oneof(fc.constant(0), fc.nat(15), fc.nat(255));
const ipv4 = fc.uint8Array({ minLength: 4, maxLength: 4 });
const ipv6 = fc.oneof(
  fc.array(octet, { minLength: 16, maxLength: 16 }).map((octets) => Uint8Array.from(octets)),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
  ipv4.map((tail) => Uint8Array.of(...new Uint8Array(10), 0xff, 0xff, ...tail)),
  fc.constantFrom(0, 1, 2, 3).map((last) => Uint8Array.of(...new Uint8Array(15), last)),
);
/** 16 bytes of a command name: ASCII, controls, bidirectional and invisible characters, invalid UTF-8. */
const comm = fc.oneof(
  fc.stringMatching(/^[a-z/:.-]{1,15}$/).map((text) => Buffer.from(text)),
  fc.uint8Array({ maxLength: 16 }),
  fc
    .array(
      fc.constantFrom('a', '"', '\\', '\x1b', '\n', '\u202e', '\u2028', '\u{e0041}', '\u{1f980}', '\u00e9'),
      {
        maxLength: 8,
      },
    )
    .map((characters) => Buffer.from(characters.join('')).subarray(0, 16)),
);
const digits = (length: number) => fc.stringMatching(new RegExp(`^[0-9a-f]{${length}}$`));
const name = fc.constantFrom('web', 'web-0', 'kube-system');
const anyText = fc.string({ unit: 'binary', minLength: 1, maxLength: 20 });
const caller: fc.Arbitrary<Caller> = fc.oneof(
  fc.constant({}),
  fc.record({ container: digits(64) }),
  fc.record({ container: digits(64), pod: fc.oneof(digits(32), digits(36)) }),
  fc.record(
    {
      ...{ unit: fc.constant('a\\x2db.service'), user_unit: fc.constant('app.scope') },
      ...{ container: digits(64), container_name: name, pod: digits(32) },
      ...{ exe: anyText, ppid: u32, parent: anyText, cmdline: anyText },
    },
    { requiredKeys: [] },
  ),
  fc.record({ container: digits(64), pod: digits(32), pod_name: name, pod_namespace: name }),
);

const anyEvent = fc.record({
  startNs,
  latencyNs,
  comm,
  family: fc.constantFrom(AF_INET, AF_INET6),
  numbers: fc.record({ pid: u32, uid: u32, local: u16, remote: u16, retransmits: u32 }),
  v4: fc.record({ remote: ipv4, local: ipv4 }),
  v6: fc.record({ remote: ipv6, local: ipv6 }),
  requested: fc.record({ address: ipv6, port: u16, family: fc.constantFrom(0, 2, 10) }),
  state: fc.constantFrom(0, 1, 7),
  cause: fc.record({
    error: fc.constantFrom(0, 0, 110, 111, 113, 4095, 2 ** 31 - 1),
    softError: fc.constantFrom(0, 113),
    segmentsIn: fc.nat(1),
    segmentsOut: fc.nat(1),
    socketState: fc.nat(3),
    exitCode: fc.constantFrom(0, 9),
  }),
  /** Which of the run's callers. */
  caller: fc.nat(2),
  /** Whether the line is one of a record, as those of connects in flight, between lines of rows. */
  isRecord: fc.boolean(),
});
type AnyEvent = typeof anyEvent extends fc.Arbitrary<infer E> ? E : never;

interface Layout {
  readonly v4: boolean;
  readonly v6: boolean;
  readonly source: 'socket' | 'record';
  readonly outcome: 'all' | undefined;
  readonly who: boolean;
  readonly requested: boolean;
}

/** The bytes of an event as a program sends them. */
function bytesOf(schema: ReturnType<typeof eventOf>, of: Layout, event: AnyEvent): Uint8Array {
  const { startNs, latencyNs, family, numbers, v4, v6, state, cause } = event;
  const value = {
    attempt: {
      ...{ startNs, task: { tid: 1, pid: numbers.pid }, comm: '' },
      ...(of.who && { user: { uid: numbers.uid, gid: 0 }, cgroup: 1n }),
      ...(of.requested && { requested: event.requested }),
    },
    endNs: BigInt.asUintN(64, startNs + BigInt(latencyNs)),
    ...{ latencyNs, ports: { remote: numbers.remote, local: numbers.local }, family },
    ...(of.v4 && { v4 }),
    ...(of.v6 && { v6 }),
    ...(of.outcome && { ended: { state, retransmits: numbers.retransmits } }),
    ...(of.outcome && of.source === 'socket' && { cause }),
  };
  const bytes = encodeValue(schema, value as ConnectEvent);
  bytes.set(event.comm, 16); // any bytes, which encodeValue refuses
  return bytes;
}

const anyRun = fc.record({
  events: fc.array(anyEvent, { minLength: 1, maxLength: 12 }),
  callers: fc.tuple(caller, caller, caller),
  layout: fc.record({
    ...{ v4: fc.boolean(), v6: fc.boolean(), who: fc.boolean(), requested: fc.boolean() },
    source: fc.constantFrom('socket' as const, 'record' as const),
    outcome: fc.constantFrom('all' as const, undefined),
  }),
  shown: fc.record({
    ...{ timestamp: fc.boolean(), lport: fc.boolean(), wall: fc.boolean(), resolve: fc.boolean() },
  }),
});

function taken(line: LineBuffer): string {
  const text = line.bytes.toString('utf8', line.start, line.end);
  line.end = line.start;
  return text;
}

test('columns and JSON of any events are the same in bytes and as strings', () => {
  fc.assert(
    fc.property(anyRun, ({ events, callers, layout, shown }) => {
      const { outcome, who, requested } = layout;
      const options = { ...shown, outcome, who, requested };
      const schema = eventOf(layout, layout.source, { details: outcome !== undefined, who, requested });
      const sample = sampleView(schema);
      let where: Caller = {};
      const read = rowReader({
        ...(shown.wall && { wallClock: (ns) => formatTime(ns % 10n ** 18n) }),
        callers: () => where,
      });
      const [strings, bytes] = [table(options), table(options)];
      const fields = fieldsShown(options);
      const writeJson = jsonWriter(fields);
      const line = new LineBuffer();
      for (const event of events) {
        where = callers[event.caller] ?? {};
        const row = read(sample(new DataView(bytesOf(schema, layout, event).buffer), 0));
        const record = recordOf(row);
        if (event.isRecord) line.text(bytes.line(record));
        else bytes.write(line, row);
        assert.is(taken(line), strings.line(record));
        assert.is(bytes.outgrown, strings.outgrown);
        writeJson(line, row);
        assert.is(taken(line), jsonLine(record, fields));
      }
      assert.is(bytes.header(), strings.header());
    }),
  );
});

/** The text of an address in groups of four digits, without any abbreviation. */
function inFull(bytes: Uint8Array): string {
  return (Buffer.from(bytes).toString('hex').match(/.{4}/g) ?? []).join(':');
}

/** The form of the URL standard, which writes no part in decimal. */
const urlForm = (text: string) => new URL(`http://[${text}]/`).hostname.slice(1, -1);

test('addresses are the canonical form that the URL standard has', () => {
  const line = new LineBuffer();
  fc.assert(
    fc.property(ipv6, ipv4, (six, four) => {
      assert.is(writeAddress(line, four), new URL(`http://${four.join('.')}/`).hostname.length);
      assert.is(taken(line), new URL(`http://${four.join('.')}/`).hostname);
      const length = writeAddress(line, six);
      const text = taken(line);
      assert.is(length, text.length);
      assert.is(text, formatAddress(six));
      const canonical = urlForm(inFull(six));
      if (/^::ffff:[0-9.]+$/.test(text)) assert.is(urlForm(text), canonical);
      else assert.is(text, canonical);
    }),
  );
});

test.run();
