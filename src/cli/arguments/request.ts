/** What a command line asks for, and the options of a run from its flags. */
import type { Criterion } from '../../programs/networks.ts';
import type { Filter } from '../../programs/tcpconnlat/criteria.ts';
import { type By, DEFAULT_BY, DEFAULT_MAX_KEYS } from '../aggregate/by.ts';
import type { CallerFilter } from '../caller-filter.ts';
import {
  DEFAULT_BUCKETS,
  DEFAULT_EXPORT_MS,
  DEFAULT_LISTEN,
  DEFAULT_MAX_LINES,
  type ExporterOptions,
} from '../exporter-options.ts';
import type { Flags, ProbeOption, Shell } from './flags.ts';
import { DEFAULT_PENDING_MS, switchesIn, VERSION_OPTION } from './switches.ts';

/**
 * A filter as specified by the user: network namespaces are paths or process ids, and the programs do not
 * apply the criteria for callers.
 */
export type FilterOptions = Omit<Filter, 'netns'> & CallerFilter & { readonly netns?: Criterion<string> };

/** The options of one run. */
export interface Options {
  readonly timestamp: boolean;
  readonly lport: boolean;
  readonly json: boolean;
  /** How long to trace, in ms. Default: until a signal ends the run. */
  readonly durationMs?: number;
  /** The number of lines after which the run ends. Default: no limit. */
  readonly count?: number;
  /** Print no summary at the end. */
  readonly quiet: boolean;
  readonly filter: FilterOptions;
  readonly wall: boolean;
  readonly who: boolean;
  /** Show the address that the program asked for; `--to` and `--port` apply to it, too. */
  readonly requested: boolean;
  readonly resolve: boolean;
  /** The path of the recording to write. */
  readonly record?: string;
  /** The path of the report to write. */
  readonly report?: string;
  readonly family?: 4 | 6;
  /** The lowest latency to show, in ns. */
  readonly minNs?: number;
  /** Show all connects when they end, or only failed connects. Default: only answered connects. */
  readonly outcome?: 'all' | 'failures';
  /** Also show a connect when it has waited this long, in ms. Default: show no connect before its end. */
  readonly pendingMs?: number;
  readonly probe: ProbeOption;
  /** A file with the kernel's BTF. Default: the BTF of the running kernel. */
  readonly btf?: string;
  /** Pages of each CPU's perf buffer. */
  readonly pages: number;
  /** The capacity of the table of connects in flight. */
  readonly maxConnects: number;
  /** Keep the capabilities and install no seccomp filter. */
  readonly keepPrivileges: boolean;
  readonly verbose: boolean;
  readonly dryRun: boolean;
  /** Show a table of keys instead of connects. */
  readonly summary?: SummaryOptions;
  /** Export the connects of the keys instead of showing them; `summary` has the keys. */
  readonly exporters?: ExporterOptions;
}

/** The options of `--summary`. */
export interface SummaryOptions {
  readonly by: By;
  /** Show a live screen, if there is a terminal. */
  readonly top: boolean;
  /** How often to show a table, in ms. Default: once, at the end. */
  readonly intervalMs?: number;
  /** Show a histogram of each key. */
  readonly histogram: boolean;
  /** The capacity of each table of keys. */
  readonly maxKeys: number;
}

/**
 * What the command line asks for. `print` has the complete text for stdout (status 0) or stderr (status 2).
 */
export type Request =
  | { readonly action: 'trace'; readonly options: Options }
  /** `file` is a recording; `-` is standard input. */
  | { readonly action: 'replay'; readonly options: Options; readonly file: string }
  | { readonly action: 'diagnose'; readonly options: Options }
  | { readonly action: 'schema' }
  | { readonly action: 'completion'; readonly shell: Shell }
  | { readonly action: 'print'; readonly text: string; readonly status: 0 | 2 };

/** The request of a command line that needs no commander: of switches, or `--version` alone. */
export function simpleRequest(args: readonly string[], version: string): Request | undefined {
  if (args.length === 1 && args[0] === VERSION_OPTION[0])
    return { action: 'print', text: `${version}\n`, status: 0 };
  const flags = switchesIn(args);
  return flags && { action: 'trace', options: optionsFrom(flags, undefined) };
}

/** The options of a run. `minNs` is the argument of the command line. */
export function optionsFrom(flags: Flags, minNs: number | undefined): Options {
  return {
    timestamp: flags.timestamp ?? false,
    lport: flags.lport ?? false,
    json: flags.json ?? false,
    durationMs: flags.duration,
    count: flags.count,
    quiet: flags.quiet ?? false,
    filter: filterFrom(flags),
    wall: flags.wall ?? false,
    who: flags.who ?? false,
    requested: flags.requested ?? false,
    resolve: flags.resolve ?? false,
    record: flags.record,
    report: flags.report,
    family: flags.ipv4 ? 4 : flags.ipv6 ? 6 : undefined,
    minNs,
    outcome: flags.failed ? 'failures' : flags.outcome && 'all',
    pendingMs: flags.pendingAfter ?? (flags.pending && DEFAULT_PENDING_MS),
    probe: flags.probe,
    btf: flags.btf,
    pages: flags.pages,
    maxConnects: flags.maxConnects,
    keepPrivileges: flags.keepPrivileges ?? false,
    verbose: flags.verbose ?? false,
    dryRun: flags.dryRun ?? false,
    ...((flags.summary || flags.top || exports(flags)) && { summary: summaryFrom(flags) }),
    ...(exports(flags) && { exporters: exportersFrom(flags) }),
  };
}

function summaryFrom(flags: Flags): SummaryOptions {
  const { by = DEFAULT_BY, top = false, histogram = false, maxKeys = DEFAULT_MAX_KEYS } = flags;
  const intervalMs = flags.interval ?? (top ? DEFAULT_TOP_MS : undefined);
  return { by, top, intervalMs, histogram, maxKeys };
}

/** How often `--top` shows new counts, in ms. */
const DEFAULT_TOP_MS = 2_000;

/** Whether an option asks for an exporter. */
export function exports({ prometheus, otlp }: Flags): boolean {
  return prometheus !== undefined || otlp !== undefined;
}

function exportersFrom(flags: Flags): ExporterOptions {
  const { prometheus, listen = DEFAULT_LISTEN, otlp, interval, by = DEFAULT_BY } = flags;
  return {
    ...(prometheus && { listen }),
    ...(otlp !== undefined && { otlp }),
    maxLines: flags.maxLines ?? DEFAULT_MAX_LINES,
    buckets: flags.buckets ?? DEFAULT_BUCKETS,
    intervalMs: interval ?? DEFAULT_EXPORT_MS,
    by: by.parts,
  };
}

export function filterFrom(flags: Flags): FilterOptions {
  return {
    ...criterion('pid', flags.pid),
    ...criterion('port', flags.port, flags.notPort),
    ...criterion('to', flags.to, flags.notTo),
    ...criterion('from', flags.from, flags.notFrom),
    ...criterion('uid', flags.uid, flags.notUid),
    ...criterion('comm', flags.comm, flags.notComm),
    ...criterion('unit', flags.unit, flags.notUnit),
    ...criterion('pod', flags.pod, flags.notPod),
    ...criterion('namespace', flags.namespace, flags.notNamespace),
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
