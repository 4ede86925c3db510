/** The options of exporters on the command line. */
import * as assert from 'uvu/assert';
import { readArguments } from '../../../src/cli/arguments.ts';
import type { ExporterOptions } from '../../../src/cli/exporter-options.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/exporters/arguments');

const DEFAULTS: ExporterOptions = { maxLines: 5000, buckets: 2, intervalMs: 60_000, by: ['dest', 'port'] };
const LISTEN = { address: '127.0.0.1', port: 9435 };

const ACCEPTED: readonly (readonly [line: string, expected: Partial<ExporterOptions> | undefined])[] = [
  ['', undefined],
  ['--summary --by port', undefined],
  ['--prometheus', { listen: LISTEN }],
  ['--prometheus --listen 127.0.0.2:80', { listen: { address: '127.0.0.2', port: 80 } }],
  ['--prometheus --listen [::1]:0', { listen: { address: '::1', port: 0 } }],
  ['--prometheus --listen :65535', { listen: { address: '', port: 65_535 } }],
  ['--prometheus --buckets 8 --max-lines 500', { listen: LISTEN, buckets: 8, maxLines: 500 }],
  ['--prometheus --by all', { listen: LISTEN, by: [] }],
  ['--prometheus --by pod,net/16 --max-keys 100', { listen: LISTEN, by: ['net', 'pod'] }],
  ['--otlp http://localhost:4318', { otlp: 'http://localhost:4318/v1/metrics' }],
  ['--otlp https://h/x/y?z=1 --interval 0.5', { otlp: 'https://h/x/y?z=1', intervalMs: 500 }],
  ['--otlp http://[::1]:4318/', { otlp: 'http://[::1]:4318/v1/metrics' }],
  [
    '--otlp http://h --prometheus --interval 7 -q -d 5 0.5',
    { listen: LISTEN, otlp: 'http://h/v1/metrics', intervalMs: 7000 },
  ],
];

for (const [line, expected] of ACCEPTED)
  test(`'${line}' is accepted`, () => {
    const request = readArguments(line.split(' ').filter(Boolean), '1');
    if (request.action !== 'trace') throw new Error(JSON.stringify(request));
    assert.equal(request.options.exporters, expected && { ...DEFAULTS, ...expected });
    if (expected) assert.equal(request.options.summary?.by.parts, expected.by ?? DEFAULTS.by);
  });

const ADDRESS = 'It must be an address and a port: 127.0.0.1:9435, [::1]:9435, or :9435 for all addresses.';
const URL_FORM = 'It must be a URL: http://localhost:4318 or https://HOST/PATH.';

const REJECTED: readonly (readonly [line: string, message: string])[] = [
  ...['9435', '127.0.0.1', '127.0.0.1:', '127.0.0.1:65536', '127.0.0.1:-1', '127.0.0.1:1x', '::1:80'].map(
    (text) => [`--prometheus --listen ${text}`, ADDRESS] as const,
  ),
  ...['localhost:80', '[127.0.0.1]:80', '[]:80', '[::1]', '256.0.0.1:80', '127.0.0.1:80:80'].map(
    (text) => [`--prometheus --listen ${text}`, ADDRESS] as const,
  ),
  ...['collector:4318', 'collector', 'ftp://h', 'http://', 'http://h:99999', '/v1/metrics'].map(
    (text) => [`--otlp ${text}`, URL_FORM] as const,
  ),
  ['--otlp http://user:password@h', 'It must not have a password'],
  ['--prometheus --buckets 3', 'It must be one of 1, 2, 4, 8.'],
  ['--prometheus --max-lines 499', 'It must be a number from 500 to 1000000.'],
  ['--prometheus --by place', "'place' is not a key"],
  ['--listen :80', "option '--listen' needs '--prometheus'"],
  ['--otlp http://h --buckets 2', "option '--buckets' needs '--prometheus'"],
  ['--otlp http://h --max-lines 1000', "option '--max-lines' needs '--prometheus'"],
  ['--prometheus --interval 5', "option '--interval' needs "],
  ['--by port', "option '--by' needs "],
  ['--max-keys 100', "option '--max-keys' needs "],
  ['--prometheus --histogram', "option '--prometheus' cannot be used with option '--histogram'"],
  ...['--summary', '--json', '--wall', '--who', '--failed', '-t'].flatMap((other) =>
    ['--prometheus', '--otlp http://h'].map(
      (option) => [`${option} ${other}`, 'cannot be used with'] as const,
    ),
  ),
  ['--prometheus --record x', "option '--prometheus' cannot be used with option '--record <file>'"],
  ['--prometheus --replay x', "option '--prometheus' cannot be used with option '--replay <file>'"],
  ['--prometheus -n 3', "option '--prometheus' cannot be used with option '-n, --count <n>'"],
];

for (const [line, message] of REJECTED)
  test(`'${line}' is rejected on one line`, () => {
    const request = readArguments(line.split(' '), '1');
    if (request.action !== 'print') throw new Error(JSON.stringify(request));
    assert.is(request.status, 2);
    const [first = ''] = request.text.split('\n');
    assert.ok(first.startsWith('tcpconnlat: error: ') && first.includes(message), first);
  });

test.run();
