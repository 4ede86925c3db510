/** The screen of `--top`: its lines, from the state alone. */
import * as assert from 'uvu/assert';
import { layout } from '../../../src/cli/top/layout.ts';
import { painted, plain } from '../../../src/cli/top/line.ts';
import type { State } from '../../../src/cli/top/state.ts';
import { columnsOf } from '../../../src/cli/width.ts';
import { suite } from '../../harness.ts';
import { assertSafe, HOSTILE } from '../../hostile.ts';
import { after, connects, dest, interval, record, screenOf, view } from './views.ts';

const test = suite('cli/top/layout');

const example = [
  ...connects(dest('192.0.2.7', 5432), 80, 0.341),
  ...connects(dest('192.0.2.7', 5432), 20, 2.132),
  ...connects(dest('192.0.2.20'), 8, 0.25, 'refused'),
  ...connects(dest('192.0.2.30', 25), 2, 3003.9, 'aborted'),
];
const slowest = [
  record({ daddr: '192.0.2.30', dport: 25, result: 'aborted', lat_ms: 3003.9, comm: 'exim4', pid: 77 }),
  record({ daddr: '::ffff:192.0.2.7', dport: 5432, lat_ms: 2.132, retransmits: 1 }),
];
const failed = slowest.slice(0, 1);
const busy = (columns = 80, rows = 24) =>
  after(view(columns, rows), interval(0, example, { slowest, failed }), interval(1, example));

test('the screen at 80x24', () => {
  assert.equal(screenOf(busy()), [
    'tcpconnlat  web-01  Linux 6.12.57  kprobe  every 1 s                09:12:41 UTC',
    '220 connects in 2 s  110/s  20 failed  (9.1 %)  p99 2.132 ms  3 keys  lost 0',
    'DEST       PORT COUNT▼ RATE/s FAILED RETR p50(ms) p90(ms) p99(ms) MAX(ms)',
    '192.0.2.7  5432    200    100      0    0   0.341   2.132   2.132   2.132',
    '192.0.2.20 443      16    8.0     16    0   0.250   0.250   0.250   0.250',
    '192.0.2.30 25        4    2.0      4    0       -       -       -       -',
    ...Array(10).fill(''),
    `─ failures, last ones first ${'─'.repeat(52)}`,
    '  now  16  refused  192.0.2.20 443',
    '  now   4  aborted  192.0.2.30 25   exim4[77] 3003.9 ms',
    ...Array(4).fill(''),
    'q quit  ? help  ↑↓ select  ⏎ histogram  / filter  <> sort  r reverse  p pause',
  ]);
});

test('a wide screen has all columns, and a small one the most important ones', () => {
  const [wide, small] = [screenOf(busy(120, 40)), screenOf(busy(40, 10))];
  assert.is(
    wide[2],
    'DEST       PORT COUNT▼ RATE/s FAILED REFUSED ABORTED RETR p50(ms) p90(ms) p99(ms) MAX(ms)',
  );
  assert.equal(small, [
    'tcpconnlat  web-01  kprobe  09:12:41 UTC',
    '220 connects in 2 s  20 failed  lost 0',
    'DEST       PORT COUNT▼ FAILED p99(ms)',
    '192.0.2.7  5432    200      0   2.132',
    '192.0.2.20 443      16     16   0.250',
    '192.0.2.30 25        4      4       -',
    ...Array(3).fill(''),
    'q quit  ? help  ↑↓ select  ⏎ histogram',
  ]);
});

/** States of every kind, for a size. */
function* states(columns: number, rows: number): Generator<[string, State]> {
  const hostile = { dest: HOSTILE, port: '1', comm: HOSTILE };
  const wide = { dest: '2001:db8:1111:2222:3333:4444:5555:6666', port: '65535', comm: '漢字かな交じり文' };
  const list = [
    ...connects(hostile, 3, 5, 'refused'),
    ...connects(wide, 10_000, 0.5),
    ...connects(wide, 1, 127_000, 'timed-out'),
    ...connects({ dest: '10.0.0.1', port: '1', comm: '' }, 1, 200_000, 'EACCES'),
  ];
  const slowest = [record({ daddr: HOSTILE, comm: HOSTILE, result: 'refused', dport: 1 }), record({})];
  const losses = [[12, `events lost ${HOSTILE}`]] as const;
  const empty = view(columns, rows, ['dest', 'port', 'comm']);
  const full = after(empty, interval(0, list, { slowest, failed: slowest, losses, overflowed: 9 }));
  yield ['empty', empty];
  yield ['without connects', after(empty, interval(0, []))];
  for (const keys of [
    [],
    ['f'],
    ['f', 'f'],
    ['?'],
    ['enter'],
    ['down', 'enter'],
    ['down', 'down', 'enter'],
    ['p', '>', '>', '>'],
    ['<', 'r', 'end'],
    ['/', ...'x\u202e漢字'],
    ['/', ...'nothing has this', 'enter'],
  ])
    yield [keys.join(' '), after(full, ...keys)];
  yield ['a warning', after(full, { type: 'message', text: HOSTILE })];
  yield ['without parts', after(view(columns, rows, []), interval(0, connects({}, 3)), 'enter')];
}

