/**
 * Scripts that complete the command's words in a shell, made from the table of its options.
 */
import type { Command, Option } from 'commander';
import { ListOption } from './arguments/filter.ts';
import { commandLine, type Shell, TO_PRINT } from './arguments/options.ts';
import { bash } from './completion/bash.ts';
import { type Completed, type CompletedCommand, KINDS, type Value } from './completion/completed.ts';
import { fish } from './completion/fish.ts';
import { zsh } from './completion/zsh.ts';

const SCRIPTS: Record<Shell, (command: CompletedCommand) => string> = { bash, zsh, fish };

/** The script for a shell, with the newline at its end. */
export function completion(shell: Shell): string {
  const command = commandLine('');
  const [argument] = command.registeredArguments;
  return SCRIPTS[shell]({
    name: command.name(),
    options: optionsOf(command),
    argument: argument?.description ?? '',
  });
}

/** In the order of the help, which is one of them. */
function optionsOf(command: Command): Completed[] {
  const options = command.createHelp().visibleOptions(command);
  return options.map((option) => ({
    names: namesOf(option),
    description: option.description,
    value: takenBy(option),
    repeats: option instanceof ListOption,
    alone: option.helpGroupHeading === TO_PRINT,
    excludes: options.filter((other) => excludes(option, other) || excludes(other, option)).flatMap(namesOf),
  }));
}

const namesOf = ({ short, long }: Option): string[] => [short, long].filter((name) => name !== undefined);

function takenBy({ flags, required, argChoices }: Option): Value | undefined {
  const name = /<(.+)>/.exec(flags)?.[1];
  if (!required || name === undefined) return undefined;
  const parts = name.split('|');
  return { name, words: argChoices ?? [], kinds: KINDS.filter((kind) => parts.includes(kind)) };
}

/** commander keeps the names of `conflicts` to itself. */
function excludes(option: Option, other: Option): boolean {
  const { conflictsWith } = option as Option & { readonly conflictsWith: readonly string[] };
  return conflictsWith.includes(other.attributeName());
}
