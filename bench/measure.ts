/**
 * Shared by all measures: table rows, medians, and alternating rounds.
 */

/** One row of the table. Texts carry their units. */
export interface Row {
  readonly measure: string;
  readonly figure: string;
  /** A value for comparison, measured in the same run, if any. */
  readonly reference?: string;
  /** The figure divided by the reference. */
  readonly ratio?: number;
  /** The limit that the figure must meet, if any. */
  readonly bar?: string;
  /** Whether it meets the limit; undefined without a limit. */
  readonly met?: boolean;
}

/** The median; the upper one of an even number of values. */
export function median(values: readonly number[]): number {
  return ascending(values)[values.length >> 1] as number;
}

/** A quarter of the values are larger. For rates, because another load on the machine only lowers them. */
export function upperQuartile(values: readonly number[]): number {
  return ascending(values).at(-1 - (values.length >> 2)) as number;
}

function ascending(values: readonly number[]): number[] {
  if (values.length === 0) throw new RangeError('no values to choose one of');
  return [...values].sort((a, b) => a - b);
}

/**
 * The medians (or the choice of `choose`) of several measures that run in turns (A B A B), so that other load
 * on the machine affects all of them equally.
 */
export async function takeTurns<K extends string>(
  rounds: number,
  measures: Readonly<Record<K, () => Promise<number>>>,
  choose: (values: readonly number[]) => number = median,
): Promise<Record<K, number>> {
  const names = Object.keys(measures) as K[];
  const values = new Map<K, number[]>(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++)
    for (const name of names) values.get(name)?.push(await measures[name]());
  return Object.fromEntries(names.map((name) => [name, choose(values.get(name) ?? [])])) as Record<K, number>;
}

/** Milliseconds as text. */
export function ms(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 1)} ms`;
}

/** A rate per second as text, in millions. */
export function millions(rate: number): string {
  return `${(rate / 1e6).toFixed(2)} million/s`;
}

/** Waits `duration` milliseconds. */
export function sleep(duration: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, duration));
}
