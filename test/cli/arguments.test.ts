import * as assert from 'uvu/assert';
import { DEFAULT_BY, DEFAULT_MAX_KEYS } from '../../src/cli/aggregate/by.ts';
import type { SummaryOptions } from '../../src/cli/arguments/request.ts';
import { type Options, type Request, readArguments } from '../../src/cli/arguments.ts';
import { DEFAULT_PAGES } from '../../src/loader/session.ts';
import { DEFAULT_MAX_ATTEMPTS } from '../../src/programs/tcpconnlat/options.ts';
import { suite } from '../harness.ts';

const test = suite('cli/arguments');

const read = (...args: string[]): Request => readArguments(args, '1.2.3');

function options(...args: string[]): Options {
  const request = read(...args);
  if (request.action !== 'trace') throw new Error(`${args.join(' ')}: ${JSON.stringify(request)}`);
  return request.options;
}

function printed(...args: string[]): { text: string; status: 0 | 2 } {
  const request = read(...args);
  if (request.action !== 'print') throw new Error(`${args.join(' ')}: ${JSON.stringify(request)}`);
  return request;
}

const network = (first: number, second: number, prefix: number) => ({
  address: Uint8Array.of(first, second, 0, 0),
  prefix,
});
const ofProcess = (pid: number) => ({ pid: { only: [[pid, pid] as const] } });

const DEFAULTS: Options = {
  timestamp: false,
  lport: false,
  json: false,
  filter: {},
  wall: false,
  who: false,
  requested: false,
  resolve: false,
  record: undefined,
  report: undefined,
  family: undefined,
  minNs: undefined,
  outcome: undefined,
  probe: 'auto',
  btf: undefined,
  pages: DEFAULT_PAGES,
  verbose: false,
  keepPrivileges: false,
  dryRun: false,
  quiet: false,
  maxConnects: DEFAULT_MAX_ATTEMPTS,
  durationMs: undefined,
  pendingMs: undefined,
  count: undefined,
};

const SUMMARY: SummaryOptions = {
  by: DEFAULT_BY,
  top: false,
  intervalMs: undefined,
  histogram: false,
  maxKeys: DEFAULT_MAX_KEYS,
};

test('without arguments it traces all connects and shows columns', () => {
  assert.equal(options(), DEFAULTS);
});

