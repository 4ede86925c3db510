/**
 * A table that is sorted by the buttons in its header, shows its first rows, and more on request. A large
 * table would take longer to lay out than everything else on the page.
 */
import { counted, grouped } from '../format.ts';
import { button, type Child, element } from './elements.ts';

export interface Column<Row> {
  readonly title: string;
  readonly isNumber?: boolean;
  /** What the column is sorted by. Missing values are last. */
  readonly sortBy: (row: Row) => string | number | null | undefined;
  readonly cell: (row: Row) => Child;
  /** Whether the cell names its row. */
  readonly isName?: boolean;
}

interface TableOptions<Row> {
  readonly caption: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  /** What a row is: `destination`. */
  readonly thing: string;
  /** The index of the column that the rows are sorted by, largest first. */
  readonly sortedBy: number;
  /** The text that a filter searches in; without it there is no filter. */
  readonly textOf?: (row: Row) => string;
  /** A row that stays at the end. */
  readonly last?: Row | null;
}

/** Rows that are shown at first, and added by each request. */
const FIRST = 25;
const MORE = 500;

/** Fills `container` with a table. */
export function addTable<Row>(container: HTMLElement, options: TableOptions<Row>): void {
  const { columns, rows, thing, textOf } = options;
  let sorted = { column: options.sortedBy, descending: true };
  let shown = FIRST;
  let matching = order(rows, columns, sorted);

  const status = element('p', { class: 'muted', role: 'status' });
  const more = button('', () => {
    shown += MORE;
    update();
  });
  const body = element('tbody');
  // Screen readers read aria-sort.
  const arrows = columns.map(() => element('span', { class: 'arrow', 'aria-hidden': 'true' }));
  const headers = columns.map((column, i) => {
    const sort = button(column.title, () => {
      const descending = sorted.column === i ? !sorted.descending : column.isNumber === true;
      sorted = { column: i, descending };
      matching = order(matching, columns, sorted);
      update();
    });
    sort.append(arrows[i] as HTMLElement);
    return element('th', { scope: 'col', class: column.isNumber ? 'number' : undefined }, sort);
  });
  const rowOf = (row: Row) =>
    element(
      'tr',
      {},
      ...columns.map(({ cell, isNumber, isName }) =>
        isName
          ? element('th', { scope: 'row' }, cell(row))
          : element('td', { class: isNumber ? 'number' : undefined }, cell(row)),
      ),
    );
  const update = () => {
    body.replaceChildren(...matching.slice(0, shown).map(rowOf));
    for (const [i, header] of headers.entries()) {
      const isSorted = i === sorted.column;
      if (isSorted) header.setAttribute('aria-sort', sorted.descending ? 'descending' : 'ascending');
      else header.removeAttribute('aria-sort');
      (arrows[i] as HTMLElement).textContent = isSorted ? (sorted.descending ? '↓' : '↑') : '↕';
    }
    const rest = matching.length - Math.min(shown, matching.length);
    more.hidden = rest === 0;
    more.textContent = `Show ${grouped(Math.min(MORE, rest))} more`;
    const which = matching.length < rows.length ? `matching ${thing}` : thing;
    status.textContent = `${rest > 0 ? `${grouped(shown)} of ` : ''}${counted(matching.length, which)}, by ${columns[sorted.column]?.title}, ${sorted.descending ? 'descending' : 'ascending'}`;
  };

  const table = element(
    'table',
    {},
    element('caption', {}, options.caption),
    element('thead', {}, element('tr', {}, ...headers)),
    body,
    options.last ? element('tfoot', {}, rowOf(options.last)) : undefined,
  );
  if (textOf && rows.length > 1) {
    const filter = element('input', { type: 'search', autocomplete: 'off', spellcheck: 'false' });
    filter.addEventListener('input', () => {
      const words = filter.value.toLowerCase().split(/\s+/);
      const matches = (row: Row) => words.every((word) => textOf(row).toLowerCase().includes(word));
      matching = order(rows.filter(matches), columns, sorted);
      shown = FIRST;
      update();
    });
    container.append(element('p', { class: 'filter' }, element('label', {}, 'Filter ', filter)));
  }
  // A wide table scrolls, also by keyboard.
  const scroll = element(
    'div',
    { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': options.caption },
    table,
  );
  container.append(scroll, element('div', { class: 'below' }, status, more));
  update();
}

function order<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  { column, descending }: { readonly column: number; readonly descending: boolean },
): Row[] {
  const sortBy = (columns[column] as Column<Row>).sortBy;
  const sign = descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [left, right] = [sortBy(a) ?? undefined, sortBy(b) ?? undefined];
    if (left === right) return 0;
    if (left === undefined || right === undefined) return left === undefined ? 1 : -1;
    return left < right ? -sign : sign;
  });
}
