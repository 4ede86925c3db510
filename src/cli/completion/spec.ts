/** The command line as the shell scripts describe it. */

/** The kinds of values that shells complete by themselves. */
export const KINDS = ['file', 'folder', 'pid'] as const;
export type Kind = (typeof KINDS)[number];

/** The value of an option: its name, and the words or kinds of values that complete it. */
export interface ValueSpec {
  readonly name: string;
  readonly words: readonly string[];
  readonly kinds: readonly Kind[];
}

/** One option. */
export interface OptionSpec {
  /** The short name, if there is one, and the long name: `-p`, `--pid`. */
  readonly names: readonly string[];
  readonly description: string;
  readonly value?: ValueSpec;
  /** Whether the option may be repeated. */
  readonly repeats: boolean;
  /** Whether the option excludes all others. */
  readonly alone: boolean;
  /** The names of the options that it conflicts with. */
  readonly excludes: readonly string[];
}

/** The command. */
export interface CommandSpec {
  readonly name: string;
  readonly options: readonly OptionSpec[];
  /** The description of its argument. */
  readonly argument: string;
}