const accepted: [string, Partial<Options>][] = [
  ['-t', { timestamp: true }],
  ['--timestamp', { timestamp: true }],
  ['-p 181', { filter: ofProcess(181) }],
  ['-p181', { filter: ofProcess(181) }],
  ['--pid 181', { filter: ofProcess(181) }],
  ['--pid=181', { filter: ofProcess(181) }],
  ['--pid 4194304', { filter: ofProcess(4_194_304) }],
  ['-p 7,7 --pid 8', { filter: { pid: { only: [[7, 8]] } } }],
  [
    '--port 80-81 --port 90 --not-port 22',
    {
      filter: {
        port: {
          only: [
            [80, 81],
            [90, 90],
          ],
          not: [[22, 22]],
        },
      },
    },
  ],
  ['--not-port 22', { filter: { port: { not: [[22, 22]] } } }],
  [
    '--to 10.0.0.0/8 --not-to 10.1.0.0/16',
    { filter: { to: { only: [network(10, 0, 8)], not: [network(10, 1, 16)] } } },
  ],
  ['--from 10.1.0.0/16', { filter: { from: { only: [network(10, 1, 16)] } } }],
  ['--not-from 10.1.0.0/16', { filter: { from: { not: [network(10, 1, 16)] } } }],
  [
    '--uid root,7',
    {
      filter: {
        uid: {
          only: [
            [0, 0],
            [7, 7],
          ],
        },
      },
    },
  ],
  ['--uid 0 --not-uid 1-9', { filter: { uid: { only: [[0, 0]], not: [[1, 9]] } } }],
  [
    '--unit nginx,a@b,x.scope --unit ng* --unit nginx --not-unit b.mount',
    {
      filter: {
        unit: { only: ['nginx.service', 'a@b.service', 'x.scope', 'ng*'], not: ['b.mount'] },
      },
    },
  ],
  [
    '--pod cart-*,web-0 --not-pod web-? --namespace shop --not-namespace kube-*',
    {
      filter: {
        pod: { only: ['cart-*', 'web-0'], not: ['web-?'] },
        namespace: { only: ['shop'], not: ['kube-*'] },
      },
    },
  ],
  ['--comm a,b --comm c --not-comm d', { filter: { comm: { only: ['a,b', 'c'], not: ['d'] } } }],
  ['--cgroup /a --cgroup /b', { filter: { cgroup: { only: ['/a', '/b'] } } }],
  ['--netns 1 --netns /run/netns/a', { filter: { netns: { only: ['1', '/run/netns/a'] } } }],
  ['-L', { lport: true }],
  ['--lport', { lport: true }],
  ['-4', { family: 4 }],
  ['--ipv4', { family: 4 }],
  ['-6', { family: 6 }],
  ['--ipv6', { family: 6 }],
  ['-v', { verbose: true }],
  ['--verbose', { verbose: true }],
  ['--json', { json: true }],
  ['--outcome', { outcome: 'all' }],
  ['--failed', { outcome: 'failures' }],
  ['--outcome --failed -t 5', { outcome: 'failures', timestamp: true, minNs: 5_000_000 }],
  ['--wall', { wall: true }],
  ['--who', { who: true }],
  ['--requested', { requested: true }],
  ['--resolve', { resolve: true }],
  ['--record x.jsonl', { record: 'x.jsonl' }],
  ['--report x.html', { report: 'x.html' }],
  ['--dry-run', { dryRun: true }],
  ['--probe kprobe', { probe: 'kprobe' }],
  ['--probe fentry', { probe: 'fentry' }],
  ['--probe trace_event', { probe: 'trace_event' }],
  ['--btf vmlinux.btf', { btf: 'vmlinux.btf' }],
  ['--btf=/a/b --probe kprobe', { btf: '/a/b', probe: 'kprobe' }],
  ['--probe tracepoint', { probe: 'tracepoint' }],
  ['--probe=tp_btf', { probe: 'tp_btf' }],
  ['--probe raw_tracepoint', { probe: 'raw_tracepoint' }],
  ['--pages 1', { pages: 1 }],
  ['--pages 65536', { pages: 65_536 }],
  ['-d 10', { durationMs: 10_000 }],
  ['--duration=.5', { durationMs: 500 }],
  ['-d 0.0001', { durationMs: 1 }],
  ['--duration 2147483', { durationMs: 2_147_483_000 }],
  ['--pending', { pendingMs: 5_000 }],
  ['--pending-after 2.5', { pendingMs: 2_500 }],
  ['--pending --pending-after=0.5 --failed', { pendingMs: 500, outcome: 'failures' }],
  ['-n 1', { count: 1 }],
  ['--count 4294967295', { count: 4_294_967_295 }],
  ['--max-connects 1', { maxConnects: 1 }],
  ['--max-connects 16777216', { maxConnects: 16_777_216 }],
  ['0', { minNs: 0 }],
  ['10', { minNs: 10_000_000 }],
  ['1.5', { minNs: 1_500_000 }],
  ['.25', { minNs: 250_000 }],
  ['2.', { minNs: 2_000_000 }],
  ['0.000001', { minNs: 1 }],
  ['-tL6 -p 7 2.5', { timestamp: true, lport: true, family: 6, filter: ofProcess(7), minNs: 2_500_000 }],
  ['2.5 -v', { minNs: 2_500_000, verbose: true }],
  ['-- 3', { minNs: 3_000_000 }],
  ['--top', { summary: { ...SUMMARY, top: true, intervalMs: 2_000 } }],
  ['--summary', { summary: SUMMARY }],
  [
    '--top --summary --by all --interval 0.5 --max-keys 64 -q 1',
    {
      summary: { ...SUMMARY, by: { ...DEFAULT_BY, parts: [] }, top: true, intervalMs: 500, maxKeys: 64 },
      ...{ quiet: true, minNs: 1_000_000 },
    },
  ],
];
for (const [line, changes] of accepted)
  test(`tcpconnlat ${line}`, () => {
    assert.equal(options(...line.split(' ')), { ...DEFAULTS, ...changes });
  });

