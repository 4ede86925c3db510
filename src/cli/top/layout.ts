/**
 * The screen of a live view as lines, from its state alone.
 */
import { COUNTED_AS_OTHER, type KeyPart, type Sample } from '../aggregate/snapshot.ts';
import { RESULTS } from '../json.ts';
import type { ConnectRecord } from '../record.ts';
import { cell } from '../text.ts';
import { threadNameCell } from '../thread-name.ts';
import { columnsOf } from '../width.ts';
import { histogramLines } from './histogram.ts';
import { cut, type Field, fields, filled, type Line, left, plain, right, type Span, span } from './line.ts';
import type { Sort, State } from './state.ts';
import { type Entry, ESTABLISHED, failuresOf, isOf } from './window.ts';

/** The lines of the screen: exactly as many, and as wide, as it has. */
export function layout(state: State): Line[] {
  const { columns, rows } = state.size;
  const head = header(state);
  const foot = [footer(state)];
  const space = Math.max(0, rows - head.length - foot.length);
  const body = state.help ? help(columns) : state.expanded ? expanded(state, space) : main(state, space);
  const middle = Array.from({ length: space }, (_, i) => body[i] ?? []);
  return [...head, ...middle, ...foot].slice(-rows).map((line) => filled(line, columns));
}

/** The number of entries that fit into the table. */
export function pageSize(state: State): number {
  const space = state.size.rows - header(state).length - 1;
  return Math.max(1, space - 1 - paneHeight(state, space));
}

// --- header and footer ---------------------------------------------------------------------------

function header(state: State): Line[] {
  const { subject, size, sums, paused, shownMs } = state;
  const { columns } = size;
  const field = (rank: number, text: string, style: Span['style'] = 'plain'): Field => ({
    ...{ rank, text, style },
  });
  const clock = paused
    ? span(' PAUSED ', 'header')
    : span(shownMs === 0 ? 'starting' : `${new Date(shownMs).toISOString().slice(11, 19)} UTC`, 'dim');
  const names = fields(
    [
      field(0, 'tcpconnlat', 'title'),
      field(1, cell(subject.host)),
      field(3, `Linux ${cell(subject.kernel)}`),
      field(2, subject.probe),
      field(4, `every ${seconds(subject.intervalMs)}`),
    ],
    columns - clock.text.length - 1,
  );
  const gap = columns - columnsOf(plain(names)) - clock.text.length;
  const { total, entries } = sums;
  const lost = [...state.losses.values()].reduce((sum, count) => sum + count, 0);
  const percent = percentText(total.failed / Math.max(1, total.connects));
  const totals = fields(
    [
      field(0, `${total.connects} connects in ${seconds(sums.coveredMs)}`),
      field(3, `${rate(total.perSecond)}/s`),
      field(1, `${total.failed} failed`, total.failed > 0 ? 'alarm' : 'plain'),
      ...(total.failed > 0 ? [field(4, `(${percent})`, 'alarm')] : []),
      field(6, `${total.retransmits} retr`),
      ...(total.p50 === undefined ? [] : [field(5, `p50 ${ms(total.p50)}`)]),
      ...(total.p99 === undefined ? [] : [field(2, `p99 ${ms(total.p99)} ms`)]),
      field(4, keyCount(entries.length)),
      field(0, `lost ${lost}`, lost > 0 ? 'warning' : 'dim'),
    ],
    columns,
  );
  return [[...names, span(' '.repeat(Math.max(1, gap))), clock], totals, ...warnings(state)];
}

const keyCount = (count: number) => `${count} ${count === 1 ? 'key' : 'keys'}`;

/** A line for each cause of losses, and one for keys without room. */
function warnings({ losses, overflowed, size }: State): Line[] {
  const lines = [...losses].map(([text, count]) => `lost: ${count} ${text}`);
  if (overflowed > 0) lines.push(`${overflowed} connects ${COUNTED_AS_OTHER}`);
  const room = Math.max(1, Math.floor(size.rows / 8));
  return lines.slice(0, room).map((text) => [span(cut(cell(text), size.columns), 'warning')]);
}

