/** A shell on its own terminal, driven by keys. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';

/** Why tests that need these programs are skipped; false if they are installed. */
export function missing(...programs: readonly string[]): string | false {
  const lacking = programs.filter((program) => spawnSync(program, ['--version']).error);
  return lacking.length > 0 && `${lacking.join(' and ')} not installed`;
}

/**
 * The shell's prompt, after a line that it prints once a command: it may draw the prompt again while it edits
 * a line.
 */
const READY = /next\r?\n[\s\S]*?ready> /;

export class Terminal {
  readonly #child: ChildProcess;
  #shown = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#shown += text;
    });
  }

  /** Runs a shell that prints what READY wants before each command. */
  static async open(
    command: string,
    options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv },
  ): Promise<Terminal> {
    const terminal = new Terminal(
      spawn('script', ['-qec', command, '/dev/null'], { ...options, stdio: 'pipe' }),
    );
    await terminal.#ready();
    return terminal;
  }

  /**
   * Types keys that end in a command, and gives what the terminal shows until the shell is ready for the
   * next.
   */
  enter(keys: string): Promise<string> {
    this.#child.stdin?.write(keys);
    return this.#ready();
  }

  /** Closes the terminal, which ends the shell. */
  async close(): Promise<void> {
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exit;
  }

  /** Before this the terminal itself would handle the keys, not the line editor. */
  async #ready(): Promise<string> {
    for (;;) {
      const found = READY.exec(this.#shown);
      if (found) {
        const text = this.#shown.slice(0, found.index);
        this.#shown = this.#shown.slice(found.index + found[0].length);
        return text;
      }
      if (this.#child.exitCode !== null) throw new Error(`the shell ended, and showed ${this.#shown}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
