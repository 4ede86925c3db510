/**
 * What every measure has in common: its row in the table, medians, and taking turns.
 */

/** One row of the table. Texts carry their units. */
export interface Row {
  readonly measure: string;
  readonly figure: string;
  /** What the figure stands beside, measured in the same run, if there is such a thing. */
  readonly reference?: string;
  /** The figure by the reference. */
  readonly ratio?: number;
  /** What is asked for. */
  readonly bar?: string;
  /** Whether it is; undefined where nothing is asked for. */
  readonly met?: boolean;
}

/** The middle one of the values, which aren't changed; of an even number the upper one. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted[sorted.length >> 1];
  if (middle === undefined) throw new RangeError('no values to take the median of');
  return middle;
}

/**
 * The medians (or what else `choose` takes) of several measures that take turns, so that whatever else the machine does meets all of them
 * alike: A B A B.
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

/** Waits so many milliseconds. */
export function sleep(duration: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, duration));
}