const KEY_HINTS: readonly (readonly [key: string, what: string])[] = [
  ['q', 'quit'],
  ['?', 'help'],
  ['↑↓', 'select'],
  ['⏎', 'histogram'],
  ['/', 'filter'],
  ['<>', 'sort'],
  ['r', 'reverse'],
  ['p', 'pause'],
  ['i', 'interval'],
  ['f', 'pane'],
];

const HINTS_EXPANDED: typeof KEY_HINTS = [
  ['q', 'quit'],
  ['?', 'help'],
  ['Esc', 'back'],
  ['↑↓', 'other key'],
  ['p', 'pause'],
  ['i', 'interval'],
];

function footer(state: State): Line {
  const { filter, filterBefore, size, message, sums, shown } = state;
  if (message !== '') return [span(cut(cell(message), size.columns), 'warning')];
  const found = `${shown.length} of ${keyCount(sums.entries.length)}`;
  if (filterBefore !== undefined) {
    const hints = `  ${found}  ⏎ keep  Esc cancel`;
    const room = Math.max(10, size.columns - hints.length - 3);
    // A long filter is edited at its end.
    let text = filter;
    while (columnsOf(text) > room) text = [...text].slice(1).join('');
    return [span('/', 'title'), span(cell(text)), span(' ', 'header'), span(hints, 'dim')];
  }
  if (state.help) return [span('press a key', 'dim')];
  const hints = state.expanded ? HINTS_EXPANDED : KEY_HINTS;
  const filtered: Field[] =
    filter === '' || state.expanded
      ? []
      : [{ rank: 0, style: 'title', text: `filter: ${cut(cell(filter), 20)} (${found}; Esc clears)` }];
  const spans = fields(
    [...filtered, ...hints.map(([key, what], i) => ({ ...span(`${key} ${what}`, 'dim'), rank: i + 1 }))],
    size.columns,
  );
  return spans;
}

// --- table ---------------------------------------------------------------------------------------

interface Column {
  readonly title: string;
  /** What it sorts by, if it does. */
  readonly sort?: Sort;
  readonly text: (entry: Entry) => string;
  readonly isText?: true;
  /** Columns of the highest rank are omitted first; those of rank 0 never. */
  readonly rank: number;
  /** Whether a number is one of failures. */
  readonly alarms?: true;
}

/**
 * How columns are made to fit: those down to a rank are omitted, then the columns of parts are narrowed to a
 * width, in these steps.
 */
const STEPS: readonly (readonly [rank: number, width: number])[] = [
  [5, 24],
  [2, 12],
  [1, 4],
];

function columnsFor(state: State): Column[] {
  const { parts } = state.subject;
  const kinds = new Map<string, number>();
  for (const { results } of state.shown)
    for (const [result, { count }] of results)
      if (result !== ESTABLISHED) kinds.set(result, (kinds.get(result) ?? 0) + count);
  const names = [...kinds.keys()].sort((a, b) => order(a) - order(b) || (a < b ? -1 : 1));
  return [
    ...parts.map(
      (part, i): Column => ({
        ...{ title: part.toUpperCase(), rank: 0, isText: true, text: ({ texts }) => texts[i] ?? '' },
        ...(i === 0 && { sort: 'key' }),
      }),
    ),
    ...(parts.length === 0 ? [{ title: 'KEY', rank: 0, isText: true, text: () => 'all' } as const] : []),
    { title: 'COUNT', sort: 'count', rank: 0, text: ({ connects }) => String(connects) },
    { title: 'RATE/s', sort: 'rate', rank: 4, text: ({ perSecond }) => rate(perSecond) },
    {
      ...{ title: 'FAILED', sort: 'failed', rank: 1, alarms: true },
      text: ({ failed }) => String(failed),
    },
    ...names.map(
      (kind): Column => ({
        ...{ title: kind.toUpperCase(), rank: 7, alarms: true },
        text: ({ results }) => String(results.get(kind)?.count ?? 0),
      }),
    ),
    { title: 'RETR', sort: 'retr', rank: 5, text: ({ retransmits }) => String(retransmits) },
    { title: 'p50(ms)', sort: 'p50', rank: 3, text: ({ p50 }) => ms(p50) },
    { title: 'p90(ms)', sort: 'p90', rank: 6, text: ({ p90 }) => ms(p90) },
    { title: 'p99(ms)', sort: 'p99', rank: 0, text: ({ p99 }) => ms(p99) },
    { title: 'MAX(ms)', sort: 'max', rank: 2, text: ({ max }) => ms(max) },
  ];
}

