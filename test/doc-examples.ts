/**
 * The examples of the documentation: `@example` blocks of doc comments, and code samples of Markdown pages.
 *
 * A sample that imports from tsbpf is a complete program: doc-examples.test.ts compiles and runs it. A fence
 * with the words `no run` (```` ```ts no run ````) is only compiled: for programs that need an object of
 * the reader's machine. Samples of pages may run until a signal, those of doc comments end.
 *
 * A sample of a Markdown page is a fragment if it imports nothing from tsbpf or has the fence word
 * `fragment`: documents.test.ts compiles the fragments of the README, the guide and the DSL reference.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the project: this file is in build/test/. */
export const PROJECT = fileURLToPath(new URL('../..', import.meta.url));

/** A complete program in the documentation. */
export interface Example {
  /** Where it begins: `src/asm/hooks.ts:12`. */
  readonly at: string;
  readonly code: string;
  /** Whether it runs on any machine, and ends by itself. */
  readonly runs: boolean;
  /** Whether it uses the running kernel, which needs root. */
  readonly live: boolean;
}

const FENCE = /^```ts(.*)\n([\s\S]*?)^```$/gm;

/** All examples of the library's sources, the README and docs/. */
export function allExamples(): Example[] {
  const pages = ['README.md', ...filesBelow('docs', '.md')];
  return [...sources().flatMap(examplesInComments), ...pages.flatMap(examplesInPage)];
}

/** The library's sources, as paths from the project's folder. */
export function sources(): string[] {
  return [...filesBelow('src/asm', '.ts'), ...filesBelow('src/loader', '.ts')];
}

/** The text of a file of the project. */
export function read(file: string): string {
  return readFileSync(join(PROJECT, file), 'utf8');
}

function filesBelow(folder: string, ending: string): string[] {
  return readdirSync(join(PROJECT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith(ending))
    .map((file) => join(folder, file))
    .sort();
}

function examplesInComments(file: string): Example[] {
  const text = read(file);
  return [...text.matchAll(/^ *\/\*\*[\s\S]*?\*\//gm)].flatMap(({ 0: comment, index }) => {
    const prose = comment.replace(/^ *(\/\*\*| \*\/| \* ?)/gm, '').replace(/\*\/$/, '');
    return [...prose.matchAll(/^@example *\n([\s\S]*?)(?=^@\w|(?![\s\S]))/gm)].flatMap((match) => {
      const line = lineOf(text, index) + lineOf(prose, match.index);
      const [, body = ''] = match;
      const fences = [...body.matchAll(FENCE)];
      if (fences.length === 0) return [example(`${file}:${line}`, body, '')];
      return fences.map(([, words = '', code = '']) => example(`${file}:${line}`, code, words));
    });
  });
}

/** A sample of a Markdown page. */
interface PageSample {
  /** The number of its first line. */
  readonly line: number;
  readonly code: string;
  /** The words of the fence after `ts`. */
  readonly words: string;
  readonly isFragment: boolean;
}

/** The samples of a Markdown page. */
export function samplesInPage(file: string): PageSample[] {
  const text = read(file);
  return [...text.matchAll(FENCE)].map(({ 1: words = '', 2: code = '', index }) => ({
    line: lineOf(text, index) + 1,
    code,
    words,
    isFragment: !isComplete(code) || words.trim() === 'fragment',
  }));
}

function examplesInPage(file: string): Example[] {
  return samplesInPage(file)
    .filter(({ isFragment }) => !isFragment)
    .map(({ line, code, words }) => example(`${file}:${line}`, code, words));
}

function example(at: string, code: string, words: string): Example {
  return { at, code, runs: words.trim() !== 'no run', live: LIVE.test(code) };
}

/** Whether a sample imports what it uses. */
function isComplete(code: string): boolean {
  return /from 'tsbpf(\/\w+)?'/.test(code);
}

/** The exports of src/index.ts that use the running kernel: functions and classes of src/loader. */
const LIVE = new RegExp(
  `\\b(${[...read('src/index.ts').matchAll(/^export \{([^}]*)\} from '.\/loader\/[^']*';/gm)]
    .flatMap(([, names = '']) => names.split(','))
    .map((name) => name.trim())
    .filter((name) => /^[a-zA-Z]+$/.test(name) && !name.endsWith('Error'))
    .join('|')})\\b`,
);

/** The number of line breaks before an offset. */
function lineOf(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}
