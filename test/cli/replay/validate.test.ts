import type { TSchema } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import * as assert from 'uvu/assert';
import { headerSchema, recordSchema } from '../../../src/cli/json.ts';
import { violation } from '../../../src/cli/replay/validate.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/replay/validate');

const RECORD = {
  ...{ time_s: 0.5, time: '2026-11-25T15:39:56.123456Z', pid: 1201, comm: 'wget', uid: 33 },
  ...{ container: 'a'.repeat(64), pod: '8dbd9b2e-1f4c-4ab2-b9a1-0c6a5f7e9d21', ip: 4 },
  ...{ saddr: '10.0.0.7', lport: 50322, daddr: '192.0.2.1', dport: 443, lat_ms: 1.25 },
};
const HEADER = {
  ...{ tsbpf: 'tcpconnlat', format: 1, version: '0.1.0', host: 'vm', kernel: '6.12.0', way: 'kprobe' },
  ...{ options: ['-t'], started: '2026-11-25T15:39:56.123000Z', fields: ['time'] },
};

test('valid values have no violation', () => {
  assert.is(violation(recordSchema(), RECORD), undefined);
  assert.is(violation(headerSchema(), HEADER), undefined);
});

/** A value with as many levels as a line of a recording can have. */
function nested(open: string, close: string): unknown {
  const levels = Math.floor(65_000 / (open.length + close.length));
  return JSON.parse(`${open.repeat(levels)}${open === '[' ? '' : 1}${close.repeat(levels)}`);
}

test('only a connect in flight may lack endpoints', () => {
  for (const name of ['ip', 'saddr', 'lport', 'daddr', 'dport'] as const) {
    const { [name]: _, ...rest } = RECORD;
    assert.is(violation(recordSchema(), rest), `it has no ${name}`);
    assert.is(violation(recordSchema(), { ...rest, result: 'aborted' }), `it has no ${name}`);
    assert.is(violation(recordSchema(), { ...rest, result: 'pending' }), undefined);
  }
});

