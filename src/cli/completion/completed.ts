/** The command as shells' scripts describe it. */

/** What a shell can find by itself. */
export const KINDS = ['file', 'folder', 'pid'] as const;
export type Kind = (typeof KINDS)[number];

/** What an option takes: a value that is called so, and may be one of these words or of these kinds. */
export interface Value {
  readonly name: string;
  readonly words: readonly string[];
  readonly kinds: readonly Kind[];
}

/** An option as a shell's script describes it. */
export interface Completed {
  /** `-p` and `--pid`, or the long one alone. */
  readonly names: readonly string[];
  readonly description: string;
  readonly value?: Value;
  /** Whether it may come several times. */
  readonly repeats: boolean;
  /** Whether nothing else goes with it. */
  readonly alone: boolean;
  /** Names of those that don't go with it. */
  readonly excludes: readonly string[];
}

/** The command as a shell's script describes it. */
export interface CompletedCommand {
  readonly name: string;
  readonly options: readonly Completed[];
  /** What its argument is. */
  readonly argument: string;
}
