/** The heat map: connects by time and latency, drawn into a chart's canvas. */
import type uPlot from 'uplot';
import {
  OVERFLOW_SLOT,
  SLOT_COUNT,
  UNDERFLOW_SLOT,
  upperBoundNs,
} from '../../../programs/latency-buckets.ts';
import type { ReportData } from '../data.ts';
import type { Color, Theme } from './theme.ts';

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

/** The cells as an image with a pixel for each: rows and columns have the same size. */
interface Cells {
  readonly image: HTMLCanvasElement;
  /** The row of the histogram at the top of the image. */
  readonly topRow: number;
  readonly slotsPerRow: number;
  /** The most connects in a cell. */
  readonly max: number;
  readonly theme: Theme;
}

export class HeatMap {
  readonly #data: ReportData;
  readonly #range: LatencyRange;
  #cells: Cells | undefined;

  constructor(data: ReportData, range: LatencyRange) {
    this.#data = data;
    this.#range = range;
  }

  /** The most connects in a cell, after the map has been drawn. */
  get max(): number {
    return this.#cells?.max ?? 0;
  }

  /** Draws the cells into the plot, whose x scale is in seconds and whose y scale is in ms. */
  draw(plot: uPlot, theme: Theme): void {
    const { ctx, bbox } = plot;
    const { image, topRow, slotsPerRow } = this.#cellsFor(bbox.height / devicePixelRatio, theme);
    const { startMs, widthMs } = this.#data;
    const x = (column: number) => plot.valToPos((startMs + column * widthMs) / 1000, 'x', true);
    const y = (row: number) => plot.valToPos(boundary(row * slotsPerRow), 'y', true);
    const [left, right] = [x(0), x(image.width)];
    const [top, bottom] = [y(topRow + 1), y(topRow + 1 - image.height)];
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(image, left, top, right - left, bottom - top);
    ctx.restore();
  }

  #cellsFor(height: number, theme: Theme): Cells {
    const slots = this.#range.endSlot - this.#range.firstSlot;
    const slotsPerRow = ROW_SLOTS.find((each) => (height * each) / slots >= MIN_ROW_HEIGHT) ?? 8;
    if (this.#cells?.slotsPerRow !== slotsPerRow || this.#cells.theme !== theme)
      this.#cells = this.#make(slotsPerRow, theme);
    return this.#cells;
  }

  #make(slotsPerRow: number, theme: Theme): Cells {
    const { heat } = this.#data;
    const { firstSlot, endSlot } = this.#range;
    const rowOf = (slot: number) =>
      Math.floor((Math.min(Math.max(slot, 1), OVERFLOW_SLOT - 1) - 1) / slotsPerRow);
    const [topRow, bottomRow] = [rowOf(endSlot), rowOf(firstSlot)];
    const [width, height] = [heat.length, topRow - bottomRow + 1];
    const counts = new Float64Array(width * height);
    let max = 1;
    for (const [column, [first = 0, ...connects]] of heat.entries())
      for (const [i, count] of connects.entries()) {
        const at = (topRow - rowOf(first + i)) * width + column;
        counts[at] = (counts[at] ?? 0) + count;
        max = Math.max(max, counts[at] ?? 0);
      }
    const image = document.createElement('canvas');
    Object.assign(image, { width, height });
    const context = image.getContext('2d') as CanvasRenderingContext2D;
    const pixels = context.createImageData(width, height);
    const scale = (theme.heat.length - 1) / Math.log(Math.max(2, max));
    for (const [at, count] of counts.entries())
      if (count > 0)
        pixels.data.set([...(theme.heat[Math.round(Math.log(count) * scale)] as Color), 255], at * 4);
    context.putImageData(pixels, 0, 0);
    return { image, topRow, slotsPerRow, max, theme };
  }
}
