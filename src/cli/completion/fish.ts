/** For fish 3 and later. */
import type { Completed, CompletedCommand, Value } from './completed.ts';

const PIDS = '(__fish_complete_pids)';
const FOLDERS = '(__fish_complete_directories)';

/** The script's text. */
export function fish({ name, options }: CompletedCommand): string {
  const lines = options.map((option) => `complete -c ${name} ${wordsOf(option).join(' ')}`);
  return `# Completion of ${name} for fish, by ${name} --completion fish

complete -c ${name} -f
${lines.join('\n')}
`;
}

function wordsOf({ names, description, value }: Completed): string[] {
  const flags = names.map((each) => (each.startsWith('--') ? `-l ${each.slice(2)}` : `-s ${each.slice(1)}`));
  return [...flags, ...(value ? takes(value) : []), `-d ${quote(description)}`];
}

/** -x: a value, and no file unless it is offered; -r -F: a value, and files. */
function takes({ words, kinds }: Value): string[] {
  const offered = [
    ...words,
    ...(kinds.includes('pid') ? [PIDS] : []),
    ...(kinds.includes('folder') ? [FOLDERS] : []),
  ];
  return [
    kinds.includes('file') ? '-r -F' : '-x',
    ...(offered.length > 0 ? [`-a ${quote(offered.join(' '))}`] : []),
  ];
}

const quote = (text: string): string => `'${text.replaceAll(/['\\]/g, '\\$&')}'`;
