/**
 * The options of tcpconnlat, by group. The help text and the shell completions are generated from this table;
 * tests compare the man page and the README with it.
 */
import { Command, Option } from 'commander';
import { BUCKETS_PER_OCTAVE, DEFAULT_LISTEN, hostAndPort } from '../exporter-options.ts';
import { HELP_WIDTH } from './commander.ts';
import { type Flags, PROBES, SHELLS } from './flags.ts';
import { DEFAULTS, SWITCHES, VERSION_OPTION } from './switches.ts';
import {
  buckets,
  collectorUrl,
  duration,
  keys,
  keyTableSize,
  lineCount,
  listenAddress,
  metricLines,
  milliseconds,
  networks,
  outputFile,
  paths,
  podNames,
  ports,
  processIds,
  ringPages,
  tableSize,
  threadNames,
  unitNames,
  userIds,
} from './values.ts';

/** The group of the options that print something and exit. They are used alone. */
export const PRINT_AND_EXIT = 'Print and exit:';

/** An option that may be repeated. Its values accumulate. */
export class ListOption extends Option {}

/** The options that need the kernel, by their names in `Flags`: they conflict with `--replay`. */
const LIVE_OPTIONS: (keyof Flags)[] = [
  ...(['probe', 'btf', 'pages', 'maxConnects', 'keepPrivileges', 'verbose', 'dryRun', 'record'] as const),
  ...(['cgroup', 'netns', 'duration', 'pendingAfter'] as const),
];

/** The options for single connects: they conflict with `--summary`. */
const NOT_IN_SUMMARIES: (keyof Flags)[] = [
  ...(['failed', 'outcome', 'pending', 'pendingAfter', 'timestamp', 'lport', 'resolve'] as const),
  ...(['count', 'record', 'replay', 'report'] as const),
];

/** What contradicts `--top`: other forms of its output, and what would be printed before it. */
const NOT_IN_TOP: (keyof Flags)[] = [...NOT_IN_SUMMARIES, 'histogram', 'json', 'verbose'];

/** What contradicts an exporter, which shows nothing. */
const NOT_IN_EXPORTS: (keyof Flags)[] = [
  ...NOT_IN_SUMMARIES,
  ...(['summary', 'top', 'histogram', 'json', 'wall', 'who', 'requested'] as const),
];

/** The options that need keys: a summary, or an exporter. */
export const OF_KEYS = ['by', 'maxKeys'] as const satisfies (keyof Flags)[];
/** The options that need `--prometheus`. */
export const OF_PROMETHEUS = ['listen', 'buckets', 'maxLines'] as const satisfies (keyof Flags)[];

