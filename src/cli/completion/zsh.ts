/** For zsh, as a file in a folder of its `fpath` or sourced after `compinit`. */
import type { Completed, CompletedCommand, Kind, Value } from './completed.ts';

/** What finds each kind. */
type Find = Record<Kind, string>;

/** The script's text. */
export function zsh({ name, options, argument }: CompletedCommand): string {
  const find: Find = { file: '_files', folder: '_files -/', pid: `_${name}_pids` };
  const specs = [
    ...options.flatMap((option) => specsOf(option, find)),
    quote(`1:${escaped(argument, ':')}: `),
  ];
  return `#compdef ${name}
# Completion of ${name} for zsh, by ${name} --completion zsh

# All processes: _pids knows those of the terminal.
_${name}_pids() {
  local pid
  local -a pids
  for pid in /proc/<->(N:t); do pids+=("$pid:$(</proc/$pid/comm)"); done 2>/dev/null
  _describe -t processes process pids
}

_${name}() {
  _arguments -s -S \\
${specs.map((spec) => `    ${spec}`).join(' \\\n')}
}

if [[ $funcstack[1] == _${name} ]]; then _${name} "$@"; else compdef _${name} ${name}; fi
`;
}

/** In the words of _arguments, one for each of its names: (what doesn't go with it) * where it repeats, name[description]:value:action. */
function specsOf(option: Completed, find: Find): string[] {
  const { names, description, value, repeats, alone, excludes } = option;
  const without = alone ? ['-', '*'] : [...(repeats ? [] : names), ...excludes];
  const before = (without.length > 0 ? `(${without.join(' ')})` : '') + (repeats ? '*' : '');
  const after = `[${escaped(description, '[]')}]${value ? `:${value.name}:${actionOf(value, find)}` : ''}`;
  // What follows a name says where its value may be: in the same word or the next one.
  const place = (flag: string) => (value ? (flag.startsWith('--') ? '=' : '+') : '');
  return names.map((flag) => quote(`${before}${flag}${place(flag)}${after}`));
}

function actionOf({ words, kinds }: Value, find: Find): string {
  if (words.length > 0) return `(${words.join(' ')})`;
  const [only, ...more] = kinds;
  if (only === undefined) return ' '; // the value's name is shown, and nothing offered
  if (more.length === 0) return find[only];
  return `_alternative ${kinds.map((kind) => `"${kind}\\:${kind}\\:${find[kind]}"`).join(' ')}`;
}

function escaped(text: string, special: string): string {
  return [...text].map((each) => (`\\${special}`.includes(each) ? `\\${each}` : each)).join('');
}

const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
