/**
 * The command line of tcpconnlat: what the man page says, with bad input refused in one line.
 */
import { Command, CommanderError, Option } from 'commander';
import { DEFAULT_PAGES } from '../loader/session.ts';
import {
  addFilterOptions,
  type FilterFlags,
  type FilterWords,
  faultOf,
  filterIn,
} from './filter-arguments.ts';
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

/** Those whose programs name types by their numbers, which only the kernel's own BTF has. */
const BY_TYPE_NUMBER: readonly Probe[] = ['fentry', 'tp_btf'];

/** What the user asked for. */
export interface Settings {
  readonly timestamp: boolean;
  readonly lport: boolean;
  readonly json: boolean;
  readonly filter: FilterWords;
  readonly wall: boolean;
  readonly who: boolean;
  readonly resolve: boolean;
  /** Where what is traced is recorded. */
  readonly record?: string;
  readonly family?: 4 | 6;
  /** Least latency, ns. */
  readonly minNs?: number;
  /** Every connect when it ends, with what became of it, or only those that fail. */
  readonly outcome?: 'all' | 'failures';
  readonly probe: Probe;
  /** The file with the kernel's types; its own if not given. */
  readonly btf?: string;
  /** Pages of each CPU's ring. */
  readonly pages: number;
  readonly verbose: boolean;
  readonly dryRun: boolean;
}

/** What is to be done, and for all but `trace` nothing is left to do: `text` is for stdout (status 0) or stderr. */
export type Request =
  | { readonly action: 'trace'; readonly settings: Settings }
  /** `file` is a recording, `-` for standard input. */
  | { readonly action: 'replay'; readonly settings: Settings; readonly file: string }
  | { readonly action: 'schema' }
  | { readonly action: 'say'; readonly text: string; readonly status: 0 | 2 };

interface Flags extends FilterFlags {
  timestamp?: true;
  lport?: true;
  ipv4?: true;
  ipv6?: true;
  outcome?: true;
  failed?: true;
  verbose?: true;
  wall?: true;
  who?: true;
  resolve?: true;
  record?: string;
  replay?: string;
  json?: true;
  jsonSchema?: true;
  probe: Probe;
  btf?: string;
  pages: number;
  dryRun?: true;
}

const EXAMPLES = `
Examples:
  tcpconnlat                 every connect, and its latency
  tcpconnlat -t 10           those of 10 ms and more, with the time of the answer
  tcpconnlat -p 181 -L       those of process 181, with the local port
  tcpconnlat --port 80,443   those to these ports
  tcpconnlat -6 --json       IPv6 only, one JSON object a line
  tcpconnlat --failed        connects that fail, and how
  tcpconnlat --who --wall    with the time of day, the user and the container
  tcpconnlat --record FILE   shown and recorded; --replay FILE shows it again
  tcpconnlat -v --dry-run    show the programs, load nothing (needs no root)`;

/** Reads the arguments that follow the command's name. */
export function readArguments(args: readonly string[], version: string): Request {
  const said: string[] = [];
  const command = build(version, (text) => said.push(text));
  try {
    command.parse(args, { from: 'user' });
    const flags = command.opts<Flags>();
    const { btf, probe } = flags;
    const fault = faultOf(filterIn(flags), probe);
    if (fault) command.error(`error: ${fault}`);
    if (btf !== undefined && BY_TYPE_NUMBER.includes(probe))
      command.error(
        `error: option '--btf <file>' cannot be used with '--probe ${probe}', which needs the kernel's own BTF`,
      );
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    const status = error.exitCode === 0 ? 0 : 2;
    const usage = status === 0 ? '' : `Usage: tcpconnlat ${command.usage()}\nTry 'tcpconnlat --help'.\n`;
    return { action: 'say', text: said.join('') + usage, status };
  }
  const flags = command.opts<Flags>();
  if (flags.jsonSchema) return { action: 'schema' };
  const settings = settingsOf(flags, command.processedArgs[0] as number | undefined);
  return flags.replay === undefined
    ? { action: 'trace', settings }
    : { action: 'replay', settings, file: flags.replay };
}

function settingsOf(flags: Flags, minNs: number | undefined): Settings {
  return {
    timestamp: flags.timestamp ?? false,
    lport: flags.lport ?? false,
    json: flags.json ?? false,
    filter: filterIn(flags),
    wall: flags.wall ?? false,
    who: flags.who ?? false,
    resolve: flags.resolve ?? false,
    record: flags.record,
    family: flags.ipv4 ? 4 : flags.ipv6 ? 6 : undefined,
    minNs,
    outcome: flags.failed ? 'failures' : flags.outcome && 'all',
    probe: flags.probe,
    btf: flags.btf,
    pages: flags.pages,
    verbose: flags.verbose ?? false,
    dryRun: flags.dryRun ?? false,
  };
}

/** Options that ask something of the kernel, or of the programs in it: a recording has none. By their names in `Flags`. */
const OF_THE_KERNEL: (keyof Flags)[] = [
  ...(['probe', 'btf', 'pages', 'verbose', 'dryRun', 'record'] as const),
  ...(['cgroup', 'netns'] as const),
];

function build(version: string, say: (text: string) => void): Command {
  const command = new Command('tcpconnlat')
    .description('Trace TCP active connects and show their latency: the time from the SYN to the answer.')
    .usage('[-h] [-t] [-p PID] [-L] [-4 | -6] [-v] [min_ms]')
    .argument('[min_ms]', 'least latency to show, in milliseconds (fractions allowed)', milliseconds)
    .option('-t, --timestamp', 'add a column with the time of the answer (s since the first)')
    .option('-L, --lport', 'add a column with the local port')
    .addOption(new Option('-4, --ipv4', 'only IPv4').conflicts('ipv6'))
    .addOption(new Option('-6, --ipv6', 'only IPv6, IPv4-mapped addresses included').conflicts('ipv4'));
  return addFilterOptions(command)
    .option('--outcome', 'print every connect when it ends, answered or not, and what became of it')
    .option('--failed', 'as --outcome, only those that failed')
    .option('-v, --verbose', 'print the programs, and how they are attached, before tracing')
    .option('--wall', 'add a column with the time of day (UTC, with microseconds)')
    .option('--who', 'add columns with the user, the container and the pod')
    .option('--resolve', 'add a column with the names of address and port')
    .option('--json', 'print one JSON object a line')
    .option('--json-schema', 'print the JSON Schema of those objects, and exit')
    .addOption(
      new Option('--record <file>', 'write what is traced to a file as well')
        .argParser(recordingFile)
        .conflicts('dryRun'),
    )
    .addOption(
      new Option('--replay <file>', 'show a recording (- for standard input); needs no root').conflicts(
        OF_THE_KERNEL,
      ),
    )
    .addOption(new Option('--probe <way>', 'how to watch the kernel').choices(PROBES).default('auto'))
    .option('--btf <file>', "take the kernel's types from a file, where it shows none itself")
    .option('--pages <n>', "pages of each CPU's event ring, a power of two", ringPages, DEFAULT_PAGES)
    .option('--dry-run', 'print the programs as with -v, load nothing (needs no root)')
    .version(version, '--version', 'print the version, and exit')
    .helpOption('-h, --help', 'print this, and exit')
    .addHelpText('after', EXAMPLES)
    .configureHelp({ helpWidth: 100 })
    .configureOutput({
      writeOut: say,
      writeErr: say,
      outputError: (text, write) => write(`tcpconnlat: ${text}`),
    })
    .exitOverride();
}