const violations: readonly (readonly [object, unknown, string | RegExp])[] = [
  [recordSchema(), [], 'it is [], expected object'],
  [recordSchema(), null, 'it is null, expected object'],
  [recordSchema(), JSON.parse('{"time_s":1}'), 'it has no pid'],
  [recordSchema(), { ...RECORD, dport: '443' }, 'dport is "443", expected integer'],
  [recordSchema(), { ...RECORD, dport: 65_536 }, 'dport is 65536, more than 65535'],
  [recordSchema(), { ...RECORD, pid: 1.5 }, 'pid is 1.5, expected integer'],
  [recordSchema(), { ...RECORD, lat_ms: -1 }, 'lat_ms is -1, less than 0'],
  [recordSchema(), { ...RECORD, ip: 5 }, 'ip is 5, expected 4 or 6'],
  [
    recordSchema(),
    { ...RECORD, comm: 'sixteen letters!' },
    'comm is "sixteen letters!", expected thread name',
  ],
  [recordSchema(), { ...RECORD, time: 'now' }, 'time is "now", expected time of day in UTC'],
  [
    recordSchema(),
    { ...RECORD, time: '2026-02-30T00:00:00.000000Z' },
    'time is "2026-02-30T00:00:00.000000Z", expected time of day in UTC',
  ],
  [recordSchema(), { ...RECORD, time_s: 1e308 }, 'time_s is 1e+308, more than 10000000000'],
  [recordSchema(), { ...RECORD, time_s: -2e10 }, 'time_s is -20000000000, less than -10000000000'],
  [recordSchema(), { ...RECORD, time_s: Number.POSITIVE_INFINITY }, 'time_s is Infinity, expected number'],
  [recordSchema(), { ...RECORD, pid: Number.POSITIVE_INFINITY }, 'pid is Infinity, expected integer'],
  [recordSchema(), { ...RECORD, lat_ms: 1e14 }, 'lat_ms is 100000000000000, more than 10000000000000'],
  [recordSchema(), { ...RECORD, pid: 4_194_305 }, 'pid is 4194305, more than 4194304'],
  [recordSchema(), { ...RECORD, uid: 2 ** 32 }, 'uid is 4294967296, more than 4294967295'],
  [recordSchema(), { ...RECORD, saddr: 'fe80::1%eth0' }, 'saddr is "fe80::1%eth0", expected IP address'],
  [recordSchema(), { ...RECORD, host: 'two words' }, 'host is "two words", expected name'],
  [recordSchema(), { ...RECORD, result: 'odd' }, 'result is "odd", expected result'],
  [recordSchema(), { ...RECORD, errno: 'x' }, 'errno is "x", expected error name'],
  [recordSchema(), nested('[', ']'), `it is ${'['.repeat(39)}\u2026, expected object`],
  [
    recordSchema(),
    { ...RECORD, comm: nested('{"a":', '}') },
    /^comm is (\{"a":){7}\{"a"\u2026, expected string$/,
  ],
  [headerSchema(), { ...HEADER, host: 'x'.repeat(65) }, 'host has more than 64 characters'],
  [headerSchema(), { ...HEADER, fields: Array(30).fill('x') }, 'fields has more than 29 items'],
  [recordSchema(), { ...RECORD, retries: 1 }, 'it has an unknown field "retries"'],
  [recordSchema(), { ...RECORD, toString: 1 }, 'it has an unknown field "toString"'],
  [recordSchema(), { ...RECORD, ['x'.repeat(99)]: 1 }, `it has an unknown field "${'x'.repeat(38)}…`],
  [headerSchema(), { ...HEADER, format: 2 }, 'format is 2, expected 1'],
  [headerSchema(), { ...HEADER, options: ['-t', 1] }, 'an item of options is 1, expected string'],
  [headerSchema(), { ...HEADER, options: '-t' }, 'options is "-t", expected array'],
];
for (const [schema, value, message] of violations)
  test(`${message}`, () => {
    const found = violation(schema, value);
    if (typeof message === 'string') assert.is(found, message);
    else assert.match(`${found}`, message);
  });

test('it accepts the same values as TypeBox', () => {
  const values = [
    null,
    true,
    0,
    -1,
    1.5,
    4,
    6,
    65_535,
    65_536,
    2 ** 32 - 1,
    2 ** 32,
    2 ** 53,
    1e10,
    1e13,
    1e308,
    -1e308,
    Number.POSITIVE_INFINITY,
    '::1',
    '2026-02-29T00:00:00.000000Z',
    '2024-02-29T00:00:00.000000Z',
    'established',
    'errno 4095',
    '\u{1f600}'.repeat(8),
    'x'.repeat(65),
    '',
    'x',
    'a'.repeat(64),
    [],
    ['x'],
    [1],
    {},
  ];
  for (const [schema, valid] of [
    [recordSchema(), RECORD],
    [headerSchema(), HEADER],
  ] as [TSchema, Record<string, unknown>][]) {
    for (const name of [...Object.keys(schema.properties), 'other'])
      for (const value of values) {
        const changed = { ...valid, [name]: value };
        assert.is(
          violation(schema, changed) === undefined,
          Value.Check(schema, changed),
          `${name}: ${JSON.stringify(value)}`,
        );
      }
    for (const name of Object.keys(valid)) {
      const { [name]: _, ...without } = valid;
      // TypeBox ignores `else`, which holds for every value here.
      const strict = { ...schema, required: [...schema.required, ...(schema.else?.required ?? [])] };
      assert.is(violation(schema, without) === undefined, Value.Check(strict, without), `without ${name}`);
    }
  }
});

test('a schema with an unsupported keyword is an error', () => {
  assert.throws(() => violation({ multipleOf: 2 }, 4), /keyword 'multipleOf' is not supported/);
});

test.run();