const invalid: [string, RegExp][] = [
  ['--nonsense', /unknown option '--nonsense'/],
  ['-x', /unknown option '-x'/],
  ['-1', /unknown option '-1'/],
  ['-- -1', /'-1' is invalid for argument 'min_ms'.*number of milliseconds from 0/],
  ['abc', /'abc' is invalid for argument 'min_ms'/],
  ['1e3', /'1e3' is invalid/],
  ['0x10', /'0x10' is invalid/],
  ['.', /'\.' is invalid/],
  ['1,5', /'1,5' is invalid/],
  ['NaN', /'NaN' is invalid/],
  ['Infinity', /'Infinity' is invalid/],
  ['9007199255', /from 0 to 9007199254/],
  ['1 2', /too many arguments/],
  ['-p', /argument missing/],
  ['-p abc', /'abc' is invalid.*It must be a process id from 1 to 4194304/],
  ['-p 0', /'0' is invalid/],
  ['-p -1', /'-1' is invalid/],
  ['-p 1.5', /'1\.5' is invalid/],
  ['-p 4194305', /'4194305' is invalid/],
  ['--port http', /'--port <ports>' argument 'http' is invalid.*'http' is not a port/],
  ['--port 1 --port 2-x', /'2-x' is not a port/],
  ['--not-port', /argument missing/],
  ['--to 10.1.2.3/8', /'--to <networks>' argument .* use 10\.0\.0\.0\/8 for the network/],
  [
    '--uid nobody-at-all',
    /'nobody-at-all' is invalid\. 'nobody-at-all' is not a user in \/etc\/passwd; use the number/,
  ],
  ['--uid 0 --not-uid root', /option '--not-uid' excludes every value/],
  ['--uid 5-1', /'5-1' is not a user id/],
  ['--comm a-name-that-is-too-long', /thread names to 15 bytes; this name has 23\.$/m],
  ['--comm=', /"''" in quotes selects threads with an empty name/],
  ['--comm \\x00', /do not contain NUL/],
  ['--comm \ufffd', /not UTF-8, or U\+FFFD; write them as \\xNN/],
  ['--port 80-90 --not-port 1-100', /option '--not-port' excludes every value of '--port'/],
  ['--uid 0 --not-uid 0', /option '--not-uid' excludes every value/],
  ['--unit a --not-unit b --not-unit a.service', /option '--not-unit' excludes every value/],
  ['--unit system.slice', /'system.slice' is a slice, which groups units; use --cgroup with its folder/],
  ['--unit a/b', /'a\/b' is not such a name; examples: nginx or php@\*\.service/],
  ['--unit a,,b', /'' is not such a name/],
  ['--pod a_b', /'a_b' is not such a name; examples: shop or cart-7d9f\*/],
  ['--namespace', /argument missing/],
  ['--comm a --not-comm b --not-comm a', /option '--not-comm' excludes every value/],
  ['--to 10.0.0.0/8 --not-to ::ffff:10.0.0.0/104', /'--to' and '--not-to' both contain 10\.0\.0\.0\/8/],
  ['--not-from ::1 --from ::1/128', /'--from' and '--not-from' both contain ::1\/128/],
  ['--probe trace_event --netns 1', /'--netns <file\|pid>' cannot be used with '--probe trace_event'/],
  ['--summary --failed', /'--summary' cannot be used with option '--failed'|'--failed' cannot be used with/],
  ['--summary -n 3', /'--summary' cannot be used with option '-n, --count <n>'/],
  ['--summary --record x', /'--summary' cannot be used with option '--record <file>'/],
  ['--summary --replay x', /cannot be used with option/],
  ['--summary --by dst', /'--by <keys>' argument 'dst' is invalid\. 'dst' is not a key; choose from dest, /],
  ['--summary --max-keys 63', /'--max-keys <n>' argument '63' is invalid\. It must be a number from 64 to /],
  ['--summary --interval 0', /'--interval <seconds>' argument '0' is invalid\. It must be a number of sec/],
  ['--histogram', /error: option '--histogram' needs '--summary'/],
  ['--interval 1', /option '--interval' needs '--summary'/],
  ['--by port', /option '--by' needs '--summary'/],
  ['--max-keys 64', /option '--max-keys' needs '--summary'/],
  ['-4 -6', /'-4, --ipv4' cannot be used with option '-6, --ipv6'|'-6, --ipv6' cannot be used with/],
  ['-6 --ipv4', /cannot be used with/],
  ['--probe magic', /'magic' is invalid.*kprobe.*tracepoint/],
  ['--btf', /argument missing/],
  [
    '--btf x --probe tp_btf',
    /'--btf <file>' cannot be used with '--probe tp_btf', which needs the BTF of the running kernel/,
  ],
  ['--probe fentry --btf x', /cannot be used with '--probe fentry'/],
  ['--record', /argument missing/],
  ['--record -', /'-' is invalid.*It must be a file/],
  ['--record x --dry-run', /'--record <file>' cannot be used with option '--dry-run'/],
  ['--report -', /'-' is invalid.*It must be a file/],
  ['--report x --dry-run', /'--report <file>' cannot be used with option '--dry-run'/],
  ['--record x --report y/../x', /'--record <file>' and '--report <file>' name the same file/],
  ['--replay x --report ./x', /'--replay <file>' and '--report <file>' name the same file/],
  ['--replay', /argument missing/],
  ['--pages 0', /'0' is invalid/],
  ['-d 0', /'0' is invalid.*It must be a number of seconds above 0, up to 2147483\./],
  ['-d 2147484', /'2147484' is invalid/],
  ['-d 1e3', /'1e3' is invalid/],
  ['-d -1', /'-1' is invalid/],
  ['-d', /argument missing/],
  ['--pending-after', /argument missing/],
  ['--pending-after 0', /'0' is invalid.*It must be a number of seconds above 0, up to 2147483\./],
  ['--pending-after -5', /'-5' is invalid/],
  ['--pending-after 5s', /'5s' is invalid/],
  ['--pending-after 2147484', /'2147484' is invalid/],
  ['-n 0', /'0' is invalid.*It must be a number from 1 to 4294967295\./],
  ['-n 1.5', /'1\.5' is invalid/],
  ['-n 4294967296', /'4294967296' is invalid/],
  ['--max-connects 0', /'0' is invalid.*It must be a number from 1 to 16777216\./],
  ['--max-connects 16777217', /'16777217' is invalid/],
  ['--pages 3', /It must be a power of two/],
  ['--pages 131072', /'131072' is invalid/],
  ['--pages two', /'two' is invalid/],
  ['--top --json', /'--top' cannot be used with option '--json'/],
  ['--top --histogram', /'--top' cannot be used with option '--histogram'/],
  ['--top -v', /'--top' cannot be used with option '-v, --verbose'/],
  ['--top --outcome', /'--top' cannot be used with option '--outcome'/],
  ['--top --replay x', /'--top' cannot be used with option '--replay <file>'/],
  [
    '--top --prometheus',
    /'--prometheus' cannot be used with option '--top'; both show the same counts: run a second tcpconnlat for the table$/m,
  ],
  ['--summary --otlp http://[::1]:1', /'--otlp <url>' cannot .* '--summary'; both show the same counts/],
  [
    '--prometheus --report x',
    /'--report <file>'; an exporter shows no single connects: run a second tcpconnlat for them$/m,
  ],
  [
    '--summary --report x',
    /'--summary' cannot .* '--report <file>'; it needs every connect, .* a second tcpconnlat/,
  ],
  ['--interval 5', /'--interval' needs '--summary', '--top' or '--otlp'/],
  ['--by port', /'--by' needs '--summary', '--top', '--prometheus' or '--otlp'/],
  ['--histogram', /'--histogram' needs '--summary'/],
];
for (const [line, expected] of invalid)
  test(`tcpconnlat ${line}: an error with usage and status 2`, () => {
    const { text, status } = printed(...line.split(' '));
    assert.is(status, 2);
    const [message = '', usage, hint, ...more] = text.trimEnd().split('\n');
    assert.match(message, /^tcpconnlat: error: /);
    assert.match(message, expected);
    assert.is(usage, 'Usage: tcpconnlat [options] [min_ms]');
    assert.is(hint, "Try 'tcpconnlat --help'.");
    assert.equal(more, []);
  });

