/** The keys and intervals of `--top`: what they do to the state of the view. */
import * as assert from 'uvu/assert';
import { Latencies } from '../../../src/cli/aggregate/latencies.ts';
import type { Cell } from '../../../src/cli/aggregate/snapshot.ts';
import { pageSize } from '../../../src/cli/top/layout.ts';
import type { State } from '../../../src/cli/top/state.ts';
import { suite } from '../../harness.ts';
import { after, connects, dest, interval, view } from './views.ts';

const test = suite('cli/top/state');

const [a, b, c] = [dest('192.0.2.7', 5432), dest('192.0.2.20'), dest('192.0.2.9', 80)] as const;
const three = [...connects(a, 5, 1), ...connects(b, 3, 9), ...connects(c, 4, 2, 'refused')];
const shown = ({ shown }: State) => shown.map(({ key }) => key.dest);
const selected = ({ shown, at }: State) => shown[at]?.key.dest;

test('the table has the keys of the window, most connects first, and their exact sums', () => {
  const state = after(view(), interval(0, three), interval(1, [...connects(b, 4, 3), ...connects(c, 1)]));
  assert.equal(shown(state), [b.dest, a.dest, c.dest]);
  assert.equal(
    state.shown.map((each) => [each.connects, each.perSecond, each.failed, each.max]),
    [
      [7, 4, 0, 9],
      [5, 0, 0, 1],
      [5, 1, 4, 2],
    ],
  );
  assert.equal(state.shown[1]?.results.get('established'), { count: 5, lastMs: state.shownMs - 1000 });
  assert.equal([state.sums.total.connects, state.sums.coveredMs, state.connects], [17, 2000, 17]);
});

test('intervals leave the window after a minute', () => {
  let state = after(view(), interval(0, connects(a, 5)));
  for (let at = 1; at < 60; at++) state = after(state, interval(at, connects(b, 1)));
  assert.equal([state.sums.coveredMs, state.sums.total.connects], [60_000, 64]);
  state = after(state, interval(60, []));
  assert.equal([state.sums.coveredMs, shown(state), state.connects], [60_000, [b.dest], 64]);
});

test('many keys and results make the window shorter', () => {
  const cell: Cell = { latencies: new Latencies(), retransmits: 0 };
  cell.latencies.record(1e6);
  const results = new Map(Array.from({ length: 15_000 }, (_, i) => [`E${i}`, cell]));
  const state = after(view(), ...[0, 1, 2].map((at) => interval(at, [], { rows: [{ key: a, results }] })));
  assert.equal([state.intervals.length, state.sums.coveredMs, state.connects], [2, 2000, 45_000]);
});

test('< and > change the column to sort by, s the next one, and r the order', () => {
  const state = after(view(), interval(0, three));
  const sorts = ['count', 'rate', 'failed', 'retr', 'p50', 'p90', 'p99', 'max', 'key'];
  let next = state;
  for (const [i, sort] of sorts.entries()) {
    assert.is(next.sort, sort);
    next = after(next, ['>', 's', 'right'][i % 3] ?? '');
  }
  assert.is(next.sort, 'count');
  assert.equal(shown(after(state, '<')), [a.dest, c.dest, b.dest], 'keys ascend by number');
  assert.equal(shown(after(state, 'left', 'r')), [b.dest, c.dest, a.dest]);
  assert.equal(shown(after(state, '>', '>')), [c.dest, a.dest, b.dest], 'failed');
  assert.equal(shown(after(state, '>', '>', 'r')), [a.dest, b.dest, c.dest], 'not failed, then by key');
  assert.equal(shown(after(state, '<', '<')), [b.dest, c.dest, a.dest], 'maximum');
});

test('a selected key stays selected wherever it moves; without a choice the first line is', () => {
  const state = after(view(), interval(0, three));
  const [more] = [interval(1, connects(b, 9))];
  assert.is(selected(after(state, more)), b.dest);
  for (const keys of [['down'], ['j'], ['G', 'k'], ['end', 'up']]) {
    const chosen = after(state, ...keys);
    assert.is(selected(chosen), c.dest);
    assert.equal([selected(after(chosen, more)), after(chosen, more).at], [c.dest, 2]);
    assert.is(selected(after(chosen, more, 'home')), b.dest);
  }
  assert.is(selected(after(state, 'up')), a.dest);
  assert.is(selected(after(state, 'pagedown', 'down')), b.dest);
});

test('the table scrolls as far as the selection and the size need', () => {
  const list = Array.from({ length: 50 }, (_, i) => connects(dest(`192.0.2.${i}`), 50 - i)).flat();
  let state = after(view(80, 24), interval(0, list), 'f', 'f');
  assert.is(pageSize(state), 20);
  state = after(state, 'pagedown');
  assert.equal([state.at, state.top], [20, 1]);
  state = after(state, 'up', 'up', 'up');
  assert.equal([state.at, state.top], [17, 1], 'the selection moves within the page');
  state = after(state, 'G');
  assert.equal([state.at, state.top], [49, 30]);
  state = after(state, { type: 'size', size: { columns: 80, rows: 60 } });
  assert.equal([state.at, state.top], [49, 0]);
  state = after(state, { type: 'size', size: { columns: 40, rows: 10 } });
  assert.equal([state.at - state.top, pageSize(state)], [pageSize(state) - 1, pageSize(state)]);
});

