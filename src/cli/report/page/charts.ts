/**
 * The charts over time: heat map, percentiles, connects, and connects that were not established. They share a
 * time axis, its zoom, and a selected time slot. A slider selects the slot by keyboard and says its numbers.
 */
import uPlot from 'uplot';
import type { ReportData } from '../data.ts';
import {
  clock,
  counted,
  dateTime,
  digits,
  durationText,
  endOfRange,
  grouped,
  latencyText,
} from '../format.ts';
import { button, element } from './elements.ts';
import { HeatMap, latencyRange } from './heat-map.ts';
import { type Theme, watchTheme } from './theme.ts';

const DAY_S = 86_400;
/** The width of the left axis in pixels, the same for all charts, so that they align. */
const AXIS_WIDTH = 64;
/** The width of a chart on paper, and the least one on a screen. */
const PRINT_WIDTH = 900;
const MIN_WIDTH = 240;
/** The most results with a color of their own. */
const MAX_COLORS = 6;
const ESTABLISHED = ['established', 'answered'];

/** The values of a chart: one number, or null, for each time slot. */
type Values = (number | null)[];

interface Series {
  readonly name: string;
  readonly values: Values;
  readonly color: (theme: Theme) => string;
  readonly options: Omit<uPlot.Series, 'stroke' | 'fill'>;
  readonly isFilled?: boolean;
}

interface Chart {
  readonly title: string;
  /** What the chart shows, for readers who cannot see it. */
  readonly description: string;
  readonly height: number;
  readonly yScale: uPlot.Scale;
  /** The values of the y axis that have a label and a line; null for the others. */
  readonly labeled: (values: number[]) => (number | null)[];
  readonly yText: (value: number) => string;
  readonly series: readonly Series[];
  readonly draw?: (plot: uPlot, theme: Theme) => void;
  /** Elements below the title, with a function that colors them. */
  readonly legend: Legend;
}

interface Legend {
  readonly node: HTMLElement;
  paint(theme: Theme): void;
}

/** The time axis of a report, in seconds as uPlot has it. */
class TimeAxis {
  readonly #data: ReportData;
  /** The middle of each slot. */
  readonly middles: number[];
  readonly min: number;
  readonly max: number;

  constructor(data: ReportData) {
    this.#data = data;
    const { startMs, widthMs, heat } = data;
    this.middles = heat.map((_, slot) => (startMs + (slot + 0.5) * widthMs) / 1000);
    this.min = startMs / 1000;
    this.max = (startMs + heat.length * widthMs) / 1000;
  }

  /** The range that is shown: whole slots. Without a zoom it is that of all slots. */
  range(from: number, to: number): [number, number] {
    const isWhole = from <= (this.middles[0] ?? 0) && to >= (this.middles.at(-1) ?? 0);
    return isWhole ? [this.min, this.max] : [from, to];
  }

  /** The labels of times in seconds; the first one and those of another day have the date. */
  labels(times: readonly number[], step: number): string[] {
    const precision = step < 1 ? 100 : step < 60 ? 1000 : 60_000;
    let day = -1;
    return times.map((time) => {
      const before = day;
      day = Math.floor(time / DAY_S);
      const [date = ''] = dateTime(time * 1000).split(' ');
      if (step >= DAY_S) return date;
      return day === before ? clock(time * 1000, precision) : `${clock(time * 1000, precision)}\n${date}`;
    });
  }

  /** `2026-11-25 15:39:56 – 15:39:58 UTC`. */
  text(slot: number): string {
    const { startMs, widthMs } = this.#data;
    const from = startMs + slot * widthMs;
    const precision = Math.min(widthMs, 60_000);
    return `${dateTime(from, precision)} – ${endOfRange(from, from + widthMs, precision)} UTC`;
  }
}

