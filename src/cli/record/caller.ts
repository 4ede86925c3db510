/**
 * Whom a connect belongs to: the systemd unit, the container, the pod and the process that called connect.
 *
 * Reading all that takes ten times as long as showing the connect, so it is read once for each process. The
 * programs send values that change if the process does, executes another program, or moves to other cgroups.
 * Without kernel types they cannot: then the facts are used for a moment.
 */
import { CgroupPaths } from '../../loader/cgroup-paths.ts';
import type { Kernel } from '../../loader/kernel.ts';
import type { ConnectAttempt } from '../../programs/tcpconnlat/events.ts';
import { type Container, containerOf } from './containers.ts';
import { type NameLookup, type Names, nameLookup } from './names.ts';
import { type ProcessFacts, processFacts } from './process.ts';
import { type Units, unitsOf } from './units.ts';

/** Whom a connect belongs to. What is not known is absent. The names are those of the JSON fields. */
export interface Caller extends Units, Container, Names, ProcessFacts {}

/** Finds the caller of a connect. */
export type CallerLookup = (attempt: ConnectAttempt) => Caller;

/** The most processes that are remembered. */
const MAX_KNOWN = 4096;
/** How long facts are used that may have changed or are incomplete, in ns. */
const RETRY_NS = 100_000_000n;

interface Known {
  readonly cgroup: bigint | undefined;
  readonly startNs: bigint | undefined;
  readonly cgroups: bigint | undefined;
  readonly execs: bigint | undefined;
  /** The time of a connect from which on the caller is looked up again, in ns. */
  readonly untilNs: bigint | undefined;
  readonly caller: Caller;
}

/** The parts of this machine that callers are looked up in; for tests. */
export interface CallerSources {
  readonly names?: NameLookup;
  readonly proc?: string;
}

/**
 * Looks up the callers on this machine. `commandLine` adds their command lines. Calls `warn` if no cgroup
 * file system is mounted.
 */
export function callerLookup(
  kernel: Kernel,
  { commandLine, warn }: { readonly commandLine: boolean; readonly warn: (text: string) => void },
  { names = nameLookup(), proc }: CallerSources = {},
): CallerLookup {
  const paths = new CgroupPaths(kernel);
  if (!paths.mounted) warn('units and containers are not shown: no cgroup file system is mounted');
  const hasPids = !kernel.hasOwn('pid');
  // In another time namespace /proc has other start times.
  const hasTimes = !kernel.hasOwn('time');
  const known = new Map<number, Known>();

  /** The attempt is valid only during the call. */
  const find = ({ cgroup, task: { pid }, process, startNs }: ConnectAttempt): Known => {
    const ownPaths = cgroup === undefined ? [] : [...paths.of(cgroup, pid)];
    const place = placeOf(ownPaths);
    const named = names(place);
    const bornNs = hasTimes ? process?.startNs : undefined;
    const facts = hasPids ? processFacts({ pid, startNs: bornNs, commandLine }, proc) : {};
    const isFinal = process !== undefined && ownPaths.length > 0 && named.isComplete;
    return {
      ...{ cgroup, startNs: process?.startNs, cgroups: process?.cgroups, execs: process?.execs },
      untilNs: isFinal ? undefined : startNs + RETRY_NS,
      caller: { ...place, ...named.names, ...facts },
    };
  };

  return (attempt) => {
    const { pid } = attempt.task;
    const before = known.get(pid);
    const isSame = before !== undefined && isSameProcess(before, attempt);
    if (isSame && (before.untilNs === undefined || attempt.startNs < before.untilNs)) return before.caller;
    const found = find(attempt);
    known.delete(pid);
    // The process may have exited since: it keeps the facts that it had.
    const facts = isSame && attempt.process !== undefined ? before.caller : {};
    const caller = { ...facts, ...found.caller };
    known.set(pid, { ...found, caller });
    const [oldest] = known.size > MAX_KNOWN ? known.keys() : [];
    if (oldest !== undefined) known.delete(oldest);
    return caller;
  };
}

function isSameProcess(known: Known, { cgroup, process }: ConnectAttempt): boolean {
  return (
    known.cgroup === cgroup &&
    known.startNs === process?.startNs &&
    known.cgroups === process?.cgroups &&
    known.execs === process?.execs
  );
}

/** The units and the container in the first paths that have them. */
export function placeOf(paths: Iterable<string>): Units & Container {
  let units: Units = {};
  let container: Container = {};
  for (const path of paths) {
    if (units.unit === undefined) units = unitsOf(path);
    if (container.container === undefined && container.pod === undefined) container = containerOf(path);
    if (units.unit !== undefined && (container.container ?? container.pod) !== undefined) break;
  }
  return { ...units, ...container };
}