test('a filter applies while it is typed, to keys and results; Enter keeps it and Esc does not', () => {
  const state = after(view(), interval(0, three));
  let typed = after(state, '/', '2');
  assert.equal(shown(typed), [a.dest, c.dest, b.dest]);
  typed = after(typed, '0', 'space', '4', '4');
  assert.equal([typed.filter, shown(typed)], ['20 44', [b.dest]]);
  assert.equal(shown(after(typed, 'backspace', 'backspace', 'backspace', 'backspace')), shown(state));
  assert.equal(after(typed, 'ctrl-w').filter, '20 ');
  assert.equal(after(typed, 'ctrl-u').filter, '');
  assert.equal(shown(after(state, '/', ...'ReFused')), [c.dest]);
  const kept = after(typed, 'enter');
  assert.equal([kept.filter, kept.filterBefore, kept.ended], ['20 44', undefined, false]);
  assert.equal(shown(after(kept, interval(1, [...three, ...connects(dest('192.0.20.1', 44), 1)]))), [
    b.dest,
    '192.0.20.1',
  ]);
  assert.equal([after(kept, '/', 'x', 'escape').filter, after(kept, 'escape').filter], ['20 44', '']);
  assert.is(after(state, '/', 'q', 'p', '?').filter, 'qp?', 'commands are characters there');
  assert.is(after(state, '/', 'q', 'ctrl-c').ended, true);
});

test('a pause stops the screen and not the counting', () => {
  for (const key of ['p', 'space']) {
    const paused = after(view(), interval(0, connects(a, 5)), key, interval(1, connects(b, 7)));
    assert.equal([paused.paused, shown(paused), paused.connects], [true, [a.dest], 12]);
    for (const keys of [['i'], ['i', 'i'], ['>'], ['/', 'enter']])
      assert.equal(shown(after(paused, ...keys)), [a.dest], `${keys}`);
    const losses = [[3, 'lost']] as const;
    assert.equal([...after(paused, interval(2, [], { losses })).losses], [['lost', 3]]);
    const resumed = after(paused, key);
    assert.equal([resumed.paused, shown(resumed)], [false, [b.dest, a.dest]]);
  }
});

test('i shows the last interval', () => {
  const state = after(view(), interval(0, connects(a, 5)), interval(1, connects(b, 2)), 'i');
  assert.equal([shown(state), state.sums.coveredMs], [[b.dest], 1000]);
  assert.equal(shown(after(state, interval(2, connects(c, 1)))), [c.dest]);
  assert.equal(shown(after(state, 'i')), [a.dest, b.dest]);
});

test('Enter expands the selected key, which stays when its connects have left the window', () => {
  const state = after(view(), interval(0, three), 'down', 'enter');
  assert.is(state.expanded?.key.dest, c.dest);
  assert.is(after(state, 'up').expanded?.key.dest, a.dest);
  assert.is(after(state, interval(1, connects(c, 2))).expanded?.connects, 6);
  const later = after(state, interval(100, connects(a, 1)));
  assert.equal(
    [later.expanded?.key, later.expanded?.connects, later.expanded?.texts],
    [c, 0, ['192.0.2.9', '80']],
  );
  assert.is(after(later, interval(101, connects(c, 2))).expanded?.connects, 2);
  for (const key of ['enter', 'escape', 'backspace'])
    assert.equal([after(state, key).expanded, after(state, key).ended], [undefined, false]);
  assert.is(after(view(), 'enter').expanded, undefined, 'nothing is selected');
});

test('losses add up by cause, and keys without room', () => {
  const state = after(
    view(),
    interval(0, [], { losses: [[2, 'x']], overflowed: 3 }),
    interval(1, [], { losses: [[1, 'y'] as const, [5, 'x'] as const], overflowed: 4 }),
  );
  assert.equal([[...state.losses], state.overflowed], [[...Object.entries({ x: 7, y: 1 })], 7]);
});

test('q and Ctrl-C end it everywhere; a key closes the help; a warning stays until a key', () => {
  const state = after(view(), interval(0, three));
  for (const keys of [['q'], ['ctrl-c'], ['enter', 'q'], ['?', 'q'], ['?', 'ctrl-c']])
    assert.is(after(state, ...keys).ended, true, `${keys}`);
  for (const key of ['x', 'escape', '?']) {
    const closed = after(state, 'h', key);
    assert.equal([after(state, 'h').help, closed.help, closed.ended], [true, false, false]);
  }
  const warned = after(state, { type: 'message', text: 'CPU 1 went offline' }, interval(1, []));
  assert.equal([warned.message, after(warned, 'down').message], ['CPU 1 went offline', '']);
});

test('a key without a meaning changes nothing', () => {
  const state = after(view(), interval(0, three));
  for (const key of ['x', 'ctrl-x', 'é', 'constructor', '__proto__', 'toString'])
    assert.equal(after(state, key), state, key);
});

test.run();
