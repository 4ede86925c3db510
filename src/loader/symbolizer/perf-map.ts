/**
 * Functions that a runtime has compiled, from the file in which it lists them: `node --perf-basic-prof`.
 *
 * Source: tools/perf/Documentation/jit-interface.txt.
 */
import { countLeading } from '../../asm/count-leading.ts';
import { MAX_NAME_LENGTH, truncate } from '../../asm/printable.ts';

/** A compiled function. */
interface Compiled {
  readonly start: bigint;
  readonly end: bigint;
  readonly name: string;
}

/** How many functions before an address are searched: the memory of discarded ones is used again. */
const REUSED = 64;

const LINE = /^(?:0x)?([0-9a-f]{1,16}) ([0-9a-f]{1,8}) (.+)$/gim;

/** The functions of a perf map. Of several at one address, the one that was listed last counts. */
export class PerfMap {
  readonly #functions: readonly (Compiled & { readonly line: number })[];

  constructor(text: string) {
    let line = 0;
    this.#functions = Array.from(text.matchAll(LINE), ([, hex, size = '', name = '']) => {
      const start = BigInt(`0x${hex}`);
      const end = start + BigInt(Number.parseInt(size, 16));
      return { start, end, name: truncate(name, MAX_NAME_LENGTH), line: line++ };
    }).sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : a.line - b.line));
  }

  /** The function that contains an address, and the distance from its start. */
  at(address: bigint): { readonly name: string; readonly offset: number } | undefined {
    const functions = this.#functions;
    const count = countLeading(functions.length, (index) => (functions[index] as Compiled).start <= address);
    const latest = functions
      .slice(Math.max(0, count - REUSED), count)
      .filter(({ end }) => address < end)
      .reduce<(Compiled & { readonly line: number }) | undefined>(
        (best, each) => (best === undefined || each.line > best.line ? each : best),
        undefined,
      );
    return latest && { name: latest.name, offset: Number(address - latest.start) };
  }
}
