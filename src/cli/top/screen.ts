/**
 * The terminal of a live view: single keys from stdin, and an alternate screen on stdout. It is restored when
 * the view ends, when the process is stopped (SIGTSTP), and when it exits for any other reason.
 */
import { writeSync } from 'node:fs';
import { emitKeypressEvents, type Interface, type Key } from 'node:readline';
import { ReadStream } from 'node:tty';
import type { LineOutput } from '../output.ts';
import type { Line } from './line.ts';
import { painted, plain } from './line.ts';
import type { Size } from './state.ts';

/**
 * Private modes of DEC and xterm: the alternate screen with the cursor's position saved, the cursor, and the
 * wrapping of long lines. Source: xterm's control sequences (ctlseqs).
 */
const ENTER = '\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J';
const LEAVE = '\x1b[0m\x1b[2J\x1b[H\x1b[?7h\x1b[?25h\x1b[?1049l';

/** How long an escape waits for the rest of a sequence, in ms, as a setting of `emitKeypressEvents`. */
export const ESCAPE_TIMEOUT = { escapeCodeTimeout: 50 } as unknown as Interface;

/** What a screen reports. */
export interface ScreenEvents {
  readonly onKey: (key: string) => void;
  readonly onSize: (size: Size) => void;
  /** The terminal is gone, or cannot be read. */
  readonly onGone: () => void;
}

/** The size of a terminal that does not tell it. */
const DEFAULT_SIZE: Size = { columns: 80, rows: 24 };

/**
 * Opens the terminal without changing it. Do so before privileges are dropped: Node opens a terminal again to
 * read and write it, and it may belong to another user.
 */
export class Screen {
  readonly #input = new ReadStream(0);
  readonly #output = process.stdout;
  readonly #colors = !process.env.NO_COLOR;
  #lines: LineOutput | undefined;
  #events: ScreenEvents | undefined;
  #active = false;
  /** The lines on the screen. */
  #shown: string[] = [];
  /** The lines to show once the terminal has accepted those before. */
  #next: readonly Line[] | undefined;
  #drawing = false;

  constructor() {
    this.#input.on('error', () => this.#events?.onGone());
    this.#input.on('end', () => this.#events?.onGone());
    this.#output.on('error', () => this.#events?.onGone());
  }

  get size(): Size {
    const { columns, rows } = this.#output;
    return columns > 0 && rows > 0 ? { columns, rows } : DEFAULT_SIZE;
  }

  /** Shows the alternate screen, and reports keys and sizes. */
  start(lines: LineOutput, events: ScreenEvents): void {
    this.#lines = lines;
    this.#events = events;
    process.once('exit', this.#leave);
    process.on('SIGTSTP', this.#suspend);
    process.on('SIGCONT', this.#resume);
    this.#output.on('resize', this.#resized);
    emitKeypressEvents(this.#input, ESCAPE_TIMEOUT);
    this.#input.on('keypress', this.#pressed);
    this.#enter();
    this.#input.resume();
  }

  /** Shows the lines. If the terminal is slow, only the last ones are shown. */
  draw(lines: readonly Line[]): void {
    this.#next = lines;
    if (!this.#drawing && this.#active) this.#drawNext();
  }

  /** Restores the terminal. */
  close(): void {
    if (this.#drawing && this.#active) {
      // The terminal is slow: this comes after the lines that wait for it.
      this.#active = false;
      this.#input.setRawMode(false);
      this.#lines?.write(LEAVE);
    }
    this.#leave();
    process.removeListener('exit', this.#leave);
    process.removeListener('SIGTSTP', this.#suspend);
    process.removeListener('SIGCONT', this.#resume);
    this.#output.removeListener('resize', this.#resized);
    this.#input.destroy();
  }

  #drawNext(): void {
    const lines = this.#next;
    if (lines === undefined || this.#lines === undefined) return;
    this.#next = undefined;
    let text = '';
    for (const [i, line] of lines.entries()) {
      const shown = painted(line, this.#colors);
      if (shown === this.#shown[i]) continue;
      this.#shown[i] = shown;
      text += `\x1b[${i + 1};1H${shown}`;
    }
    if (text === '') return;
    this.#drawing = true;
    this.#lines.write(text);
    this.#lines.drained().then(() => {
      this.#drawing = false;
      if (this.#active) this.#drawNext();
    });
  }

  readonly #pressed = (text: string | undefined, key: Key) => {
    const name = keyName(text, key);
    if (name === 'ctrl-z') this.#suspendAll();
    else if (name === 'ctrl-l') this.#redraw();
    else if (name !== undefined) this.#events?.onKey(name);
  };

  readonly #resized = () => {
    this.#clear();
    this.#events?.onSize(this.size);
  };

  readonly #redraw = () => {
    this.#clear();
    this.#events?.onSize(this.size);
  };

  /** Forgets what the screen shows, which is unknown or of another size. */
  #clear(): void {
    this.#shown = [];
    if (this.#active) this.#lines?.write('\x1b[2J');
  }

  #enter(): void {
    this.#input.setRawMode(true);
    this.#active = true;
    this.#shown = [];
    this.#lines?.write(ENTER);
  }

  /** Restores the terminal at once: the process may be about to end or to stop. */
  readonly #leave = () => {
    if (!this.#active) return;
    this.#active = false;
    try {
      this.#input.setRawMode(false);
      writeSync(1, LEAVE);
    } catch {
      // The terminal is gone.
    }
  };

  /** Stops the job, as the terminal does at Ctrl-Z when it reads lines. */
  #suspendAll(): void {
    this.#stop(0);
  }

  /** Restores the terminal, and stops as without a handler. */
  readonly #suspend = () => this.#stop(process.pid);

  #stop(target: number): void {
    this.#leave();
    process.removeListener('SIGTSTP', this.#suspend);
    // The kernel delivers it before the call returns. It ignores the signal if no shell could continue us.
    process.kill(target, 'SIGTSTP');
    process.on('SIGTSTP', this.#suspend);
    this.#resume();
  }

  /** Takes the terminal again, also after SIGSTOP, when the shell may have changed its modes. */
  readonly #resume = () => {
    if (this.#active) this.#input.setRawMode(false);
    this.#enter();
    this.#redraw();
  };
}

/** Names of keys that differ from those of node:readline. */
const NAMES: { readonly [name: string]: string } = { return: 'enter' };
/** Keys without a character. */
const NAMED = new Set([
  ...['up', 'down', 'left', 'right', 'pageup', 'pagedown', 'home', 'end'],
  ...['enter', 'escape', 'backspace', 'tab', 'space'],
]);

/** The name of a key: a character, `enter` and others, or `ctrl-c`. Undefined for a key that has none. */
export function keyName(text: string | undefined, { name, ctrl, meta }: Key): string | undefined {
  const known = name === undefined ? undefined : (NAMES[name] ?? name);
  if (ctrl && known !== undefined && /^[a-z]$/.test(known)) return `ctrl-${known}`;
  if (known !== undefined && NAMED.has(known) && !ctrl) return known;
  if (ctrl || meta || text === undefined || plain([{ text, style: 'plain' }]) === '') return undefined;
  return /^[^\p{C}]$/u.test(text) ? text : undefined;
}