/** The order of results: as in the manual, then errors by name. */
function order(result: string): number {
  const at = RESULTS.indexOf(result);
  return at < 0 ? RESULTS.length : at;
}

type Sized = Column & { readonly width: number };

/** The columns that fit, with their widths. */
function sized(state: State, page: readonly Entry[]): Sized[] {
  const { sort, reverse } = state;
  const arrow = (sort === 'key') === reverse ? '▼' : '▲';
  let all = columnsFor(state).map((column) => {
    const title = column.sort === sort ? `${column.title}${arrow}` : column.title;
    // The widths of parts do not depend on the page, so that scrolling does not move columns.
    const entries = column.isText ? state.shown : page;
    const width = entries.reduce(
      (most, entry) => Math.max(most, columnsOf(column.text(entry))),
      title.length,
    );
    return { ...column, title, width };
  });
  const excess = () => all.reduce((sum, { width }) => sum + width + 1, -1) - state.size.columns;
  const omit = (from: number) => {
    while (excess() > 0) {
      const least = Math.max(...all.map((each) => (each.sort === sort ? 0 : each.rank)));
      if (least < from) return;
      const at = all.findLastIndex((each) => each.rank === least && each.sort !== sort);
      all = all.filter((_, i) => i !== at);
    }
  };
  const narrow = (least: number) => {
    while (excess() > 0) {
      const texts = all.filter(({ isText, width }) => isText && width > least);
      const widest = texts.reduce((most, { width }) => Math.max(most, width), 0);
      if (widest === 0) return;
      const at = all.findIndex((each) => each.isText && each.width === widest);
      all = all.map((each, i) => (i === at ? { ...each, width: each.width - 1 } : each));
    }
  };
  for (const [rank, width] of STEPS) {
    omit(rank);
    narrow(width);
  }
  return all;
}

function main(state: State, space: number): Line[] {
  const { shown, top, at, size } = state;
  const height = paneHeight(state, space);
  const length = Math.max(1, space - 1 - height);
  const page = shown.slice(top, top + length);
  const columns = sized(state, page);
  const align = ({ isText, width }: Sized, text: string) => (isText ? left(text, width) : right(text, width));
  const titles = columns.flatMap((column, i) => [
    ...(i === 0 ? [] : [span(' ', 'header')]),
    span(align(column, column.title), column.sort === state.sort ? 'sorted' : 'header'),
  ]);
  const lines = page.map((entry, row) => {
    const cells = columns.flatMap((column, i) => {
      const text = column.text(entry);
      const style = column.alarms && text !== '0' ? 'alarm' : text === '0' || text === '-' ? 'dim' : 'plain';
      return [...(i === 0 ? [] : [span(' ')]), span(align(column, text), style)];
    });
    return filled(cells, size.columns, top + row === at ? 'selected' : undefined);
  });
  if (shown.length === 0) lines.push([], [span(`  ${nothing(state)}`, 'dim')]);
  const table = Array.from({ length }, (_, i): Line => lines[i] ?? []);
  return [filled(titles, size.columns, undefined), ...table, ...pane(state, height)].map((line, i) =>
    i === 0 ? extended(line) : line,
  );
}

/** The header with its style up to the end of the line. */
const extended = (line: Line): Line =>
  line.map((each, i) => (i === line.length - 1 && each.style === 'plain' ? span(each.text, 'header') : each));

