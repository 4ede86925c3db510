/**
 * The state of a live view, and how keys and new intervals change it. Nothing here does I/O.
 */
import { connectsIn, type KeyPart, type Snapshot } from '../aggregate/snapshot.ts';
import { type Entry, type Sums, sumsOf, withInterval } from './window.ts';

/** The columns to sort by, in their order on the screen. */
export const SORTS = ['key', 'count', 'rate', 'failed', 'retr', 'p50', 'p90', 'p99', 'max'] as const;
export type Sort = (typeof SORTS)[number];

/** What the lower part of the screen shows. */
export const PANES = ['failures', 'slowest', 'none'] as const;
export type Pane = (typeof PANES)[number];

/** The size of a terminal. */
export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** What a view is about; it does not change during a run. */
export interface Subject {
  readonly host: string;
  readonly kernel: string;
  readonly probe: string;
  readonly intervalMs: number;
  readonly parts: readonly KeyPart[];
}

/** Everything that a screen shows. */
export interface State {
  readonly subject: Subject;
  readonly size: Size;
  /** The intervals of the window, also those that came during a pause. */
  readonly intervals: readonly Snapshot[];
  /** The intervals of the window that is shown: during a pause, the one at its begin. */
  readonly visible: readonly Snapshot[];
  /** The sum of the intervals that are shown. */
  readonly sums: Sums;
  /** The entries that the filter selects, in the order of the screen. */
  readonly shown: readonly Entry[];
  /** When the last interval that is shown ended, in ms since the epoch. */
  readonly shownMs: number;
  /** Since the start, also during a pause. */
  readonly connects: number;
  readonly losses: ReadonlyMap<string, number>;
  readonly overflowed: number;
  readonly sort: Sort;
  readonly reverse: boolean;
  readonly scope: 'window' | 'interval';
  readonly paused: boolean;
  readonly filter: string;
  /** The filter before it was edited; undefined while it is not. */
  readonly filterBefore: string | undefined;
  /** The place of the selection in `shown`, and its key after the user has chosen one. */
  readonly at: number;
  readonly selected: string | undefined;
  /** The first line of the table. */
  readonly top: number;
  /** The entry whose histogram is shown. */
  readonly expanded: Entry | undefined;
  readonly pane: Pane;
  readonly help: boolean;
  /** The last warning. */
  readonly message: string;
  readonly ended: boolean;
}

/** What changes a state. */
export type Action =
  | { readonly type: 'key'; readonly key: string }
  | { readonly type: 'snapshot'; readonly snapshot: Snapshot }
  | { readonly type: 'size'; readonly size: Size }
  | { readonly type: 'message'; readonly text: string };

/** The state at the start. */
export function initialState(subject: Subject, size: Size): State {
  return {
    ...{ subject, size, intervals: [], visible: [], sums: sumsOf([], subject.parts), shown: [], shownMs: 0 },
    ...{ connects: 0, losses: new Map(), overflowed: 0 },
    ...{ sort: 'count', reverse: false, scope: 'window', paused: false, filter: '' },
    ...{ filterBefore: undefined, at: 0, selected: undefined, top: 0, expanded: undefined },
    ...{ pane: 'failures', help: false, message: '', ended: false },
  };
}

/** The number of entries that fit into the table of a state. */
export type PageSize = (state: State) => number;

/** The next state. */
export function reduce(state: State, action: Action, pageSize: PageSize): State {
  const next = changed(state, action, pageSize);
  return scrolled(next, pageSize(next));
}

function changed(state: State, action: Action, pageSize: PageSize): State {
  switch (action.type) {
    case 'size':
      return { ...state, size: action.size };
    case 'message':
      return { ...state, message: action.text };
    case 'snapshot':
      return withSnapshot(state, action.snapshot);
    case 'key':
      return withKey({ ...state, message: '' }, action.key, pageSize(state));
  }
}

function withSnapshot(state: State, snapshot: Snapshot): State {
  const losses = new Map(state.losses);
  for (const [count, text] of snapshot.losses) losses.set(text, (losses.get(text) ?? 0) + count);
  const connects = state.connects + connectsIn(snapshot);
  const overflowed = state.overflowed + snapshot.overflowed;
  const intervals = withInterval(state.intervals, snapshot);
  const next = { ...state, intervals, connects, losses, overflowed };
  return state.paused ? next : summedUp({ ...next, visible: intervals });
}

