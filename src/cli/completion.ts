/**
 * Shell completion scripts, generated from the table of options.
 */
import type { Command, Option } from 'commander';
import type { Shell } from './arguments/flags.ts';
import { commandLine, ListOption, PRINT_AND_EXIT } from './arguments/options.ts';
import { bash } from './completion/bash.ts';
import { fish } from './completion/fish.ts';
import { type CommandSpec, KINDS, type OptionSpec, type ValueSpec } from './completion/spec.ts';
import { zsh } from './completion/zsh.ts';

const SCRIPTS: Record<Shell, (command: CommandSpec) => string> = { bash, zsh, fish };

/** The script for a shell, with a final newline. */
export function completion(shell: Shell): string {
  const command = commandLine('');
  const [argument] = command.registeredArguments;
  return SCRIPTS[shell]({
    name: command.name(),
    options: optionsOf(command),
    argument: argument?.description ?? '',
  });
}

/** All options in the order of the help text, including --help. */
function optionsOf(command: Command): OptionSpec[] {
  const options = command.createHelp().visibleOptions(command);
  return options.map((option) => ({
    names: namesOf(option),
    description: option.description,
    value: valueSpecOf(option),
    repeats: option instanceof ListOption,
    alone: option.helpGroupHeading === PRINT_AND_EXIT,
    excludes: options.filter((other) => excludes(option, other) || excludes(other, option)).flatMap(namesOf),
  }));
}

const namesOf = ({ short, long }: Option): string[] => [short, long].filter((name) => name !== undefined);

function valueSpecOf({ flags, required, argChoices }: Option): ValueSpec | undefined {
  const name = /<(.+)>/.exec(flags)?.[1];
  if (!required || name === undefined) return undefined;
  const parts = name.split('|');
  return { name, words: argChoices ?? [], kinds: KINDS.filter((kind) => parts.includes(kind)) };
}

/** The types of commander do not declare the property that `conflicts` sets. */
function excludes(option: Option, other: Option): boolean {
  const { conflictsWith } = option as Option & { readonly conflictsWith: readonly string[] };
  return conflictsWith.includes(other.attributeName());
}
