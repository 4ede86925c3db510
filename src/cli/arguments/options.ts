/**
 * The options of tcpconnlat, in groups by what one wants. Help and completions are made of this table, and tests hold the man page and the
 * README against it.
 */
import { Command, Option } from 'commander';
import { DEFAULT_PAGES } from '../../loader/session.ts';
import { HELP_WIDTH } from './collected.ts';
import { addFilterOptions, type FilterFlags } from './filter.ts';
import { milliseconds, recordingFile, ringPages } from './values.ts';

/** What `--probe` takes. The last ones are the grades of `tracepoint`, by name. */
export const PROBES = [
  'auto',
  'kprobe',
  'fentry',
  'tracepoint',
  'tp_btf',
  'raw_tracepoint',
  'trace_event',
] as const;
export type Probe = (typeof PROBES)[number];

/** What `--completion` takes. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** The group of the options that need none of the others: each prints something, and that is all. */
export const TO_PRINT = 'Print, and exit:';

/** What the parser makes of the options. */
export interface Flags extends FilterFlags {
  ipv4?: true;
  ipv6?: true;
  outcome?: true;
  failed?: true;
  timestamp?: true;
  wall?: true;
  lport?: true;
  who?: true;
  resolve?: true;
  json?: true;
  quiet?: true;
  record?: string;
  replay?: string;
  probe: Probe;
  btf?: string;
  pages: number;
  verbose?: true;
  dryRun?: true;
  jsonSchema?: true;
  completion?: Shell;
}

/** Options that ask something of the kernel, or of the programs in it: a recording has none. By their names in `Flags`. */
const OF_THE_KERNEL: (keyof Flags)[] = [
  ...(['probe', 'btf', 'pages', 'verbose', 'dryRun', 'record'] as const),
  ...(['cgroup', 'netns'] as const),
];

const EXAMPLES = `
Examples:
  tcpconnlat                             every connect that is answered, and its latency
  tcpconnlat --failed                    those that fail, and how
  tcpconnlat -t 100                      those of 100 ms and more, with the time of the answer
  tcpconnlat --port 443 --to 192.0.2.7   those to one service
  tcpconnlat --wall --who                with the time of day, the user and the container
  tcpconnlat -p 181 --json               those of a process, one JSON object a line
  tcpconnlat --record monday.jsonl       shown, and recorded
  tcpconnlat --replay monday.jsonl 100   a recording, the slow ones of it
  tcpconnlat --dry-run                   show the programs, load nothing (needs no root)`;

/**
 * The command with its options, which parses and prints nothing yet. What an option takes is named by a word that says what completes it:
 * a `<file>`, a `<folder>`, a `<pid>`, and `|` between several; any other stands for what only the user knows.
 */
export function commandLine(version: string): Command {
  const command = new Command('tcpconnlat')
    .description('Trace TCP active connects and show their latency: the time from the SYN to the answer.')
    .argument('[min_ms]', 'least latency to show, in milliseconds (fractions allowed)', milliseconds);
  addFilterOptions(command.optionsGroup('Which connects (all that is given must hold):'))
    .addOption(new Option('-4, --ipv4', 'only IPv4').conflicts('ipv6'))
    .addOption(new Option('-6, --ipv6', 'only IPv6, IPv4-mapped addresses included').conflicts('ipv4'));
  command
    .optionsGroup('Failures (without these only connects that were answered are shown):')
    .option('--failed', 'connects that fail, and how')
    .option('--outcome', 'every connect when it ends, answered or not, and what became of it');
  command
    .optionsGroup('What is shown:')
    .option('-t, --timestamp', 'add a column with the time of the answer (s since the first)')
    .option('--wall', 'add a column with the time of day (UTC, with microseconds)')
    .option('-L, --lport', 'add a column with the local port')
    .option('--who', 'add columns with the user, the container and the pod')
    .option('--resolve', 'add a column with the names of address and port')
    .option('--json', 'print one JSON object a line')
    .option('-q, --quiet', 'print no summary at the end');
  command
    .optionsGroup('Recordings:')
    .addOption(
      new Option('--record <file>', 'write what is traced to a file as well')
        .argParser(recordingFile)
        .conflicts('dryRun'),
    )
    .addOption(
      new Option('--replay <file>', 'show a recording (- for standard input); needs no root').conflicts(
        OF_THE_KERNEL,
      ),
    );
  command
    .optionsGroup('How the kernel is watched:')
    .addOption(new Option('--probe <way>', 'how to watch the kernel').choices(PROBES).default('auto'))
    .option('--btf <file>', "take the kernel's types from a file, where it shows none itself")
    .option('--pages <n>', "pages of each CPU's event ring, a power of two", ringPages, DEFAULT_PAGES)
    .option('-v, --verbose', 'print the programs, and how they are attached, before tracing')
    .option('--dry-run', 'print the programs as with -v, load nothing (needs no root)');
  return command
    .optionsGroup(TO_PRINT)
    .option('--json-schema', "print the JSON Schema of --json's objects")
    .addOption(
      new Option('--completion <shell>', "print a script that completes the command's words").choices(SHELLS),
    )
    .version(version, '--version', 'print the version')
    .helpOption('-h, --help', 'print this')
    .addHelpText('after', EXAMPLES)
    .configureHelp({ helpWidth: HELP_WIDTH, optionDescription });
}

/** With the words that it takes, and what holds without it. */
function optionDescription({ description, argChoices, defaultValue }: Option): string {
  const notes = [argChoices?.join(', '), defaultValue === undefined ? '' : `default: ${defaultValue}`];
  const shown = notes.filter(Boolean).join('; ');
  return shown ? `${description} (${shown})` : description;
}