test('an empty min_ms is an error', () => {
  assert.is(printed('').status, 2);
});

test('an empty recording path is an error', () => {
  const { text, status } = printed('--record', '');
  assert.is(status, 2);
  assert.match(text, /^tcpconnlat: error: .*'' is invalid\. It must not be empty\.\n/);
});

test('--summary has the defaults of its options, and those of the command line', () => {
  const summaryOf = (...args: string[]) => {
    const request = read(...args);
    return request.action === 'trace' ? request.options.summary : undefined;
  };
  assert.is(summaryOf('--json'), undefined);
  const prefixes = { v4: 24, v6: 64 };
  assert.equal(summaryOf('--summary'), {
    by: { parts: ['dest', 'port'], prefixes },
    intervalMs: undefined,
    histogram: false,
    maxKeys: 10_240,
    top: false,
  });
  const all = '--summary --by net/16,user --interval 2.5 --histogram --max-keys 500 --json -d 9 100'.split(
    ' ',
  );
  assert.equal(summaryOf(...all), {
    by: { parts: ['net', 'user'], prefixes: { v4: 16, v6: 64 } },
    intervalMs: 2500,
    histogram: true,
    maxKeys: 500,
    top: false,
  });
});

for (const flag of ['-h', '--help'])
  test(`${flag} prints the options in groups and the examples, with status 0`, () => {
    const { text, status } = printed(flag);
    assert.is(status, 0);
    assert.match(text, /^Usage: tcpconnlat \[options\] \[min_ms\]\n/);
    const titles = [...text.matchAll(/^(\S.*):$/gm)].map(([, title = '']) => title.replace(/ \(.*/, ''));
    assert.equal(titles, [
      ...['Arguments', 'Filters', 'Failures', 'Output', 'Summaries', 'Exporters', 'End of the run'],
      ...['Recordings and reports', 'Probes', 'Print and exit', 'Examples'],
    ]);
    assert.match(text, /\nExamples:\n( {2}tcpconnlat .*\n)+$/);
    for (const line of text.split('\n')) assert.ok(line.length <= 80, line);
    for (const group of text.split('\n\n')) assert.ok(group.split('\n').length <= 24, 'one screen');
  });

test('--replay works with every option that does not need the kernel', () => {
  const request = read(
    '--replay',
    'x.jsonl',
    ...'-tL6 -p 7 --json --wall --who --resolve -n 3 2.5'.split(' '),
  );
  if (request.action !== 'replay') throw new Error(JSON.stringify(request));
  assert.is(request.file, 'x.jsonl');
  assert.equal(request.options, {
    ...DEFAULTS,
    ...{ timestamp: true, lport: true, family: 6, filter: ofProcess(7), json: true, minNs: 2_500_000 },
    ...{ wall: true, who: true, resolve: true, count: 3 },
  });
  assert.is(read('--replay', '-').action, 'replay');
});

for (const line of [
  ...['--probe kprobe', '--btf x', '--pages 64', '-v', '--dry-run', '--record y'],
  ...['--cgroup /', '--netns 1', '--duration 1', '--max-connects 9', '--pending-after 1'],
])
  test(`tcpconnlat --replay x ${line}: an error`, () => {
    const { text, status } = printed('--replay', 'x', ...line.split(' '));
    assert.is(status, 2);
    const [option = ''] = line.split(' ');
    assert.match(
      text,
      new RegExp(`^tcpconnlat: error: option '--replay <file>' cannot be used with option '.*${option}`),
    );
  });

test('every example of the help text is a valid command line', () => {
  const examples = [...printed('--help').text.matchAll(/^ {2}tcpconnlat((?: \S+)*)(?: {2,}|$)/gm)];
  assert.ok(examples.length >= 5);
  for (const [, line = ''] of examples)
    assert.is.not(read(...line.split(' ').filter(Boolean)).action, 'say', line);
});

test('--version prints only the version, with status 0', () => {
  assert.equal(printed('--version'), { action: 'print', text: '1.2.3\n', status: 0 });
});

test('--json-schema requests the schema, with and without other options', () => {
  assert.equal(read('--json-schema'), { action: 'schema' });
  assert.equal(read('--json', '--json-schema', '-4'), { action: 'schema' });
});

test('--diagnose requests the report, for the options of the command line', () => {
  assert.equal(read('--diagnose'), { action: 'diagnose', options: DEFAULTS });
  assert.equal(read('--diagnose', '-4', '--failed'), {
    action: 'diagnose',
    options: { ...DEFAULTS, family: 4, outcome: 'failures' },
  });
});

test('--completion requests the script of a supported shell', () => {
  assert.equal(read('--completion', 'fish'), { action: 'completion', shell: 'fish' });
  assert.equal(read('-t', '--completion=zsh'), { action: 'completion', shell: 'zsh' });
  assert.match(printed('--completion', 'tcsh').text, /'tcsh' is invalid.*bash, zsh, fish/);
});

test.run();
