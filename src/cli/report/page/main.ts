/**
 * The script of a report's page. It makes charts and tables of the data in the document. The build puts it
 * into a function that the browser runs after it has painted the summary (build.mjs).
 */
import { type ConnectCells, type DestinationRow, IDS, type ReportData } from '../data.ts';
import { counted, dateTime, digits, grouped, percent } from '../format.ts';
import { addCharts } from './charts.ts';
import { element, isolated } from './elements.ts';
import { addTable, type Column } from './table.ts';

const data: ReportData = JSON.parse(byId(IDS.data).textContent ?? '');

function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element ${id}`);
  return found;
}

const number = <Row>(
  title: string,
  value: (row: Row) => number | null | undefined,
  text = grouped,
): Column<Row> => ({
  ...{ title, isNumber: true, sortBy: value },
  cell(row) {
    const known = value(row);
    return typeof known === 'number' ? text(known) : '';
  },
});

const foreign = <Row>(title: string, value: (row: Row) => string | undefined): Column<Row> => ({
  ...{ title, sortBy: value },
  cell(row) {
    const known = value(row);
    return known === undefined ? '' : isolated(known);
  },
});

// --- destinations --------------------------------------------------------------------------------

function nameOf(row: DestinationRow): string {
  if (row === data.otherDestinations) return 'other destinations';
  return `${row.address.includes(':') ? `[${row.address}]` : row.address}:${row.port}`;
}

function failed({ failures }: DestinationRow): number {
  return Object.values(failures).reduce((sum, count) => sum + count, 0);
}

function failureText(row: DestinationRow): string {
  return Object.entries(row.failures)
    .map(([result, count]) => `${grouped(count)} ${result}`)
    .join(', ');
}

const hasNames = data.destinations.some(({ host, service }) => (host ?? service) !== undefined);

const destinationColumns: Column<DestinationRow>[] = [
  { title: 'Destination', sortBy: nameOf, cell: (row) => isolated(nameOf(row)), isName: true },
  ...(hasNames
    ? [
        foreign<DestinationRow>('Name', ({ host }) => host),
        foreign<DestinationRow>('Service', ({ service }) => service),
      ]
    : []),
  number('Connects', ({ connects }) => connects),
  number('Not established', failed),
  {
    ...number<DestinationRow>(
      'Share',
      (row) => (failed(row) === 0 ? 0 : failed(row) / row.connects),
      percent,
    ),
  },
  foreign('Results', failureText),
  number('Retransmits', ({ retransmits }) => retransmits),
  number('p50 (ms)', ({ p50 }) => p50, digits),
  number('p90 (ms)', ({ p90 }) => p90, digits),
  number('p99 (ms)', ({ p99 }) => p99, digits),
  number('Max (ms)', ({ max }) => max, digits),
];

// --- connects ------------------------------------------------------------------------------------

/** The columns that at least one connect has a value for. */
function connectColumns(rows: readonly ConnectCells[]): Column<ConnectCells>[] {
  const has = (name: keyof ConnectCells) => rows.some((row) => row[name] !== undefined);
  const ifKnown = (name: keyof ConnectCells, column: Column<ConnectCells>) => (has(name) ? [column] : []);
  return [
    {
      title: 'Time (UTC)',
      sortBy: ({ timeMs }) => timeMs,
      cell: ({ timeMs }) =>
        element('time', { datetime: new Date(timeMs).toISOString() }, dateTime(timeMs, 1)),
      isName: true,
    },
    number('Latency (ms)', ({ latency }) => latency, digits),
    ...ifKnown(
      'result',
      foreign('Result', ({ result }) => result),
    ),
    ...ifKnown(
      'retransmits',
      number('Retransmits', ({ retransmits }) => retransmits),
    ),
    foreign('To', ({ to }) => to),
    ...ifKnown(
      'requested',
      foreign('Requested', ({ requested }) => requested),
    ),
    foreign('From', ({ from }) => from),
    number('PID', ({ pid }) => pid, String),
    foreign('Thread', ({ comm }) => comm),
    ...ifKnown(
      'uid',
      number('User', ({ uid }) => uid, String),
    ),
    ...ifKnown(
      'workload',
      foreign('Unit or pod', ({ workload }) => workload),
    ),
    ...ifKnown(
      'exe',
      foreign('Executable', ({ exe }) => exe),
    ),
  ];
}

function addConnects(
  id: string,
  caption: string,
  rows: readonly ConnectCells[],
  none: string,
  sortedBy: number,
): void {
  const container = byId(id);
  if (rows.length === 0) container.append(element('p', {}, none));
  else addTable(container, { caption, columns: connectColumns(rows), rows, thing: 'connect', sortedBy });
}

function build(): void {
  addCharts(byId(IDS.charts), data);
  addTable(byId(IDS.destinations), {
    caption: 'Connects by destination; latencies of answered connects',
    columns: destinationColumns,
    rows: data.destinations,
    thing: 'destination',
    sortedBy: destinationColumns.findIndex(({ title }) => title === 'Connects'),
    textOf: (row) => `${nameOf(row)} ${row.host ?? ''} ${row.service ?? ''} ${failureText(row)}`,
    last: data.otherDestinations,
  });
  const slowest = `The ${counted(data.slowest.length, 'answered connect')} with the highest latency`;
  addConnects(IDS.slowest, slowest, data.slowest, 'No connect was answered.', 1);
  const failures = `The last ${counted(data.failed.length, 'connect')} that ${data.failed.length === 1 ? 'was' : 'were'} not established`;
  addConnects(IDS.failed, failures, data.failed, 'Every connect was established.', 0);
}

// A report without connects has no charts and tables.
if (data.results.length > 0) build();
document.querySelector('main')?.removeAttribute('aria-busy');