test('at every size, the screen has exactly its lines and columns, and no hostile character', () => {
  const all = [1, 3, 23, 40, 61, 80, 250];
  for (const columns of all)
    for (const rows of [1, 3, 5, 10, 24, 60])
      for (const [name, state] of states(columns, rows)) {
        const what = `${name} at ${columns}x${rows}`;
        const lines = layout(state);
        assert.is(lines.length, rows, what);
        for (const line of lines) {
          assert.is(columnsOf(plain(line)), columns, `${what}: ${plain(line)}`);
          assertSafe(plain(line), what);
        }
      }
});

test('losses are visible at every size, and in full if there is room', () => {
  const losses = [[12, 'events lost (ring buffer full; increase --pages)']] as const;
  for (const [columns, rows] of [
    [80, 24],
    [40, 10],
  ] as const) {
    const state = after(view(columns, rows), interval(0, example, { losses, overflowed: 3 }));
    const text = screenOf(state).join('\n');
    assert.match(text, /^.* lost 12$/m);
    assert.match(text, /^lost: 12 events lost/m);
    if (rows > 10) assert.match(text, '3 connects counted as other (too many keys; increase --max-keys)');
    for (const keys of [['enter'], ['?']])
      assert.match(screenOf(after(state, ...keys)).join('\n'), ' lost 12');
  }
});

test('a key expands to its counts, percentiles, histogram and slowest connects', () => {
  const lines = screenOf(after(busy(), 'enter'));
  assert.equal(lines.slice(2), [
    'dest 192.0.2.7  port 5432',
    '200 connects in 2 s  100/s  200 established  0 retr',
    'p50 0.341  p90 2.132  p99 2.132  min 0.341  max 2.132  ms',
    '',
    `  0.290 – 0.345 ms  160  80.0 % ${'█'.repeat(40)} p50`,
    ...lines.slice(7, 17),
    `   1.95 –  2.32 ms   40  20.0 % ${'█'.repeat(10)} p90 p99`,
    '',
    'slowest',
    '  2.132 ms  established  ::ffff:192.0.2.7 5432  curl[8990]  1 retr',
    '',
    '',
    'q quit  ? help  Esc back  ↑↓ other key  p pause  i interval',
  ]);
});

test('the filter shows how many keys it selects', () => {
  const typing = after(busy(), '/', ...'192.0.2.2');
  assert.is(screenOf(typing).at(-1), '/192.0.2.2   1 of 3 keys  ⏎ keep  Esc cancel');
  assert.match(
    screenOf(after(typing, 'enter')).at(-1) ?? '',
    /^filter: 192\.0\.2\.2 \(1 of 3 keys; Esc clears\)/,
  );
  assert.match(screenOf(after(typing, 'x')).join('\n'), "no key has '192.0.2.2x' in its name or results");
});

test('colors are used unless they are unwanted; the selected line is marked without them, too', () => {
  const lines = layout(busy());
  const [colored = '', uncolored = ''] = [true, false].map((colors) =>
    lines.map((line) => painted(line, colors).replaceAll('\x1b', '^')).join('\n'),
  );
  assert.match(colored, '^[1;97;44m192.0.2.7 ');
  assert.match(uncolored, '^[1;7m192.0.2.7 ');
  const attributes = [...uncolored.matchAll(/\^\[([\d;]*)m/g)].flatMap(([, text = '']) => text.split(';'));
  assert.equal([...new Set(attributes)].sort(), ['0', '1', '2', '7']);
});

test.run();
