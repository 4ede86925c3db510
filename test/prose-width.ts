/**
 * Checks that comments, Markdown and man pages are at most 110 columns wide; `npm run check` runs it. Tables,
 * code blocks, terminal screens, lines with a link and generated files are exempt.
 */
import { readdirSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const MAX_COLUMNS = 110;

const TREES = ['src', 'test', 'bench', 'examples', 'executable', 'docs', 'man', '.ci'];
/** A page that is generated from the instruction table, and one of terminal screens. */
const EXEMPT = ['docs/instructions.md', 'docs/tcpconnlat_example.txt'];

/** The numbers, from 1, of the lines that are too wide. */
type Check = (text: string) => number[];

/** TypeScript and JavaScript: a comment that is a line or ends one. */
export const wideComments: Check = linesWhere((line) => /^\s*\/?\*|(^|\s)\/\/ /.test(line));

/** Shell: a comment that is a line. */
export const wideShellComments: Check = linesWhere((line) => /^\s*#/.test(line));

/** Markdown: everything but tables and code blocks. */
export const wideMarkdown: Check = (text) => {
  let isCode = false;
  return linesWhere((line) => {
    if (/^\s*```/.test(line)) isCode = !isCode;
    return !isCode && !line.startsWith('|');
  })(text);
};

/** Man pages: everything but screens (`.nf` to `.fi`). */
export const wideManPage: Check = (text) => {
  let isScreen = false;
  return linesWhere((line) => {
    if (line === '.nf' || line === '.fi') isScreen = line === '.nf';
    return !isScreen;
  })(text);
};

function linesWhere(isProse: (line: string) => boolean): Check {
  return (text) =>
    text.split('\n').flatMap((line, index) => {
      const prose = isProse(line);
      const isWide = [...line].length > MAX_COLUMNS && !/https?:\/\//.test(line);
      return prose && isWide ? index + 1 : [];
    });
}

const CHECKS: readonly (readonly [file: RegExp, check: Check])[] = [
  [/\.(ts|mjs|cjs)$/, wideComments],
  [/\.md$/, wideMarkdown],
  [/^man\//, wideManPage],
  [/^\.ci\//, wideShellComments],
];

/** The wide lines of a project, as `file:line`. */
export function wideLines(project: string): string[] {
  const inTrees = TREES.flatMap((tree) =>
    readdirSync(join(project, tree), { recursive: true, encoding: 'utf8' }).map((file) => join(tree, file)),
  );
  return [...readdirSync(project), ...inTrees].flatMap((file) => {
    const check = CHECKS.find(([name]) => name.test(file))?.[1];
    if (!check || EXEMPT.includes(file)) return [];
    return check(readFileSync(join(project, file), 'utf8')).map((line) => `${file}:${line}`);
  });
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const wide = wideLines(fileURLToPath(new URL('../', import.meta.url)));
  for (const line of wide)
    console.error(`${line}: wider than ${MAX_COLUMNS} columns; wrap the comment or prose`);
  process.exitCode = wide.length === 0 ? 0 : 1;
}
