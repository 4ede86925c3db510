/** The test files that judge mutants, and their results without a mutant. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { FileResult } from '../runner.ts';
import { type CoverageReport, compiledAround, ran } from './coverage.ts';
import type { Mutant } from './mutants.ts';
import { compile, type Workspace } from './workspace.ts';

/** A test file's run without a mutant. */
interface Baseline {
  /** Its path below test/, without the extension. */
  readonly name: string;
  readonly seconds: number;
  readonly coverage: CoverageReport;
}

/** The result for a mutant. */
export interface Verdict {
  readonly caught: boolean;
  /** The test file that caught the mutant, and how; or the reason why none did. */
  readonly reason: string;
}

/** The time limit of the first run, and the minimum for all others, in seconds. */
const FIRST_LIMIT = 120;
const MINIMUM_LIMIT = 15;

/**
 * How long a process may take to exit after its last test, in seconds. Generous, because a busy machine must
 * not catch a mutant.
 */
const GRACE = 30;

/**
 * A test file may take this many times its duration without a mutant; beyond that, the mutant counts as
 * caught.
 */
const SLOWER = 10;

/** The test files of the assembler. */
export class Suite {
  readonly #root: string;
  readonly #baselines: readonly Baseline[];
  /** The number of mutants of a source file that each test file caught. */
  readonly #catches = new Map<string, number>();

  private constructor(root: string, baselines: readonly Baseline[]) {
    this.#root = root;
    this.#baselines = baselines;
  }

  /**
   * Runs all test files below test/asm in all workspaces concurrently. Throws if one fails without a mutant.
   */
  static async measure(root: string, workspaces: readonly Workspace[]): Promise<Suite> {
    const names = readdirSync(join(root, 'build/test/asm'), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.test.js'))
      .map((file) => `asm/${file.replace('.test.js', '')}`);
    const baselines: Baseline[] = [];
    const work = async (workspace: Workspace): Promise<void> => {
      for (let name = names.shift(); name; name = names.shift()) {
        const { result, coverage } = await workspace.measure(name, { seconds: FIRST_LIMIT, grace: GRACE });
        if (!passes(result))
          throw new Error(`${name} fails without a mutant: ${reasonOf(result)}\n${result.output}`);
        baselines.push({ name, seconds: result.seconds, coverage });
      }
    };
    await Promise.all(workspaces.map(work));
    return new Suite(root, baselines);
  }

  /** Runs the test files that cover the mutated code, until one fails. */
  async judge(mutant: Mutant, workspace: Workspace): Promise<Verdict> {
    const source = readFileSync(join(this.#root, mutant.file), 'utf8');
    const baselines = this.#running(mutant, source);
    if (baselines.length === 0) return { caught: false, reason: 'no test file runs this code' };
    workspace.write(mutant.file, mutant.text);
    try {
      for (const { name, seconds } of baselines) {
        const limit = Math.max(MINIMUM_LIMIT, SLOWER * seconds);
        const result = await workspace.run(name, { seconds: limit, grace: GRACE });
        if (passes(result)) continue;
        const key = keyOf(mutant.file, name);
        this.#catches.set(key, (this.#catches.get(key) ?? 0) + 1);
        return { caught: true, reason: `by ${name}: ${reasonOf(result)}` };
      }
    } finally {
      workspace.write(mutant.file, source);
    }
    return { caught: false, reason: `not by ${baselines.map(({ name }) => basename(name)).join(', ')}` };
  }

  /** The test files that cover a mutant's position, the one most likely to fail first. */
  #running({ file, position }: Mutant, source: string): Baseline[] {
    const { code, map } = compile(source, file);
    const offsets = compiledAround(source, position, { code, mappings: JSON.parse(map).mappings });
    const rank = ({ name, seconds }: Baseline): number => {
      const catches = this.#catches.get(keyOf(file, name)) ?? 0;
      return seconds / (1 + catches) - (isNamedAfter(name, file) ? FIRST_LIMIT : 0);
    };
    return this.#baselines
      .filter(({ coverage }) => offsets.some((offset) => ran(coverage, file, offset)))
      .sort((a, b) => rank(a) - rank(b));
  }
}

function passes({ failed, problems }: FileResult): boolean {
  return failed + problems.length === 0;
}

function reasonOf({ failed, problems }: FileResult): string {
  return problems[0] ?? `${failed} failed`;
}

function keyOf(source: string, test: string): string {
  return `${source} ${test}`;
}

/** Whether a test file is named like a source file or its folder, apart from an ending. */
function isNamedAfter(test: string, source: string): boolean {
  const name = basename(test);
  return [basename(source, '.ts'), basename(dirname(source))].some(
    (each) => each.startsWith(name) || name.startsWith(each),
  );
}