function nothing({ sums, shownMs, filter }: State): string {
  if (shownMs === 0) return 'counting…';
  if (sums.entries.length > 0) return `no key has '${cut(cell(filter), 30)}' in its name or results`;
  return `no connects in the last ${seconds(sums.coveredMs)}`;
}

// --- lower pane ----------------------------------------------------------------------------------

/** The least lines of a body with a pane. */
const MIN_BODY = 12;
const MAX_PANE = 12;

function paneHeight({ pane }: State, space: number): number {
  return pane === 'none' || space < MIN_BODY ? 0 : Math.min(MAX_PANE, Math.floor(space / 3));
}

function pane(state: State, height: number): Line[] {
  if (height === 0) return [];
  const { columns } = state.size;
  const [name, lines] =
    state.pane === 'failures'
      ? ['failures, last ones first', failureLines(state, height - 1)]
      : ['slowest connects', slowestLines(selectedSlowest(state), height - 1)];
  const title = `─ ${name} `;
  const none = state.pane === 'failures' ? 'none' : 'none yet';
  return [
    [span(title + '─'.repeat(Math.max(0, columns - title.length)), 'dim')],
    ...(lines.length === 0 ? [[span(`  ${none}`, 'dim')]] : lines),
  ];
}

function failureLines({ sums, shown, shownMs }: State, most: number): Line[] {
  const failures = failuresOf(shown).slice(0, most);
  const examples = failures.map(({ entry, result }) =>
    sums.failed.find((record) => record.result === result && isOf(record, entry.key)),
  );
  return aligned(
    failures.map(({ entry, result, count, lastMs }, i) => [
      shownMs > lastMs ? `${seconds(shownMs - lastMs)} ago` : 'now',
      String(count),
      result,
      keyText(entry),
      examples[i] ? `${caller(examples[i])} ${ms(examples[i].lat_ms)} ms` : '',
    ]),
    [true, true],
    ['dim', 'plain', 'alarm'],
  );
}

/** The slowest connects that the filter selects. */
function selectedSlowest({ sums, shown, filter }: State): readonly Sample[] {
  if (filter === '') return sums.slowest;
  return sums.slowest.filter((record) => shown.some(({ key }) => isOf(record, key)));
}

function slowestLines(records: readonly ConnectRecord[], most: number): Line[] {
  return aligned(
    records
      .slice(0, most)
      .map((record) => [
        `${ms(record.lat_ms)} ms`,
        record.result ?? '',
        cell(`${record.daddr ?? '-'} ${record.dport ?? '-'}`),
        caller(record),
        record.retransmits ? `${record.retransmits} retr` : '',
      ]),
    [true],
    [],
  );
}

const caller = ({ comm, pid }: ConnectRecord) => `${threadNameCell(comm, COMM_COLUMNS)}[${pid}]`;
const keyText = ({ texts }: Entry) => (texts.length === 0 ? 'all' : texts.join(' '));

/** A name has at most 15 bytes; each may be shown as `\xNN`. */
const COMM_COLUMNS = 60;
/** The longest text of a column in the lower pane. */
const MAX_TEXT = 46;

/** Rows of texts as columns; `rights` are aligned on the right. */
function aligned(
  rows: readonly (readonly string[])[],
  rights: readonly boolean[],
  styles: readonly Span['style'][],
): Line[] {
  const width = (i: number) => Math.min(MAX_TEXT, Math.max(0, ...rows.map((row) => columnsOf(row[i] ?? ''))));
  return rows.map((row) =>
    row.flatMap((text, i) => [
      span('  '),
      span((rights[i] ? right : left)(text, width(i)), styles[i] ?? 'plain'),
    ]),
  );
}

// --- one key -------------------------------------------------------------------------------------

