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

/**
 * The positions of a blob's types. Types are numbered from 1 in the order of the blob; positions are indexes
 * into the type section as 32-bit words. Each method scans only as far as needed, and throws BtfError for a
 * type of an unknown kind or a truncated type.
 */
export class TypeIndex {
  readonly #words: Uint32Array;
  readonly #kindSizes: KindSizes;
  /** The positions of types 1, 17, 33 and so on: one for each scanned block, and the end of the last. */
  readonly #marks: Uint32Array;
  #blocks = 0;

  constructor(words: Uint32Array, kindSizes: KindSizes) {
    this.#words = words;
    this.#kindSizes = kindSizes;
    this.#marks = new Uint32Array(Math.ceil(words.length / HEAD_WORDS / SPACING) + 1);
  }

  /** Checks all types. Throws BtfError also for a name that is not below `stringBytes`. */
  checkAll(stringBytes: number): void {
    const words = this.#words;
    this.#scan(words.length);
    const { fixed, each } = this.#kindSizes;
    let number = 1;
    for (let at = 0; at < words.length; number++) {
      const name = words[at] as number;
      if (name >= stringBytes)
        throw new BtfError(`BTF type ${number}: its name is at ${name}, past the string section`);
      const info = words[at + 1] as number;
      const kind = kindOf(info);
      at += HEAD_WORDS + (fixed[kind] as number) + partsOf(info) * (each[kind] as number);
    }
  }

  /** The number of types in the blob. */
  get count(): number {
    this.#scan(this.#words.length);
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
    this.#scan(this.#words.length, block + 1);
    if (this.#blocks <= block) return undefined;
    let at = this.#marks[block] as number;
    for (let rest = (number - 1) % SPACING; rest > 0; rest--) {
      at = this.#next(at);
      if (at >= this.#words.length) return undefined;
    }
    return at;
  }

  /** The number of the type at a position, or undefined if the position is inside a type. */
  numberAt(position: number): number | undefined {
    this.#scan(position + 1);
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
    this.#scan(this.#words.length);
    let number = 1;
    for (let at = 0; at < this.#words.length; at = this.#next(at)) visit(number++, at);
  }

  /** Scans up to a position, or until `blocks` blocks are scanned. */
  #scan(position: number, blocks = Number.POSITIVE_INFINITY): void {
    const [words, marks] = [this.#words, this.#marks];
    if ((marks[this.#blocks] as number) >= position || this.#blocks >= blocks) return;
    const end = Math.min(position, words.length);
    this.#blocks = scanBlocks(words, marks, this.#blocks, end, blocks, this.#kindSizes);
    if ((marks[this.#blocks] as number) <= words.length) return;
    this.#blocks -= 1;
    throw this.#fault();
  }

  /** The error of the first malformed type after the scanned blocks. */
  #fault(): BtfError {
    const { length } = this.#words;
    let at = this.#marks[this.#blocks] as number;
    for (let number = this.#blocks * SPACING + 1; ; number++) {
      const kind = kindOf(this.#words[at + 1] ?? 0);
      const isKnown = (this.#kindSizes.fixed[kind] as number) < UNKNOWN_KIND;
      if (at + HEAD_WORDS <= length && !isKnown)
        return new BtfError(`BTF type ${number}: unknown kind ${kind}`);
      at = at + HEAD_WORDS > length ? length + 1 : this.#next(at);
      if (at > length) return new BtfError(`BTF type ${number} reaches past the end of the type section`);
    }
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
 * Scans blocks from number `blocks` on, until the position `end` or the block `last`, writes the mark after
 * each, and returns the number of scanned blocks. A malformed type moves the last mark past the section.
 *
 * This loop runs for up to 150,000 types in a process that has just started, mostly in V8's interpreter: it
 * calls nothing, and has few steps.
 */
function scanBlocks(
  words: Uint32Array,
  marks: Uint32Array,
  blocks: number,
  end: number,
  last: number,
  { fixed, each }: KindSizes,
): number {
  const { length } = words;
  let at = marks[blocks] as number;
  while (at < end && blocks < last) {
    for (let nth = 0; nth < SPACING && at < length; nth++) {
      const info = words[at + 1] as number;
      const kind = (info >>> 24) & 0x7f;
      at += HEAD_WORDS + (fixed[kind] as number) + (info & 0xff_ffff) * (each[kind] as number);
    }
    marks[++blocks] = at;
  }
  return blocks;
}
