/**
 * The positions of the types in a BTF blob. The size of a type depends on its kind and its number of parts,
 * so only a scan finds the types.
 */
import { HEAD_WORDS, type KindSizes, kindOf, partsOf, UNKNOWN_KIND } from './format.ts';
import { BtfError } from './types.ts';

/**
 * The index keeps the position of every 16th type, and finds the others from there. Writing to fresh memory
 * is slow: with a position for each of a kernel's 150,000 types, the scan takes five times as long.
 */
const SPACING = 16;

const PAST_END = ' reaches past the end of the type section';

/**
 * The positions of a blob's types. Types are numbered from 1 in the order of the blob; positions are indexes
 * into the type section as 32-bit words. Each method scans only as far as needed, and throws BtfError for a
 * type of an unknown kind, a truncated type, or a name past the string section.
 */
export class TypeIndex {
  readonly #words: Uint32Array;
  readonly #kindSizes: KindSizes;
  readonly #stringBytes: number;
  /** The positions of types 1, 17, 33 and so on: one for each scanned block. */
  readonly #marks: Uint32Array;
  #blocks = 0;
  /** The end of the scanned blocks. */
  #end = 0;

  constructor(words: Uint32Array, kindSizes: KindSizes, stringBytes: number) {
    this.#words = words;
    this.#kindSizes = kindSizes;
    this.#stringBytes = stringBytes;
    this.#marks = new Uint32Array(Math.ceil(words.length / HEAD_WORDS / SPACING) + 1);
  }

  /** Scans to the end of the type section. */
  scanAll(): void {
    while (this.#scan());
  }

  /** The number of types in the blob. */
  get count(): number {
    this.scanAll();
    if (this.#blocks === 0) return 0;
    let count = (this.#blocks - 1) * SPACING; // All blocks but the last are full.
    for (let at = this.#marks[this.#blocks - 1] as number; at < this.#words.length; at = this.#next(at))
      count++;
    return count;
  }

  /** The position of a type by its number, or undefined. */
  start(number: number): number | undefined {
    if (!Number.isInteger(number) || number < 1) return undefined;
    const block = Math.floor((number - 1) / SPACING);
    while (this.#blocks <= block) if (!this.#scan()) return undefined;
    let at = this.#marks[block] as number;
    for (let rest = (number - 1) % SPACING; rest > 0; rest--) {
      at = this.#next(at);
      if (at >= this.#words.length) return undefined;
    }
    return at;
  }

  /** The number of the type at a position, or undefined if the position is inside a type. */
  numberAt(position: number): number | undefined {
    while (this.#end <= position) if (!this.#scan()) return undefined;
    const block = this.#blockOf(position);
    let number = block * SPACING + 1;
    let at = this.#marks[block] as number;
    while (at < position) {
      at = this.#next(at);
      number++;
    }
    return at === position ? number : undefined;
  }

  /** Calls `visit` with the number and the position of each type, in ascending order. */
  forEach(visit: (number: number, start: number) => void): void {
    this.scanAll();
    let number = 1;
    for (let at = 0; at < this.#words.length; at = this.#next(at)) visit(number++, at);
  }

  /** Scans the next block. Returns false at the end of the type section. */
  #scan(): boolean {
    const { length } = this.#words;
    const first = this.#end;
    if (first >= length) return false;
    const { fixed, each } = this.#kindSizes;
    const last = this.#blocks * SPACING;
    this.#end = scanBlock(this.#words, first, last, fixed, each, this.#stringBytes);
    this.#marks[this.#blocks++] = first;
    return true;
  }

  /** The block that contains a position: the last one that does not begin after it. */
  #blockOf(position: number): number {
    let low = 0;
    let high = this.#blocks - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.#marks[middle] as number) <= position) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The position of the type after the one at `at`. */
  #next(at: number): number {
    const info = this.#words[at + 1] as number;
    const kind = kindOf(info);
    const { fixed, each } = this.#kindSizes;
    return at + HEAD_WORDS + (fixed[kind] as number) + partsOf(info) * (each[kind] as number);
  }
}

/**
 * Checks the types of a block and returns the position of the next block. The first type of the block has the
 * number after `last`. This runs for 150,000 types in a process that has just started: V8 optimizes a small
 * function that is called often sooner than the loop of its caller.
 */
function scanBlock(
  words: Uint32Array,
  first: number,
  last: number,
  fixed: Uint8Array,
  each: Uint8Array,
  stringBytes: number,
): number {
  let at = first;
  for (let nth = 1; nth <= SPACING && at < words.length; nth++) {
    const info = words[at + 1] as number;
    const name = words[at] as number;
    const kind = kindOf(info);
    const extent = fixed[kind] as number;
    if (extent === UNKNOWN_KIND || name >= stringBytes || at + HEAD_WORDS > words.length)
      throw new BtfError(`BTF type ${last + nth}${describeFault(words.length - at, extent, kind, name)}`);
    at += HEAD_WORDS + extent + partsOf(info) * (each[kind] as number);
    if (at > words.length) throw new BtfError(`BTF type ${last + nth}${PAST_END}`);
  }
  return at;
}

/** Describes what is wrong with a type; `rest` is the number of remaining words. */
function describeFault(rest: number, extent: number, kind: number, name: number): string {
  if (rest < HEAD_WORDS) return PAST_END;
  return extent === UNKNOWN_KIND
    ? `: unknown kind ${kind}`
    : `: its name is at ${name}, past the string section`;
}
