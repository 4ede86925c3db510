/**
 * Mutation testing of src/asm: `npm run test:mutation -- [--seed N] [--count N] [--jobs N] [FILE...]`.
 * Draws mutants with a seed and runs the tests below test/asm on each until one fails. FILE selects the
 * source files whose path contains the word. `--all` runs every mutant of these files instead. Exit status 1
 * if fewer than 58 of 60 mutants are caught.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { killAll } from '../runner.ts';
import { Compiler } from './compiler.ts';
import { EQUIVALENT, equivalentOf } from './equivalent.ts';
import { draw, type Mutant, mutantsOf, readSources, type Source } from './mutants.ts';
import { Suite } from './suite.ts';
import { Workspace } from './workspace.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const SOURCES = 'src/asm';

/** The share of mutants that the tests must catch. */
const MINIMUM = 58 / 60;

const { values, positionals } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    count: { type: 'string', default: '60' },
    jobs: { type: 'string', default: '2' },
    all: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});

function numberOf(option: 'seed' | 'count' | 'jobs'): number {
  const value = Number(values[option]);
  if (!Number.isSafeInteger(value) || value < (option === 'seed' ? 0 : 1))
    throw new RangeError(`--${option} ${values[option]} is out of range`);
  return value;
}

const compiler = new Compiler(ROOT);
const files = readdirSync(join(ROOT, SOURCES), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => join(SOURCES, file))
  .sort();
const sources = readSources(compiler, files);
const chosen = sources.filter(
  ({ file }) => positionals.length === 0 || positionals.some((word) => file.includes(word)),
);

/**
 * The mutants to run, in their order. Skips mutants that tsc refuses, and prints mutants known to be
 * equivalent.
 */
function* mutantsToRun(count: number, seed: number): Generator<Mutant> {
  const candidates = values.all ? chosen.flatMap(mutantsOf) : draw(chosen, seed);
  let taken = 0;
  for (const mutant of candidates) {
    if (!compiler.accepts(mutant.file, mutant.text, files)) continue;
    const equivalent = equivalentOf(mutant);
    if (equivalent) {
      console.log(`equivalent  ${titleOf(mutant)}: ${equivalent.reason}`);
      continue;
    }
    yield mutant;
    taken++;
    if (!values.all && taken === count) return;
  }
}

function titleOf({ file, line, operator }: Mutant): string {
  return `${file}:${line} ${operator}`;
}

function diffOf({ before, after }: Mutant): string {
  return `  - ${before}\n  + ${after}`;
}

/** Prints entries of equivalent.ts that no longer match a mutant. */
function reportStale(known: readonly Source[]): void {
  for (const { file, before, after } of EQUIVALENT) {
    const source = known.find((each) => each.file === file);
    const isThere =
      source && mutantsOf(source).some((each) => each.before === before && each.after === after);
    if (!isThere) console.log(`test/mutation/equivalent.ts has an outdated entry: ${file}: ${after}`);
  }
}

const workspaces = Array.from({ length: numberOf('jobs') }, () => new Workspace(ROOT));
process.on('exit', () => {
  killAll();
  for (const workspace of workspaces) workspace.close();
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));

const survivors: Mutant[] = [];
let judged = 0;

async function run(): Promise<void> {
  const [seed, count] = [numberOf('seed'), numberOf('count')];
  reportStale(sources);
  for (const workspace of workspaces) for (const { file, text } of sources) workspace.write(file, text);
  const suite = await Suite.measure(ROOT, workspaces);
  console.log(`${sources.length} source files; seed ${seed}`);
  const mutants = mutantsToRun(count, seed);
  const work = async (workspace: Workspace): Promise<void> => {
    for (const mutant of mutants) {
      const { caught, reason } = await suite.judge(mutant, workspace);
      judged++;
      console.log(`${caught ? 'caught   ' : 'SURVIVED '} ${titleOf(mutant)}, ${reason}`);
      if (caught) continue;
      console.log(diffOf(mutant));
      survivors.push(mutant);
    }
  };
  await Promise.all(workspaces.map(work));
}

try {
  await run();
} finally {
  compiler.close();
}

if (survivors.length > 0) console.log('\nsurvivors:');
for (const mutant of survivors) console.log(`${titleOf(mutant)}\n${diffOf(mutant)}`);
const caught = judged - survivors.length;
console.log(`\n${caught} of ${judged} caught`);
process.exit(caught >= Math.ceil(judged * MINIMUM - 1e-9) ? 0 : 1);