/** Sums up the intervals that are shown. */
function summedUp(state: State): State {
  const { scope, subject, visible } = state;
  const intervals = scope === 'window' ? visible : visible.slice(-1);
  const sums = sumsOf(intervals, subject.parts);
  return ordered({ ...state, sums, shownMs: intervals.at(-1)?.endMs ?? 0 });
}

/** Filters and sorts the entries, and finds the selected one again. */
function ordered(state: State): State {
  const { sums, selected, at } = state;
  const words = state.filter.toLowerCase().split(' ').filter(Boolean);
  const selection = sums.entries.filter((entry) => matches(entry, words));
  const shown = sorted(selection, state);
  const found = selected === undefined ? -1 : shown.findIndex(({ id }) => id === selected);
  const expanded =
    state.expanded && (sums.entries.find(({ id }) => id === state.expanded?.id) ?? emptied(state.expanded));
  return { ...state, shown, expanded, at: found < 0 ? clamp(at, shown.length) : found };
}

/** An entry without connects: its key was not used in the window. */
function emptied({ id, key, texts }: Entry): Entry {
  const [entry] = sumsOf(
    [
      {
        startMs: 0,
        endMs: 0,
        rows: [{ key, results: new Map() }],
        slowest: [],
        failed: [],
        overflowed: 0,
        losses: [],
      },
    ],
    Object.keys(key) as KeyPart[],
  ).entries;
  return { ...(entry as Entry), id, texts };
}

/** Whether an entry has all words, in its key or in the names of its results. */
function matches({ texts, results }: Entry, words: readonly string[]): boolean {
  if (words.length === 0) return true;
  const text = [...texts, ...results.keys()].join(' ').toLowerCase();
  return words.every((word) => text.includes(word));
}

const NUMBERS: { readonly [S in Exclude<Sort, 'key'>]: (entry: Entry) => number } = {
  count: ({ connects }) => connects,
  rate: ({ perSecond }) => perSecond,
  failed: ({ failed }) => failed,
  retr: ({ retransmits }) => retransmits,
  p50: ({ p50 = -1 }) => p50,
  p90: ({ p90 = -1 }) => p90,
  p99: ({ p99 = -1 }) => p99,
  max: ({ max = -1 }) => max,
};

/** Sorts entries: numbers descend and keys ascend, unless reversed. Equal numbers have the order of keys. */
function sorted(entries: readonly Entry[], { sort, reverse }: State): Entry[] {
  const number = sort === 'key' ? () => 0 : NUMBERS[sort];
  const sign = reverse ? -1 : 1;
  const keySign = sort === 'key' ? sign : 1;
  return entries
    .map((entry) => ({ entry, number: number(entry), key: sortKey(entry) }))
    .sort((a, b) => sign * (b.number - a.number) || (a.key < b.key ? -keySign : keySign))
    .map(({ entry }) => entry);
}

/** A text that sorts entries by key, and digits as numbers: 10.0.0.9 comes before 10.0.0.10. */
function sortKey({ texts }: Entry): string {
  return texts.join('\0').replace(/\d+/g, (digits) => digits.padStart(10, '0'));
}

const clamp = (at: number, length: number) => Math.max(0, Math.min(at, length - 1));

/** Scrolls the table so that the selection is visible. */
function scrolled(state: State, page: number): State {
  const { at, shown } = state;
  const least = Math.max(0, at - page + 1);
  const most = Math.max(0, Math.min(at, shown.length - page));
  return { ...state, top: Math.max(least, Math.min(state.top, most)) };
}

function withKey(state: State, key: string, page: number): State {
  if (key === 'ctrl-c') return { ...state, ended: true };
  if (state.filterBefore !== undefined) return withFilterKey(state, key, page);
  if (state.help) return key === 'q' ? { ...state, ended: true } : { ...state, help: false };
  return COMMANDS.get(key)?.(state, page) ?? state;
}

type Move = (at: number, page: number, length: number) => number;