/** Fills `container` with the charts of a report. */
export function addCharts(container: HTMLElement, data: ReportData): void {
  const axis = new TimeAxis(data);
  const charts = chartsOf(data);
  const plots: uPlot[] = [];
  let theme: Theme | undefined;
  let isPrinted = false;
  let selected = -1;

  const slider = element('input', {
    ...{ type: 'range', min: 0, max: axis.middles.length - 1, step: 1, 'aria-label': 'Time slot' },
  });
  const readout = element('p', { class: 'readout' });
  const reset = button('Whole time', () => zoom(axis.min, axis.max));

  const zoom = (min: number, max: number) => {
    for (const plot of plots) plot.setScale('x', { min, max });
  };
  const zoomBy = (factor: number) => {
    const { min = axis.min, max = axis.max } = plots[0]?.scales.x ?? {};
    const middle = axis.middles[selected] ?? (min + max) / 2;
    const length = Math.min(Math.max((max - min) * factor, (2 * data.widthMs) / 1000), axis.max - axis.min);
    const begin = Math.min(Math.max(middle - length / 2, axis.min), axis.max - length);
    zoom(begin, begin + length);
  };
  const select = (slot: number) => {
    selected = slot;
    const text = slotText(data, axis, slot);
    slider.value = String(slot);
    slider.setAttribute('aria-valuetext', text);
    readout.textContent = text;
  };
  const mark = () => {
    for (const plot of plots)
      plot.setCursor({ left: plot.valToPos(axis.middles[selected] as number, 'x'), top: 0 });
  };
  slider.addEventListener('input', () => {
    select(slider.valueAsNumber);
    mark();
  });

  const width = () => (isPrinted ? PRINT_WIDTH : Math.max(MIN_WIDTH, container.clientWidth));
  const optionsOf = (chart: Chart, colors: Theme): uPlot.Options => ({
    width: width(),
    height: chart.height,
    padding: [8, 28, 0, 0],
    legend: { show: false },
    cursor: { sync: { key: 'time' }, y: false, drag: { x: true, y: false }, points: { show: !chart.draw } },
    tzDate: (time) => uPlot.tzDate(new Date(time * 1000), 'Etc/UTC'),
    scales: { x: { range: (_, from, to) => axis.range(from, to) }, y: chart.yScale },
    axes: [
      {
        ...axisColors(colors),
        space: 90,
        grid: { show: !chart.draw, stroke: colors.grid, width: 1 },
        values: (_, times, _axis, _space, step) => axis.labels(times, step),
      },
      {
        ...axisColors(colors),
        ticks: { show: false },
        size: AXIS_WIDTH,
        filter: (_, values) => chart.labeled(values),
        grid: {
          show: !chart.draw,
          stroke: colors.grid,
          width: 1,
          filter: (_, values) => chart.labeled(values),
        },
        values: (_, values) => values.map((value) => (value === null ? '' : chart.yText(value))),
      },
    ],
    series: [
      {},
      ...chart.series.map(({ name, color, options, isFilled }) => ({
        ...{ label: name, stroke: color(colors), ...options },
        ...(isFilled && { fill: color(colors) }),
      })),
    ],
    hooks: {
      draw: chart.draw ? [(plot) => chart.draw?.(plot, colors)] : [],
      setCursor: [
        ({ cursor: { idx } }) => {
          if (typeof idx === 'number' && idx !== selected) select(idx);
        },
      ],
      setScale: [
        (plot, key) => {
          if (key !== 'x' || !plots.includes(plot)) return;
          const { min = axis.min, max = axis.max } = plot.scales.x ?? {};
          for (const other of plots)
            if (other.scales.x?.min !== min || other.scales.x?.max !== max) other.setScale('x', { min, max });
          reset.disabled = min <= axis.min && max >= axis.max;
        },
      ],
    },
  });

  const places = charts.map((chart, i) => {
    const id = `chart-${i}`;
    const plot = element('div', {
      role: 'img',
      'aria-labelledby': `${id}-title`,
      'aria-describedby': `${id}-text`,
    });
    container.append(
      element(
        'figure',
        {},
        element('figcaption', {}, element('h3', { id: `${id}-title` }, chart.title), chart.legend.node),
        element('p', { id: `${id}-text`, class: 'hidden' }, chart.description),
        plot,
      ),
    );
    return plot;
  });
  const controls = element(
    'div',
    { class: 'controls' },
    element('label', { class: 'slider' }, element('span', {}, 'Time slot'), slider),
    element(
      'div',
      { class: 'buttons' },
      button('Zoom in', () => zoomBy(0.5)),
      button('Zoom out', () => zoomBy(2)),
      reset,
    ),
    readout,
  );
  container.append(controls, dataTable(data, axis));

  const draw = (colors: Theme, isPrint: boolean) => {
    theme = colors;
    isPrinted = isPrint;
    const { min, max } = plots[0]?.scales.x ?? {};
    for (const plot of plots.splice(0)) plot.destroy();
    const made = charts.map((chart, i) => {
      const values = [axis.middles, ...chart.series.map((series) => series.values)];
      return new uPlot(optionsOf(chart, colors), values as uPlot.AlignedData, places[i] as HTMLElement);
    });
    for (const { legend } of charts) legend.paint(colors);
    plots.push(...made);
    if (typeof min === 'number' && typeof max === 'number') zoom(min, max);
  };
  watchTheme(draw);
  reset.disabled = true;
  select(busiest(data));
  let drawnWidth = width();
  new ResizeObserver(() => {
    if (width() === drawnWidth || !theme) return;
    drawnWidth = width();
    for (const [i, plot] of plots.entries())
      plot.setSize({ width: drawnWidth, height: charts[i]?.height ?? 0 });
    for (const { legend } of charts) legend.paint(theme);
  }).observe(container);
}