function expanded(state: State, space: number): Line[] {
  const entry = state.expanded as Entry;
  const { columns } = state.size;
  const key = state.subject.parts.map((part, i) => partText(part, entry.texts[i] ?? '')).join('  ');
  const results = [...entry.results].sort(([a], [b]) => order(a) - order(b));
  const counts = fields(
    [
      { ...span(`${entry.connects} connects in ${seconds(state.sums.coveredMs)}`), rank: 0 },
      { ...span(`${rate(entry.perSecond)}/s`), rank: 2 },
      ...results.map(([result, { count }]) => ({
        ...span(`${count} ${result}`, result === ESTABLISHED ? 'plain' : 'alarm'),
        rank: 1,
      })),
      { ...span(`${entry.retransmits} retr`), rank: 3 },
    ],
    columns,
  );
  const title = filled([span(key === '' ? 'all connects' : key, 'header')], columns);
  const lines: Line[] = [extended(title), counts];
  const { answered, p50, p90, p99, max } = entry;
  if (answered.count === 0) return [...lines, [], [span('  no connect was answered', 'dim')]];
  lines.push(
    fields(
      [
        { ...span(`p50 ${ms(p50)}`), rank: 1 },
        { ...span(`p90 ${ms(p90)}`), rank: 2 },
        { ...span(`p99 ${ms(p99)}`), rank: 0 },
        { ...span(`min ${ms(answered.minNs / 1e6)}`), rank: 3 },
        { ...span(`max ${ms(max)}`), rank: 1 },
        { ...span('ms', 'dim'), rank: 4 },
      ],
      columns,
    ),
  );
  const slowest = state.sums.slowest.filter((record) => isOf(record, entry.key));
  const least = Math.min(slowest.length, space >= 16 ? 5 : 0);
  const room = space - lines.length - 1 - (least > 0 ? least + 2 : 0);
  lines.push([], ...histogramLines(answered, { columns, rows: Math.max(1, room) }));
  // The histogram may need less than its room.
  const most = space - lines.length - 2;
  if (least > 0) lines.push([], [span('slowest', 'dim')], ...slowestLines(slowest, most));
  return lines;
}

const partText = (part: KeyPart, text: string) => `${part} ${text}`;

// --- help ----------------------------------------------------------------------------------------

const HELP: readonly (readonly [keys: string, what: string])[] = [
  ['↑ ↓ k j', 'select a key; PgUp, PgDn, Home and End, too'],
  ['Enter', 'show the histogram of the selected key, or go back'],
  ['Esc', 'go back; remove the filter'],
  ['/', 'filter by words in keys and results, while you type'],
  ['< > s', 'sort by another column'],
  ['r', 'reverse the order'],
  ['p Space', 'pause the screen, not the counting'],
  ['i', 'the last interval, or the last minute'],
  ['f Tab', 'lower pane: failures, slowest connects, none'],
  ['Ctrl-L', 'draw the screen again'],
  ['q Ctrl-C', 'quit'],
];

function help(columns: number): Line[] {
  const lines = HELP.map(([keys, what]): Line => [span(`  ${left(keys, 10)}`, 'title'), span(what)]);
  return [[], ...lines, [], [span(cut('  FAILED: all connects but the established ones', columns), 'dim')]];
}

// --- numbers -------------------------------------------------------------------------------------

/** Milliseconds with as many digits as fit into a column. */
export function ms(value: number | undefined): string {
  if (value === undefined) return '-';
  return value.toFixed(value < 1000 ? 3 : value < 100_000 ? 1 : 0);
}

/** A number of connects per second. */
export function rate(perSecond: number): string {
  return perSecond.toFixed(perSecond < 10 && perSecond > 0 ? 1 : 0);
}

/** A share with a digit if it is small. */
export function percentText(share: number): string {
  const percent = share * 100;
  return `${percent > 0 && percent < 9.95 ? Math.max(percent, 0.1).toFixed(1) : percent.toFixed(0)} %`;
}

/** A time in seconds; with a digit if it is short. */
export function seconds(durationMs: number): string {
  const value = durationMs / 1000;
  return `${value > 0 && value < 9.95 && Math.abs(value - Math.round(value)) > 0.05 ? value.toFixed(1) : value.toFixed(0)} s`;
}
