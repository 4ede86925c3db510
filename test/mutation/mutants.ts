/** Mutants: copies of a source file with one edit, in an order determined by a seed. */
import type { Compiler } from './compiler.ts';
import { type Edit, type Site, sitesOf } from './operators.ts';
import { fraction } from './random.ts';

/** A source file with one edit. */
export interface Mutant {
  /** The path of the source file below the root. */
  readonly file: string;
  /** The line of the edit, starting at 1. */
  readonly line: number;
  readonly operator: string;
  /** The start of the changed code in the source. */
  readonly position: number;
  /** The complete text of the mutated source. */
  readonly text: string;
  /** The lines of the edit before and after it, with single spaces between words. */
  readonly before: string;
  readonly after: string;
}

/** A source file with the positions where it can be mutated. */
export interface Source {
  readonly file: string;
  readonly text: string;
  readonly sites: readonly Site[];
}

/** Reads source files. Skips files without sites, such as files of types. */
export function readSources(compiler: Compiler, files: readonly string[]): Source[] {
  return files
    .map((file) => {
      const tree = compiler.parse(file);
      return { file, text: tree.text, sites: sitesOf(tree) };
    })
    .filter(({ sites }) => sites.length > 0);
}

/**
 * All mutants in the order that a seed determines. The weight of a file is the square root of its number of
 * sites, so that a long table is drawn less often than its length suggests. A mutant's rank depends only on
 * its lines and on the number of sites of its file: changes elsewhere do not affect it.
 */
export function* draw(sources: readonly Source[], seed: number): Generator<Mutant, void> {
  const ranked = sources.flatMap((source) => {
    const { length } = source.sites;
    const seen = new Map<string, number>();
    return source.sites.flatMap((site) =>
      site.edits.map((edit) => {
        const identity = JSON.stringify([source.file, ...linesOf(source, edit)]);
        const nth = (seen.get(identity) ?? 0) + 1;
        seen.set(identity, nth);
        const weight = Math.sqrt(length) / length / site.edits.length;
        // A weighted draw without replacement, by Efraimidis and Spirakis.
        return { source, site, edit, rank: -Math.log(fraction(`${seed} ${identity} ${nth}`)) / weight };
      }),
    );
  });
  ranked.sort((one, other) => one.rank - other.rank);
  for (const { source, site, edit } of ranked) yield mutate(source, site, edit);
}

/** Every mutant of a source. */
export function mutantsOf(source: Source): Mutant[] {
  return source.sites.flatMap((site) => site.edits.map((edit) => mutate(source, site, edit)));
}

/** The lines of an edit before and after it, with single spaces between words. */
function linesOf({ text }: Source, edit: Edit): [before: string, after: string] {
  const from = text.lastIndexOf('\n', edit.start - 1) + 1;
  const lineEnd = text.indexOf('\n', edit.end);
  const to = lineEnd < 0 ? text.length : lineEnd;
  const head = text.slice(from, edit.start);
  const tail = text.slice(edit.end, to);
  return [oneLine(text.slice(from, to)), oneLine(head + edit.text + tail)];
}

function mutate(source: Source, { position }: Site, edit: Edit): Mutant {
  const { file, text } = source;
  const [before, after] = linesOf(source, edit);
  return {
    file,
    line: text.slice(0, edit.start).split('\n').length,
    operator: edit.operator,
    position,
    text: text.slice(0, edit.start) + edit.text + text.slice(edit.end),
    before,
    after,
  };
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
