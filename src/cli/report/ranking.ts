/** The things with the largest numbers, or the last things of many: a bounded number of them. */

/** Keeps the `limit` things with the largest numbers. */
export class Ranking<T> {
  readonly #limit: number;
  /** The largest number first. */
  readonly #entries: { readonly number: number; readonly thing: T }[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Whether a thing with this number would be kept. */
  accepts(number: number): boolean {
    const last = this.#entries[this.#limit - 1];
    return last === undefined || number > last.number;
  }

  /** Adds a thing. Of equal numbers the earlier is kept. */
  add(number: number, thing: T): void {
    if (!this.accepts(number)) return;
    let at = this.#entries.length;
    while (at > 0 && number > (this.#entries[at - 1]?.number as number)) at -= 1;
    this.#entries.splice(at, 0, { number, thing });
    if (this.#entries.length > this.#limit) this.#entries.pop();
  }

  /** The things, that with the largest number first. */
  things(): T[] {
    return this.#entries.map(({ thing }) => thing);
  }
}

/** Keeps the last `limit` things. */
export class Latest<T> {
  readonly #limit: number;
  readonly #things: T[] = [];
  #count = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(thing: T): void {
    this.#things[this.#count % this.#limit] = thing;
    this.#count += 1;
  }

  /** The things, the last one first. */
  things(): T[] {
    const begin = this.#count % this.#limit;
    return [...this.#things.slice(begin), ...this.#things.slice(0, begin)].reverse();
  }
}
