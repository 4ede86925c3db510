/**
 * The options of tcpconnlat, by group. The help text and the shell completions are generated from this table;
 * tests compare the man page and the README with it.
 */
import { Command, Option } from 'commander';
import { DEFAULT_PAGES } from '../../loader/session.ts';
import type { Network } from '../../programs/networks.ts';
import type { Range } from '../../programs/tcpconnlat.ts';
import { HELP_WIDTH } from './commander.ts';
import {
  milliseconds,
  networks,
  paths,
  ports,
  processIds,
  recordingFile,
  ringPages,
  threadNames,
  userIds,
} from './values.ts';

/** The values of `--probe`. The last three are the variants of `tracepoint`. */
export const PROBES = [
  'auto',
  'kprobe',
  'fentry',
  'tracepoint',
  'tp_btf',
  'raw_tracepoint',
  'trace_event',
] as const;
export type ProbeOption = (typeof PROBES)[number];

/** The values of `--completion`. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** The group of the options that print something and exit. They are used alone. */
export const PRINT_AND_EXIT = 'Print and exit:';

/** The options as commander parses them. */
export interface Flags {
  pid?: Range[];
  port?: Range[];
  notPort?: Range[];
  to?: Network[];
  notTo?: Network[];
  from?: Network[];
  notFrom?: Network[];
  comm?: string[];
  notComm?: string[];
  uid?: Range[];
  notUid?: Range[];
  cgroup?: string[];
  netns?: string[];
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
  probe: ProbeOption;
  btf?: string;
  pages: number;
  verbose?: true;
  dryRun?: true;
  jsonSchema?: true;
  completion?: Shell;
}

/** An option that may be repeated. Its values accumulate. */
export class ListOption extends Option {}

/** The options that need the kernel, by their names in `Flags`: they conflict with `--replay`. */
const LIVE_OPTIONS: (keyof Flags)[] = [
  ...(['probe', 'btf', 'pages', 'verbose', 'dryRun', 'record'] as const),
  ...(['cgroup', 'netns'] as const),
];

const EXAMPLES = `
Examples:
  tcpconnlat                             latency of every answered connect
  tcpconnlat --failed                    failed connects, with the reason
  tcpconnlat -t 100                      latencies of 100 ms or more
  tcpconnlat --port 443 --to 192.0.2.7   connects to one service
  tcpconnlat --wall --who                add time of day, user and container
  tcpconnlat -p 181 --json               one process, as JSON
  tcpconnlat --record monday.jsonl       show and record
  tcpconnlat --replay monday.jsonl 100   slow connects in a recording
  tcpconnlat --dry-run                   print the programs (needs no root)`;

/**
 * The command with its options, before it parses anything. The name of a value decides how shells complete
 * it: `<file>`, `<folder>`, `<pid>`, or several of them joined by `|`. Shells offer nothing for other names.
 */
export function commandLine(version: string): Command {
  const command = new Command('tcpconnlat')
    .description('Trace active TCP connects and show their latency, from the SYN to the answer.')
    .argument('[min_ms]', 'lowest latency to show, in milliseconds (0.5 is valid)', milliseconds);
  const addList = <T>(flags: string, description: string, parse: (text: string, before?: T) => T) =>
    command.addOption(new ListOption(flags, description).argParser(parse));

  command.optionsGroup('Filters (all must match):');
  addList('-p, --pid <pid>', 'process id, or several: 181,182', processIds);
  addList('--port <ports>', 'remote port: 443 or 80,8000-8100', ports);
  addList('--not-port <ports>', 'exclude these remote ports', ports);
  addList('--to <networks>', 'remote address: 192.0.2.1 or 10.0.0.0/8,2001:db8::/32', networks);
  addList('--not-to <networks>', 'exclude these networks (longest prefix wins)', networks);
  addList('--from <networks>', 'local address', networks);
  addList('--not-from <networks>', 'exclude these local addresses', networks);
  addList('--comm <name>', 'name of the connecting thread', threadNames);
  addList('--not-comm <name>', 'exclude threads with this name', threadNames);
  addList('--uid <uids>', 'user id: 0 or 1000-60000', userIds);
  addList('--not-uid <uids>', 'exclude these user ids', userIds);
  addList('--cgroup <folder>', 'processes in this cgroup or below it', paths);
  addList('--netns <file|pid>', 'network namespace, by its file or by a process', paths);
  command
    .addOption(new Option('-4, --ipv4', 'IPv4 only').conflicts('ipv6'))
    .addOption(new Option('-6, --ipv6', 'IPv6 only, including IPv4-mapped addresses').conflicts('ipv4'));
  command
    .optionsGroup('Failures (default: show only answered connects):')
    .option('--failed', 'show failed connects, with the reason')
    .option('--outcome', 'show every connect when it ends, with its result');
  command
    .optionsGroup('Output:')
    .option('-t, --timestamp', 'add the time of the answer, in seconds since the first')
    .option('--wall', 'add the time of day (UTC, with microseconds)')
    .option('-L, --lport', 'add the local port')
    .option('--who', 'add the user, the container and the pod')
    .option('--resolve', 'add the names of the remote address and port')
    .option('--json', 'print one JSON object per line')
    .option('-q, --quiet', 'print no summary at the end');
  command
    .optionsGroup('Recordings:')
    .addOption(
      new Option('--record <file>', 'also record all events in FILE')
        .argParser(recordingFile)
        .conflicts('dryRun'),
    )
    .addOption(
      new Option('--replay <file>', 'show a recording (- for standard input); needs no root').conflicts(
        LIVE_OPTIONS,
      ),
    );
  command
    .optionsGroup('Probes:')
    .addOption(new Option('--probe <type>', 'probe type').choices(PROBES).default('auto'))
    .option('--btf <file>', 'read kernel BTF from FILE, not /sys/kernel/btf/vmlinux')
    .option('--pages <n>', 'pages per CPU buffer, a power of two', ringPages, DEFAULT_PAGES)
    .option('-v, --verbose', 'print the programs and the probe type before tracing')
    .option('--dry-run', 'print the programs as -v does, and exit (needs no root)');
  return command
    .optionsGroup(PRINT_AND_EXIT)
    .option('--json-schema', 'print the JSON Schema of the --json objects')
    .addOption(new Option('--completion <shell>', 'print a completion script').choices(SHELLS))
    .version(version, '--version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .addHelpText('after', EXAMPLES)
    .configureHelp({ helpWidth: HELP_WIDTH, optionDescription });
}

/** Adds the choices and the default value. */
function optionDescription({ description, argChoices, defaultValue }: Option): string {
  const notes = [argChoices?.join(', '), defaultValue === undefined ? '' : `default: ${defaultValue}`];
  const shown = notes.filter(Boolean).join('; ');
  return shown ? `${description} (${shown})` : description;
}