const axisColors = ({ muted, grid }: Theme) => ({
  ...{ stroke: muted, font: '12px system-ui, sans-serif' },
  ticks: { stroke: grid, width: 1, size: 4 },
});

/** The slot with the most answered connects, which is selected at first. */
function busiest({ results, heat }: ReportData): number {
  let [most, slot] = [-1, 0];
  for (const i of heat.keys()) {
    const connects = results.reduce((sum, { counts }) => sum + (counts[i] ?? 0), 0);
    if (connects > most) [most, slot] = [connects, i];
  }
  return slot;
}

function chartsOf(data: ReportData): Chart[] {
  const { results, latency, widthMs } = data;
  const range = latencyRange(data);
  const latencyScale: uPlot.Scale = { distr: 3, log: 10, range: [range.min, range.max] };
  const onLatencyAxis = {
    ...{ yScale: latencyScale, yText: latencyText },
    labeled: (values: number[]) => values.map((value) => (isPowerOfTen(value) ? value : null)),
  };
  const map = new HeatMap(data, range);
  const mapLegend = heatLegend(map);
  const failures = results.filter(({ name }) => !ESTABLISHED.includes(name));
  const totals = data.heat.map((_, slot) =>
    results.reduce((sum, { counts }) => sum + (counts[slot] ?? 0), 0),
  );
  const line = (name: 'p50' | 'p90' | 'p99' | 'max', options: Series['options']): Series => ({
    ...{ name, values: [...latency[name]], color: ({ lines }) => lines[name] as string, options },
  });
  const percentiles = [
    line('max', { width: 1, dash: [2, 3] }),
    line('p99', { width: 2 }),
    line('p90', { width: 2, dash: [6, 3] }),
    line('p50', { width: 2 }),
  ];
  const slots = `each time slot has ${durationText(widthMs)}`;
  return [
    {
      title: 'Heat map of latencies',
      description: `Answered connects by time and latency; ${slots}. The table below has the numbers.`,
      ...{ height: 300, ...onLatencyAxis },
      // The map has no lines, but the cursor needs values.
      series: [
        { ...line('p50', { show: true, width: 0, points: { show: false } }), color: () => 'transparent' },
      ],
      draw(plot, theme) {
        map.draw(plot, theme);
        mapLegend.paint(theme); // by the height of the plot
      },
      legend: mapLegend,
    },
    {
      title: 'Percentiles of the latency',
      description: `The latency that 50 %, 90 % and 99 % of the answered connects did not exceed, and the maximum; ${slots}.`,
      ...{ height: 240, ...onLatencyAxis, series: percentiles },
      legend: seriesLegend(percentiles),
    },
    {
      title: `Connects per ${durationText(widthMs)}`,
      description: `All connects by the time when they ended; ${slots}.`,
      ...{ height: 150, yScale: fromZero(totals), ...WHOLE_NUMBERS },
      series: [bars('connects', totals, ({ bars: color }) => color)],
      legend: { node: element('span'), paint() {} },
    },
    ...(failures.length > 0 ? [failureChart(failures, widthMs, slots)] : []),
  ];
}

/** Bars of results, on top of each other. The sums are drawn first, and each next one covers a part. */
function failureChart(failures: ReportData['results'], widthMs: number, slots: string): Chart {
  const colored = failures.slice(0, MAX_COLORS - 1);
  const others = failures.slice(MAX_COLORS - 1);
  const groups = [
    ...colored,
    ...(others.length > 0
      ? [{ name: 'others', counts: (colored[0]?.counts ?? []).map((_, i) => sumAt(others, i)) }]
      : []),
  ];
  const stacked = groups.map(({ name, counts }, group) => {
    const values = counts.map((_, slot) => sumAt(groups.slice(0, group + 1), slot));
    return bars(name, values, ({ results }) => results[group] as string);
  });
  return {
    title: `Not established per ${durationText(widthMs)}`,
    description: `Connects that were not established, by result; ${slots}.`,
    height: 150,
    yScale: fromZero(stacked.at(-1)?.values ?? []),
    ...WHOLE_NUMBERS,
    series: [...stacked].reverse(),
    legend: seriesLegend(stacked),
  };
}

