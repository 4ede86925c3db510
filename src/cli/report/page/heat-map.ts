/** The heat map: connects by time and latency, drawn into a chart's canvas. */
import type uPlot from 'uplot';
import {
  OVERFLOW_SLOT,
  SLOT_COUNT,
  UNDERFLOW_SLOT,
  upperBoundNs,
} from '../../../programs/latency-buckets.ts';
import type { ReportData } from '../data.ts';
import type { Theme } from './theme.ts';

/** The lowest height of a row, in pixels of the screen. */
const MIN_ROW_HEIGHT = 3;
/** The least range of latencies that the axis shows: slots of the histogram, eight for a factor of two. */
const MIN_SLOTS = 32;
/** Slots below and above the connects. */
const MARGIN = 3;
/** How many slots of the histogram a row may have. They divide a factor of two. */
const ROW_SLOTS = [1, 2, 4, 8];

/** The latency axis of a report, in ms. */
export interface LatencyRange {
  readonly firstSlot: number;
  readonly endSlot: number;
  readonly min: number;
  readonly max: number;
}

/** The upper boundary of a slot in ms, also of the first and the last slot. */
function boundary(slot: number): number {
  return upperBoundNs(Math.min(Math.max(slot, UNDERFLOW_SLOT), OVERFLOW_SLOT - 1)) / 1e6;
}

/** The latencies of all connects. */
export function latencyRange({ heat }: ReportData): LatencyRange {
  let [first, end] = [SLOT_COUNT, 0];
  for (const [begin, ...counts] of heat) {
    if (begin === undefined) continue;
    first = Math.min(first, begin);
    end = Math.max(end, begin + counts.length);
  }
  if (first >= end) [first, end] = [80, 80 + MIN_SLOTS];
  const wider = Math.max(0, MIN_SLOTS - (end - first));
  const firstSlot = Math.max(UNDERFLOW_SLOT + 1, first - Math.ceil(wider / 2) - MARGIN);
  const endSlot = Math.min(OVERFLOW_SLOT, Math.max(end + Math.floor(wider / 2) + MARGIN, firstSlot + 1));
  return { firstSlot, endSlot, min: boundary(firstSlot - 1), max: boundary(endSlot - 1) };
}

/** Connects by row and column. A row has the slots of the histogram from `row * slotsPerRow` on. */
class Cells {
  readonly slotsPerRow: number;
  readonly columns: readonly ReadonlyMap<number, number>[];
  readonly max: number;

  constructor(heat: ReportData['heat'], slotsPerRow: number) {
    this.slotsPerRow = slotsPerRow;
    let max = 0;
    this.columns = heat.map(([first = 0, ...counts]) => {
      const rows = new Map<number, number>();
      for (const [i, count] of counts.entries()) {
        if (count === 0) continue;
        const row = Math.floor((Math.min(Math.max(first + i, 1), OVERFLOW_SLOT - 1) - 1) / slotsPerRow);
        const sum = (rows.get(row) ?? 0) + count;
        rows.set(row, sum);
        max = Math.max(max, sum);
      }
      return rows;
    });
    this.max = max;
  }
}

export class HeatMap {
  readonly #data: ReportData;
  readonly #range: LatencyRange;
  #cells: Cells | undefined;

  constructor(data: ReportData, range: LatencyRange) {
    this.#data = data;
    this.#range = range;
  }

  /** The most connects in a cell. */
  get max(): number {
    return this.#cells?.max ?? 0;
  }

  /** Draws the cells into the plot, whose x scale is in seconds and whose y scale is in ms. */
  draw(plot: uPlot, { heat }: Theme): void {
    const { ctx, bbox } = plot;
    const cells = this.#cellsFor(bbox.height / devicePixelRatio);
    const { startMs, widthMs } = this.#data;
    const x = (column: number) => Math.round(plot.valToPos((startMs + column * widthMs) / 1000, 'x', true));
    const y = (slot: number) => Math.round(plot.valToPos(boundary(slot), 'y', true));
    const scale = (heat.length - 1) / Math.log(Math.max(2, cells.max));
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (const [column, rows] of cells.columns.entries()) {
      const left = x(column);
      const width = Math.max(1, x(column + 1) - left);
      if (rows.size === 0 || left > bbox.left + bbox.width || left + width < bbox.left) continue;
      for (const [row, count] of rows) {
        const bottom = y(row * cells.slotsPerRow);
        const top = y((row + 1) * cells.slotsPerRow);
        ctx.fillStyle = heat[Math.round(Math.log(count) * scale)] as string;
        ctx.fillRect(left, top, width, Math.max(1, bottom - top));
      }
    }
    ctx.restore();
  }

  #cellsFor(height: number): Cells {
    const slots = this.#range.endSlot - this.#range.firstSlot;
    const slotsPerRow = ROW_SLOTS.find((each) => (height * each) / slots >= MIN_ROW_HEIGHT) ?? 8;
    if (this.#cells?.slotsPerRow !== slotsPerRow) this.#cells = new Cells(this.#data.heat, slotsPerRow);
    return this.#cells;
  }
}

/** Draws the colors from one connect to the most connects in a cell. */
export function drawColorScale(canvas: HTMLCanvasElement, { heat }: Theme): void {
  const context = canvas.getContext('2d');
  const width = canvas.width / heat.length;
  for (const [i, color] of heat.entries()) {
    if (!context) return;
    context.fillStyle = color;
    context.fillRect(Math.floor(i * width), 0, Math.ceil(width), canvas.height);
  }
}