const EXAMPLES = `
Examples:
  tcpconnlat                             latency of every answered connect
  tcpconnlat --failed                    failed connects, with the reason
  tcpconnlat --pending                   connects that wait for an answer
  tcpconnlat -t 100                      latencies of 100 ms or more
  tcpconnlat --port 443 --to 192.0.2.7   connects to one service
  tcpconnlat --wall --who                add time of day, user and caller
  tcpconnlat -p 181 --json               one process, as JSON
  tcpconnlat --record monday.jsonl       show and record
  tcpconnlat --replay monday.jsonl 100   slow connects in a recording
  tcpconnlat --report today.html         show, and make charts and tables
  tcpconnlat --failed -d 60              the failures of one minute
  tcpconnlat --summary --interval 5      every 5 s, a line for each destination
  tcpconnlat --top --by comm,dest        destinations of each program, live
  tcpconnlat --prometheus                metrics for Prometheus, on port 9435
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
  addList('--uid <users>', 'user: www-data, 0 or 1000-60000', userIds);
  addList('--not-uid <users>', 'exclude these users', userIds);
  addList('--unit <units>', 'systemd unit: nginx or php@*.service', unitNames);
  addList('--not-unit <units>', 'exclude these units', unitNames);
  addList('--pod <pods>', 'Kubernetes pod, by name or UID: cart-7d9f*', podNames);
  addList('--not-pod <pods>', 'exclude these pods', podNames);
  addList('--namespace <names>', 'Kubernetes namespace of the pod', podNames);
  addList('--not-namespace <names>', 'exclude pods of these namespaces', podNames);
  addList('--cgroup <folder>', 'processes in this cgroup or below it', paths);
  addList('--netns <file|pid>', 'network namespace, by its file or by a process', paths);
  command
    .addOption(new Option(...SWITCHES.ipv4).conflicts('ipv6'))
    .addOption(new Option(...SWITCHES.ipv6).conflicts('ipv4'));
  command
    .optionsGroup('Failures (default: show only answered connects):')
    .option(...SWITCHES.failed)
    .option(...SWITCHES.outcome)
    .option(...SWITCHES.pending)
    .addOption(new Option('--pending-after <seconds>', 'the same after this time').argParser(duration));
  command
    .optionsGroup('Output:')
    .option(...SWITCHES.timestamp)
    .option(...SWITCHES.wall)
    .option(...SWITCHES.lport)
    .option(...SWITCHES.who)
    .option(...SWITCHES.requested)
    .option(...SWITCHES.resolve)
    .option(...SWITCHES.json)
    .option(...SWITCHES.quiet);
  command
    .optionsGroup('Summaries (counted in the kernel, at any rate of connects):')
    .addOption(
      new Option('--summary', 'show counts and latencies of keys, not each connect').conflicts(
        NOT_IN_SUMMARIES,
      ),
    )
    .addOption(new Option('--top', 'show the same on a live screen').conflicts(NOT_IN_TOP))
    .option('--by <keys>', 'dest, net, port, comm, pod, unit, container, user or all', keys)
    .option('--interval <seconds>', 'show a table after each interval', duration)
    .option('--histogram', 'show a histogram of the latencies of each key')
    .option('--max-keys <n>', 'keys in an interval; others are counted as other', keyTableSize);
  command
    .optionsGroup('Exporters (of the same counts, instead of a table):')
    .addOption(new Option('--prometheus', 'serve metrics for Prometheus').conflicts(NOT_IN_EXPORTS))
    .option(
      '--listen <address:port>',
      `where to serve (default: ${hostAndPort(DEFAULT_LISTEN)})`,
      listenAddress,
    )
    .addOption(
      new Option('--otlp <url>', 'send metrics to this OpenTelemetry collector')
        .argParser(collectorUrl)
        .conflicts(NOT_IN_EXPORTS),
    )
    .option('--buckets <n>', `buckets per power of two: ${BUCKETS_PER_OCTAVE.join(', ')}`, buckets)
    .option('--max-lines <n>', 'most lines of a scrape; more keys are counted as other', metricLines);
  command
    .optionsGroup('End of the run (default: a signal ends it):')
    .option('-d, --duration <seconds>', 'end after this time; fractions are allowed', duration)
    .option('-n, --count <n>', 'end after N connects are shown', lineCount);
  command
    .optionsGroup('Recordings and reports:')
    .addOption(
      new Option('--record <file>', 'also record all events in FILE')
        .argParser(outputFile)
        .conflicts('dryRun'),
    )
    .addOption(
      new Option('--replay <file>', 'show a recording (- for standard input); needs no root').conflicts(
        LIVE_OPTIONS,
      ),
    )
    .addOption(
      new Option('--report <file>', 'write an HTML report of all connects at the end')
        .argParser(outputFile)
        .conflicts('dryRun'),
    );
  command
    .optionsGroup('Probes:')
    .addOption(new Option('--probe <type>', 'probe type').choices(PROBES).default(DEFAULTS.probe))
    .option('--btf <file>', 'read kernel BTF from FILE, not /sys/kernel/btf/vmlinux')
    .option('--pages <n>', 'pages per CPU buffer, a power of two', ringPages, DEFAULTS.pages)
    .option('--max-connects <n>', 'connects in flight at once', tableSize, DEFAULTS.maxConnects)
    .option(...SWITCHES.keepPrivileges)
    .option(...SWITCHES.verbose)
    .option(...SWITCHES.dryRun);
  return command
    .optionsGroup(PRINT_AND_EXIT)
    .option('--diagnose', 'print a summary of this machine for a bug report')
    .option('--json-schema', 'print the JSON Schema of the --json objects')
    .addOption(new Option('--completion <shell>', 'print a completion script').choices(SHELLS))
    .version(version, ...VERSION_OPTION)
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
