/** A copy of the compiled project in which one source at a time is a mutant. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type TransformResult, transformSync } from 'esbuild';
import { type FileResult, type Limits, runFile } from '../runner.ts';
import type { CoverageReport } from './coverage.ts';

/** The folder that a workspace copies. Everything else is a link to the project. */
const COPIED = 'build';
/** The heap of a test process in MiB. */
const HEAP = 1024;
const NOT_LINKED = new Set([COPIED, '.git']);

/** A folder in the system's temporary folder; `close` deletes it. */
export class Workspace {
  readonly #folder: string;

  constructor(root: string) {
    this.#folder = mkdtempSync(join(tmpdir(), 'tsbpf-mutation-'));
    for (const name of readdirSync(root).filter((each) => !NOT_LINKED.has(each)))
      symlinkSync(join(root, name), join(this.#folder, name));
    cpSync(join(root, COPIED), join(this.#folder, COPIED), { recursive: true });
  }

  /** Replaces the compiled form of a source file by that of `text`. */
  write(file: string, text: string): void {
    const { code, map } = compile(text, file);
    const output = join(this.#folder, COPIED, compiledName(file));
    writeFileSync(output, `${code}//# sourceMappingURL=data:application/json;base64,${base64(map)}\n`);
  }

  /** Runs a test file, named by its path below test/. */
  run(name: string, limits: Limits): Promise<FileResult> {
    return runFile(this.#testFile(name), limits, this.#environment);
  }

  /** Runs a test file and returns its V8 coverage as well. */
  async measure(name: string, limits: Limits): Promise<{ result: FileResult; coverage: CoverageReport }> {
    const reports = mkdtempSync(join(this.#folder, 'coverage-'));
    const result = await runFile(this.#testFile(name), limits, {
      ...this.#environment,
      NODE_V8_COVERAGE: reports,
    });
    const merged = readdirSync(reports).flatMap((report) => {
      const { result: scripts }: CoverageReport = JSON.parse(readFileSync(join(reports, report), 'utf8'));
      return scripts;
    });
    rmSync(reports, { recursive: true });
    return { result, coverage: { result: merged.flatMap((script) => this.#named(script)) } };
  }

  /** The coverage of a source file under its path below the root; nothing for other scripts. */
  #named(script: CoverageReport['result'][number]): CoverageReport['result'] {
    const folder = pathToFileURL(join(this.#folder, COPIED, 'src/')).href;
    if (!script.url.startsWith(folder)) return [];
    return [{ ...script, url: `src/${script.url.slice(folder.length).replace(/\.js$/, '.ts')}` }];
  }

  close(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Mutants may allocate without limit: a small heap stops them early. */
  get #environment(): NodeJS.ProcessEnv {
    const seed = pathToFileURL(join(this.#folder, COPIED, 'test/mutation/fixed-seed.js')).href;
    return { NODE_OPTIONS: `--max-old-space-size=${HEAP} --import ${seed}` };
  }

  #testFile(name: string): string {
    return join(this.#folder, COPIED, 'test', `${name}.test.js`);
  }
}

/** Compiles a source file to JavaScript with a source map. Imports name compiled files. */
export function compile(text: string, file: string): TransformResult {
  const result = transformSync(text, {
    loader: 'ts',
    target: 'es2022',
    sourcemap: 'external',
    sourcefile: relative(dirname(join(COPIED, file)), file),
    tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
  });
  return { ...result, code: result.code.replace(/(from\s+"\.{1,2}\/[^"]*)\.ts"/g, '$1.js"') };
}

function compiledName(file: string): string {
  return file.replace(/\.ts$/, '.js');
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
