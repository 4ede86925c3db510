/** For bash 4 and later, with its package of completions or without. */
import type { CompletedCommand, Value } from './completed.ts';

/** The script's text. */
export function bash({ name, options }: CompletedCommand): string {
  const cases = new Map<string, string[]>();
  for (const { names, value } of options) {
    if (!value) continue;
    const commands = commandsFor(value);
    cases.set(commands, [...(cases.get(commands) ?? []), ...names]);
  }
  const lines = [...cases].map(([commands, names]) => `    ${names.join('|')})${commands} return ;;`);
  return `# Completion of ${name} for bash, by ${name} --completion bash

_${name}() {
  local word=\${COMP_WORDS[COMP_CWORD]} option=\${COMP_WORDS[COMP_CWORD-1]} pids=$(cd /proc && echo [0-9]*)
  COMPREPLY=()
  # --option=value is three words to bash, and the last of several short options in one word may take a value
  if [[ $word == = ]]; then word=
  elif [[ $option == = ]]; then option=\${COMP_WORDS[COMP_CWORD-2]}
  elif [[ $option == -[!-]* ]]; then option=-\${option: -1}; fi
  case $option in
${lines.join('\n')}
  esac
  [[ $word != -* ]] || ${reply(`'${options.flatMap(({ names }) => names).join(' ')}'`)}
}
complete -F _${name} ${name}
`;
}

const reply = (words: string): string => `mapfile -t COMPREPLY < <(compgen -W ${words} -- "$word")`;
const PIDS = reply('"$pids"');

/** Files and folders are left to readline, which knows how to quote them; a number is a process before it is a file. */
function commandsFor({ words, kinds }: Value): string {
  const commands = [
    ...(words.length > 0 ? [reply(`'${words.join(' ')}'`)] : []),
    ...(kinds.includes('pid') ? [kinds.length > 1 ? `[[ $word != [1-9]* ]] || ${PIDS}` : PIDS] : []),
    ...(kinds.includes('file') ? ['compopt -o default'] : []),
    ...(kinds.includes('folder') ? ['compopt -o dirnames'] : []),
  ];
  return commands.map((command) => ` ${command};`).join('');
}
