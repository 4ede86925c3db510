/**
 * Histograms in the format of bcc. A line has a power of two of latencies, like bcc's, but in seconds: then
 * its count is exact, because eight buckets of a `Latencies` have the same boundaries.
 */
import { OVERFLOW_SLOT, PER_OCTAVE, SLOT_COUNT, upperBoundNs } from '../../programs/latency-buckets.ts';
import { cell } from '../text.ts';
import type { Latencies } from './latencies.ts';
import { type Snapshot, totalsOf } from './snapshot.ts';

const STARS = 40;

/** A histogram of the answered connects of each key, with an empty line between two. */
export function* histograms({ rows }: Snapshot): Generator<string> {
  for (const [i, row] of rows.entries()) {
    const { answered, failures } = totalsOf(row);
    if (i > 0) yield '\n';
    const key = Object.entries(row.key).map(([part, text]) => `${part} = ${cell(text)}`);
    if (key.length > 0) yield `${key.join(', ')}\n`;
    if (answered.count > 0) yield histogram(answered);
    const failed = failures.map(([result, count]) => `${count} ${result}`).join(', ');
    if (failed !== '') yield `not answered: ${failed}\n`;
  }
}

/** The lines of a histogram, from the first octave with a latency to the last. */
export function histogram({ slots }: Latencies): string {
  const octaves = octavesOf(slots);
  const most = Math.max(...octaves.map(({ count }) => count));
  const used = octaves.flatMap(({ count }, i) => (count > 0 ? [i] : []));
  const lines = octaves.slice(used[0], (used.at(-1) ?? -1) + 1).map(({ lowUs, highUs, count }) => {
    const stars = '*'.repeat(Math.floor((STARS * count) / most)).padEnd(STARS);
    const range = `${String(lowUs).padStart(10)} -> ${String(highUs).padEnd(10)}`;
    return `${range} : ${String(count).padEnd(8)} |${stars}|\n`;
  });
  return `${' '.repeat(5)}${'usecs'.padEnd(19)} : count     distribution\n${lines.join('')}`;
}

interface Octave {
  /** The first and the last whole microsecond. */
  readonly lowUs: number;
  readonly highUs: number | 'more';
  readonly count: number;
}

/** The counts by octave: that of all shorter latencies, those of eight buckets each, and the longer ones. */
function octavesOf(slots: Float64Array): Octave[] {
  const octaves: Octave[] = [];
  let lowUs = 0;
  for (let slot = 0; slot < SLOT_COUNT; ) {
    const end = slot === 0 || slot === OVERFLOW_SLOT ? slot + 1 : slot + PER_OCTAVE;
    const upper = upperBoundNs(end - 1);
    const highUs = Number.isFinite(upper) ? Math.floor(upper / 1000) : 'more';
    octaves.push({ lowUs, highUs, count: slots.slice(slot, end).reduce((sum, each) => sum + each, 0) });
    if (highUs !== 'more') lowUs = highUs + 1;
    slot = end;
  }
  return octaves;
}
