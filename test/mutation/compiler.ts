/** The TypeScript compiler, used for syntax trees of the sources and for checking mutants. */
import { join } from 'node:path';
import type { SourceFile } from 'typescript/unstable/ast';
import { API, DiagnosticCategory, type Program } from 'typescript/unstable/sync';

/** "Declared but never used" and "unreachable code" apply to many mutants and do not exclude them. */
const TOLERATED = new Set([6133, 6192, 6196, 6198, 6199, 7027]);

/** The project's sources. Any file can be given another text temporarily. */
export class Compiler {
  readonly #root: string;
  readonly #texts = new Map<string, string>();
  readonly #api: API;

  /** Opens the project with the `tsconfig.json` in the folder `root`. */
  constructor(root: string) {
    this.#root = root;
    this.#api = new API({ cwd: root, fs: { readFile: (path) => this.#texts.get(path) } });
    this.#api.updateSnapshot({ openProjects: [join(root, 'tsconfig.json')] });
  }

  /** The syntax tree of a file, named by its path below the root. */
  parse(file: string): SourceFile {
    const source = this.#program().getSourceFile(join(this.#root, file));
    if (!source) throw new Error(`${file} is not part of the project`);
    return source;
  }

  /** Whether `files` are free of errors while `file` has another text. */
  accepts(file: string, text: string, files: readonly string[]): boolean {
    return this.with(file, text, (program) =>
      [file, ...files].every((each) => isValid(program, join(this.#root, each))),
    );
  }

  /** Runs `body` with another text for `file`, and returns its result. */
  with<T>(file: string, text: string, body: (program: Program) => T): T {
    const path = join(this.#root, file);
    this.#texts.set(path, text);
    try {
      return body(this.#program(path));
    } finally {
      this.#texts.delete(path);
      this.#program(path);
    }
  }

  close(): void {
    this.#api.close();
  }

  #program(...changed: string[]): Program {
    const [project] = this.#api.updateSnapshot({ fileChanges: { changed } }).getProjects();
    if (!project) throw new Error(`no project in ${this.#root}`);
    return project.program;
  }
}

function isValid(program: Program, path: string): boolean {
  if (program.getSyntacticDiagnostics(path).length > 0) return false;
  return program
    .getSemanticDiagnostics(path)
    .every(({ category, code }) => category !== DiagnosticCategory.Error || TOLERATED.has(code));
}
