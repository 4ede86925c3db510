/**
 * The man page and the README document exactly the options of the command.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { commandLine } from '../../src/cli/arguments/options.ts';
import { readArguments } from '../../src/cli/arguments.ts';
import { table } from '../../src/cli/printer/columns.ts';
import { version } from '../../src/cli/version.ts';
import { sameOnEveryKernel, suite } from '../harness.ts';
import { missing } from './terminal.ts';

const test = suite('cli/manual', { seconds: 60 });

const PROJECT = fileURLToPath(new URL('../../../', import.meta.url));
const PAGE = join(PROJECT, 'man/tcpconnlat.8');

/** The page with its requests, as plain text. */
const page = readFileSync(PAGE, 'utf8')
  .replaceAll('\\-', '-')
  .replaceAll(/\\f.|"/g, '')
  .replaceAll(/ +/g, ' ');
const readme = readFileSync(join(PROJECT, 'README.md'), 'utf8');

const command = commandLine('');
const options = command.createHelp().visibleOptions(command);
const names = options.flatMap(({ flags }) => optionsIn(flags));

/** The options in a text, in order. */
function optionsIn(text: string): string[] {
  return text.match(/(?<![\w-])(--[a-z0-9]+(-[a-z0-9]+)*|-[A-Za-z0-9])(?![\w-])/g) ?? [];
}

/** The subsections of OPTIONS, by title. */
const documented = new Map(
  (/^\.SH OPTIONS\n([\s\S]*?)^\.SH /m.exec(page)?.[1] ?? '')
    .split(/^\.SS /m)
    .slice(1)
    .map((part): [string, string] => [part.slice(0, part.indexOf('\n')), part]),
);

test('OPTIONS has exactly the options, in the groups of the help text', () => {
  const helped = new Map<string, string[]>();
  for (const { flags, helpGroupHeading = '' } of options) {
    const group = helpGroupHeading.replace(/( \(.*)?:$/, '');
    helped.set(group, [...(helped.get(group) ?? []), ...optionsIn(flags)]);
  }
  assert.ok(helped.size > 4);
  const tags = [...documented].map(([group, text]): [string, string[]] => [
    group,
    [...text.matchAll(/^\.TP\n(.*)$/gm)].flatMap(([, tag = '']) => optionsIn(tag)),
  ]);
  assert.equal(tags, [...helped]);
});

test('the values of options have the same names as in the help text', () => {
  const text = [...documented.values()].join('\n');
  for (const { long = '', flags } of options) {
    const value = /<(.*)>/.exec(flags)?.[1]?.toUpperCase();
    if (value) assert.ok(text.includes(`${long} ${value}`), `${long} ${value}`);
  }
});

/** Options of other commands in the page. */
const FOREIGN = ['--cgroupns', '-K', '-u'];

test('the page mentions no unknown option', () => {
  const unknown = optionsIn(page).filter((name) => ![...names, ...FOREIGN].includes(name));
  assert.equal(unknown, []);
});

test('the page has this version', () => {
  assert.match(page, new RegExp(`^\\.TH TCPCONNLAT 8 [\\d-]+ tsbpf ${version()} `, 'm'));
});

test.skipIf(sameOnEveryKernel || missing('man'), 'man formats the page without a warning', () => {
  const { status, stdout, stderr } = spawnSync('man', ['--warnings', '-l', PAGE], {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C.UTF-8', MANWIDTH: '80' },
  });
  assert.equal({ status, stderr }, { status: 0, stderr: '' });
  assert.match(stdout, /^ +--completion SHELL$/m);
});

test("the README's table has exactly the options", () => {
  const cells = [...readme.matchAll(/^\| (`.*?`) \| /gm)].map(([, cell = '']) => cell);
  assert.equal(cells.flatMap(optionsIn).sort(), [...names].sort());
});

// --- the examples --------------------------------------------------------------------------------

const examples = readFileSync(join(PROJECT, 'docs/tcpconnlat_example.txt'), 'utf8');
/** The command lines in the examples, each with the following line. */
const runs = [...examples.matchAll(/^[#$] tcpconnlat(.*)\n(?:tcpconnlat: .*\n)?(.*)/gm)].map(
  ([, line = '', below = '']) => ({
    args: line.split(/[|>]/)[0]?.split(' ').filter(Boolean) ?? [],
    printsLines: !/[|>]/.test(line) && !line.includes('--json'),
    below,
  }),
);

test('every command line in the examples is valid, and its header is correct', () => {
  assert.ok(runs.length >= 12);
  for (const { args, printsLines, below } of runs) {
    const request = readArguments(args, version());
    if (request.action !== 'trace' && request.action !== 'replay')
      throw new Error(`${args}: ${request.action}`);
    if (printsLines) assert.is(below, table(request.options).header().trimEnd(), args.join(' '));
  }
});

test('the page explains every result in the examples', () => {
  const results = [...examples.matchAll(/ \d+ {4}([a-z-]+|E[A-Z]+)(?: {2,}\d+ .*)?$/gm)].map(
    ([, word = '']) => word,
  );
  assert.ok(new Set(results).size > 6);
  for (const word of new Set(results)) assert.match(page, new RegExp(`\\b${word}\\b`), word);
});

test.run();
