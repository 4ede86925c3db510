/** Mutants: copies of a source with one edit, drawn by a seed. */
import type { Compiler } from './compiler.ts';
import { type Edit, type Site, sitesOf } from './operators.ts';
import { pick, randomNumbers } from './random.ts';

/** A source file with one edit. */
export interface Mutant {
  /** The path of the source file below the root. */
  readonly file: string;
  /** The line of the edit, from 1. */
  readonly line: number;
  readonly operator: string;
  /** Where the changed code begins in the source. */
  readonly position: number;
  /** The whole text of the mutated source. */
  readonly text: string;
  /** The lines that the edit touches, with single spaces between words, as they are and as they become. */
  readonly before: string;
  readonly after: string;
}

/** A source file and where it can be mutated. */
export interface Source {
  readonly file: string;
  readonly text: string;
  readonly sites: readonly Site[];
}

/** Reads source files. Files without a site, such as those of types, are left out. */
export function readSources(compiler: Compiler, files: readonly string[]): Source[] {
  return files
    .map((file) => {
      const tree = compiler.parse(file);
      return { file, text: tree.text, sites: sitesOf(tree) };
    })
    .filter(({ sites }) => sites.length > 0);
}

/**
 * Draws different mutants without end: a file, then a site in it, then an edit. The weight of a file is the square root of its number of
 * sites, so that a long table is drawn less often than its length suggests.
 */
export function* draw(sources: readonly Source[], seed: number): Generator<Mutant, void> {
  const random = randomNumbers(seed);
  const drawn = new Set<string>();
  const all = sources.reduce(
    (sum, { sites }) => sum + sites.reduce((n, { edits }) => n + edits.length, 0),
    0,
  );
  while (drawn.size < all) {
    const source = pick(random, sources, ({ sites }) => Math.sqrt(sites.length));
    const site = pick(random, source.sites);
    const edit = pick(random, site.edits);
    const key = JSON.stringify([source.file, edit]);
    if (drawn.has(key)) continue;
    drawn.add(key);
    yield mutate(source, site, edit);
  }
}

/** Every mutant of a source. */
export function mutantsOf(source: Source): Mutant[] {
  return source.sites.flatMap((site) => site.edits.map((edit) => mutate(source, site, edit)));
}

function mutate({ file, text }: Source, { position }: Site, edit: Edit): Mutant {
  const from = text.lastIndexOf('\n', edit.start - 1) + 1;
  const lineEnd = text.indexOf('\n', edit.end);
  const to = lineEnd < 0 ? text.length : lineEnd;
  const head = text.slice(from, edit.start);
  const tail = text.slice(edit.end, to);
  return {
    file,
    line: text.slice(0, edit.start).split('\n').length,
    operator: edit.operator,
    position,
    text: text.slice(0, edit.start) + edit.text + text.slice(edit.end),
    before: oneLine(text.slice(from, to)),
    after: oneLine(head + edit.text + tail),
  };
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