function sumAt(results: ReportData['results'], slot: number): number {
  return results.reduce((sum, { counts }) => sum + (counts[slot] ?? 0), 0);
}

/** A scale from 0 to the largest value, which is at least 4, so that labels are whole numbers. */
function fromZero(values: Values): uPlot.Scale {
  const max = values.reduce<number>((most, value) => Math.max(most, value ?? 0), 0);
  return { range: [0, Math.max(4, max * 1.05)] };
}

function bars(name: string, values: Values, color: Series['color']): Series {
  const paths = uPlot.paths.bars?.({ size: [1, Number.POSITIVE_INFINITY], gap: 0 });
  const shown = values.map((value) => (value === 0 ? null : value));
  return {
    name,
    values: shown,
    color,
    isFilled: true,
    options: { width: 0, paths, points: { show: false } },
  };
}

function isPowerOfTen(value: number): boolean {
  return Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9;
}

const WHOLE_NUMBERS = {
  yText: grouped,
  labeled: (values: number[]) => values.map((value) => (Number.isInteger(value) ? value : null)),
};

function seriesLegend(series: readonly Series[]): Legend {
  const swatches = series.map(() => element('span', { class: 'swatch', 'aria-hidden': 'true' }));
  const items = series.map(({ name }, i) => element('li', {}, swatches[i], name));
  return {
    node: element('ul', { class: 'legend' }, ...items),
    paint(theme) {
      for (const [i, { color, options, isFilled }] of series.entries()) {
        const line = isFilled ? 10 : (options.width ?? 1);
        const [dash] = options.dash ?? [];
        const style = dash === undefined ? 'solid' : dash > 2 ? 'dashed' : 'dotted';
        (swatches[i] as HTMLElement).style.borderTop = `${line}px ${style} ${color(theme)}`;
      }
    },
  };
}

function heatLegend(map: HeatMap): Legend {
  const scale = element('span', { class: 'scale', 'aria-hidden': 'true' });
  const most = element('span');
  return {
    node: element('p', { class: 'legend' }, 'connects: 1 ', scale, most),
    paint({ heat }) {
      scale.style.background = `linear-gradient(to right, ${heat.map((color) => `rgb(${color})`).join(', ')})`;
      most.textContent = grouped(map.max);
    },
  };
}

/** The numbers of a time slot in words. */
function slotText(data: ReportData, axis: TimeAxis, slot: number): string {
  const { results, latency } = data;
  const parts = results
    .map(({ name, counts }) => [counts[slot] ?? 0, name] as const)
    .filter(([count]) => count > 0);
  const connects = parts.reduce((sum, [count]) => sum + count, 0);
  if (connects === 0) return `${axis.text(slot)}: no connects`;
  const latencies = (['p50', 'p90', 'p99', 'max'] as const).flatMap((name) => {
    const value = latency[name][slot];
    return typeof value === 'number' ? [`${name} ${latencyText(value)}`] : [];
  });
  const outcomes = parts.map(([count, name]) => `${grouped(count)} ${name}`);
  return `${axis.text(slot)}: ${counted(connects, 'connect')} (${outcomes.join(', ')})${latencies.length > 0 ? `; ${latencies.join(', ')}` : ''}`;
}

/** The numbers of all time slots as a table, made when it is opened. */
function dataTable(data: ReportData, axis: TimeAxis): HTMLElement {
  const details = element('details', {}, element('summary', {}, 'The charts as a table'));
  const quantiles = ['p50', 'p90', 'p99', 'max'] as const;
  const fill = () => {
    const titles = [
      'Time',
      ...data.results.map(({ name }) => name),
      ...quantiles.map((name) => `${name} (ms)`),
    ];
    const rows = axis.middles.flatMap((_, slot) => {
      if (sumAt(data.results, slot) === 0) return [];
      const counts = data.results.map((result) => grouped(result.counts[slot] ?? 0));
      const latencies = quantiles.map((name) => {
        const value = data.latency[name][slot];
        return typeof value === 'number' ? digits(value) : '';
      });
      const cells = [...counts, ...latencies].map((text) => element('td', { class: 'number' }, text));
      return [element('tr', {}, element('th', { scope: 'row' }, axis.text(slot)), ...cells)];
    });
    const caption = 'Connects by result, and latencies of answered connects, by time';
    const head = element('tr', {}, ...titles.map((title) => element('th', { scope: 'col' }, title)));
    const table = element('table', {}, element('caption', {}, caption), element('thead', {}, head));
    table.append(element('tbody', {}, ...rows));
    details.append(
      element('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption }, table),
    );
  };
  details.addEventListener('toggle', fill, { once: true });
  return details;
}