/** The moves of the selection; the table keeps it within its entries. */
const MOVES: ReadonlyMap<string, Move> = new Map<string, Move>([
  ['up', (at) => at - 1],
  ['down', (at) => at + 1],
  ['pageup', (at, page) => at - page],
  ['pagedown', (at, page) => at + page],
  ['home', () => 0],
  ['end', (_at, _page, length) => length - 1],
]);

/** Selects another entry, which then stays selected when it moves. The first line is no such choice. */
function moved(state: State, key: string, page: number): State {
  const { shown } = state;
  const at = clamp(MOVES.get(key)?.(state.at, page, shown.length) ?? 0, shown.length);
  const entry = shown[at];
  const selected = key === 'home' ? undefined : entry?.id;
  return { ...state, at, selected, expanded: state.expanded && (entry ?? state.expanded) };
}

const move = (key: string) => (state: State, page: number) => moved(state, key, page);

function sortedBy(state: State, step: number): State {
  const at = (SORTS.indexOf(state.sort) + step + SORTS.length) % SORTS.length;
  return ordered({ ...state, sort: SORTS[at] ?? 'count', reverse: false });
}

function expandedOrNot(state: State): State {
  const entry = state.shown[state.at];
  if (state.expanded || entry === undefined) return { ...state, expanded: undefined };
  return { ...state, expanded: entry, selected: entry.id };
}

function paused(state: State): State {
  if (!state.paused) return { ...state, paused: true };
  return summedUp({ ...state, paused: false, visible: state.intervals });
}

/** Leaves the histogram, or removes the filter. */
function back(state: State): State {
  if (state.expanded) return { ...state, expanded: undefined };
  return state.filter === '' ? state : ordered({ ...state, filter: '' });
}

const cyclePane = (state: State): State => ({
  ...state,
  pane: PANES[(PANES.indexOf(state.pane) + 1) % PANES.length] ?? 'none',
});

type Command = (state: State, page: number) => State;

/** What keys do, except in the help and in the filter. */
const COMMANDS: ReadonlyMap<string, Command> = new Map(
  (
    [
      [['q'], (state) => ({ ...state, ended: true })],
      [['up', 'k', 'ctrl-p'], move('up')],
      [['down', 'j', 'ctrl-n'], move('down')],
      [['pageup', 'ctrl-u', 'ctrl-b'], move('pageup')],
      [['pagedown', 'ctrl-d', 'ctrl-f'], move('pagedown')],
      [['home', 'g'], move('home')],
      [['end', 'G'], move('end')],
      [['enter'], expandedOrNot],
      [['escape', 'backspace'], back],
      [['>', 's', 'right'], (state) => sortedBy(state, 1)],
      [['<', 'left'], (state) => sortedBy(state, -1)],
      [['r'], (state) => ordered({ ...state, reverse: !state.reverse })],
      [['p', 'space'], paused],
      [['/'], (state) => ({ ...state, filterBefore: state.filter, expanded: undefined })],
      [['i'], (state) => summedUp({ ...state, scope: state.scope === 'window' ? 'interval' : 'window' })],
      [['f', 'tab'], cyclePane],
      [['?', 'h'], (state) => ({ ...state, help: true })],
    ] satisfies [string[], Command][]
  ).flatMap(([keys, command]) => keys.map((key): [string, Command] => [key, command])),
);

/** The longest filter in characters. */
const MAX_FILTER = 100;

/** Edits the filter. Every change applies at once. */
function withFilterKey(state: State, key: string, page: number): State {
  const { filter, filterBefore = '' } = state;
  const edited = (text: string) => ordered({ ...state, filter: text });
  const characters = [...filter];
  switch (key) {
    case 'enter':
      return { ...state, filterBefore: undefined };
    case 'escape':
      return { ...edited(filterBefore), filterBefore: undefined };
    case 'backspace':
      if (filter === '') return { ...state, filterBefore: undefined };
      return edited(characters.slice(0, -1).join(''));
    case 'ctrl-u':
      return edited('');
    case 'ctrl-w':
      return edited(filter.replace(/\S*\s*$/, ''));
    case 'space':
      return edited(`${filter} `);
  }
  if (MOVES.has(key)) return moved(state, key, page);
  return [...key].length === 1 && characters.length < MAX_FILTER ? edited(filter + key) : state;
}
