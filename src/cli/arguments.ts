/**
 * Parses the command line of tcpconnlat. A command line that is not valid results in a one-line error
 * message.
 */
import { CommanderError } from 'commander';
import { sameNetwork } from '../programs/networks.ts';
import { without } from '../programs/tcpconnlat/filter.ts';
import type { Criterion, Filter } from '../programs/tcpconnlat.ts';
import { formatAddress } from './address.ts';
import { redirectOutput } from './arguments/commander.ts';
import { commandLine, type Flags, type ProbeOption, type Shell } from './arguments/options.ts';

/** A filter as specified by the user: network namespaces are paths or process ids. */
export type FilterOptions = Omit<Filter, 'netns'> & { readonly netns?: Criterion<string> };

/** The options of one run. */
export interface Options {
  readonly timestamp: boolean;
  readonly lport: boolean;
  readonly json: boolean;
  /** Print no summary at the end. */
  readonly quiet: boolean;
  readonly filter: FilterOptions;
  readonly wall: boolean;
  readonly who: boolean;
  readonly resolve: boolean;
  /** The path of the recording to write. */
  readonly record?: string;
  readonly family?: 4 | 6;
  /** The lowest latency to show, in ns. */
  readonly minNs?: number;
  /** Show all connects when they end, or only failed connects. Default: only answered connects. */
  readonly outcome?: 'all' | 'failures';
  readonly probe: ProbeOption;
  /** A file with the kernel's BTF. Default: the BTF of the running kernel. */
  readonly btf?: string;
  /** Pages of each CPU's perf buffer. */
  readonly pages: number;
  readonly verbose: boolean;
  readonly dryRun: boolean;
}

/**
 * What the command line asks for. `print` has the complete text for stdout (status 0) or stderr (status 2).
 */
export type Request =
  | { readonly action: 'trace'; readonly options: Options }
  /** `file` is a recording; `-` is standard input. */
  | { readonly action: 'replay'; readonly options: Options; readonly file: string }
  | { readonly action: 'schema' }
  | { readonly action: 'completion'; readonly shell: Shell }
  | { readonly action: 'print'; readonly text: string; readonly status: 0 | 2 };

/** Parses the arguments after the name of the command. */
export function readArguments(args: readonly string[], version: string): Request {
  const printed: string[] = [];
  const print = (text: string) => printed.push(text);
  const command = commandLine(version).configureOutput(redirectOutput('tcpconnlat', print)).exitOverride();
  try {
    command.parse(args, { from: 'user' });
    const conflict = conflictIn(command.opts<Flags>());
    if (conflict) command.error(`error: ${conflict}`);
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    const status = error.exitCode === 0 ? 0 : 2;
    const usage = status === 0 ? '' : `Usage: tcpconnlat ${command.usage()}\nTry 'tcpconnlat --help'.\n`;
    return { action: 'print', text: printed.join('') + usage, status };
  }
  const flags = command.opts<Flags>();
  if (flags.jsonSchema) return { action: 'schema' };
  if (flags.completion) return { action: 'completion', shell: flags.completion };
  const options = optionsFrom(flags, command.processedArgs[0] as number | undefined);
  return flags.replay === undefined
    ? { action: 'trace', options }
    : { action: 'replay', options, file: flags.replay };
}

function optionsFrom(flags: Flags, minNs: number | undefined): Options {
  return {
    timestamp: flags.timestamp ?? false,
    lport: flags.lport ?? false,
    json: flags.json ?? false,
    quiet: flags.quiet ?? false,
    filter: filterFrom(flags),
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

function filterFrom(flags: Flags): FilterOptions {
  return {
    ...criterion('pid', flags.pid),
    ...criterion('port', flags.port, flags.notPort),
    ...criterion('to', flags.to, flags.notTo),
    ...criterion('from', flags.from, flags.notFrom),
    ...criterion('uid', flags.uid, flags.notUid),
    ...criterion('comm', flags.comm, flags.notComm),
    ...criterion('cgroup', flags.cgroup),
    ...criterion('netns', flags.netns),
  };
}

function criterion<K extends string, T>(
  name: K,
  only?: T[],
  not?: T[],
): { readonly [N in K]?: Criterion<T> } {
  if (!only && !not) return {};
  return { [name]: { ...(only && { only }), ...(not && { not }) } } as { [N in K]: Criterion<T> };
}

/** The probes whose programs refer to types by BTF id, which only the running kernel's BTF has. */
const NEEDS_KERNEL_BTF: readonly ProbeOption[] = ['fentry', 'tp_btf'];

/** Why options contradict each other; undefined if they do not. */
function conflictIn(flags: Flags): string | undefined {
  const filter = filterFrom(flags);
  for (const name of ['port', 'uid'] as const) {
    const { only, not = [] } = filter[name] ?? {};
    if (only && without(only, not).length === 0) return nothingLeft(name);
  }
  const { only, not = [] } = filter.comm ?? {};
  if (only?.every((each) => not.includes(each))) return nothingLeft('comm');
  for (const name of ['to', 'from'] as const) {
    const { only = [], not = [] } = filter[name] ?? {};
    const both = only.find((network) => not.some((other) => sameNetwork(network, other)));
    if (both)
      return `options '--${name}' and '--not-${name}' both contain ${formatAddress(both.address)}/${both.prefix}`;
  }
  if (filter.netns && flags.probe === 'trace_event')
    return "option '--netns <file|pid>' cannot be used with '--probe trace_event', whose record has no network namespace";
  if (flags.btf !== undefined && NEEDS_KERNEL_BTF.includes(flags.probe))
    return `option '--btf <file>' cannot be used with '--probe ${flags.probe}', which needs the BTF of the running kernel`;
  return undefined;
}

const nothingLeft = (name: string) => `option '--not-${name}' excludes every value of '--${name}'`;
