/**
 * Which connects are traced, as parts of the programs: an uninteresting one leaves the program where that is known, and what isn't
 * asked for is not there.
 */
import type { Builder } from '../../asm/builder/builder.ts';
import type { Place } from '../../asm/builder/place.ts';
import type { Value } from '../../asm/builder/value.ts';
import { getCurrentComm, getCurrentUidGid } from '../../asm/helpers.ts';
import { u32 } from '../../asm/layout.ts';
import { cgroupArray, lpmTrie, type MapSpec } from '../../asm/map.ts';
import {
  among,
  below,
  inside,
  type Leave,
  type Names,
  type Numbers,
  oneOf,
  type Table,
} from './comparisons.ts';
import { type Choice, entriesFor, type Network, NetworkKey, Verdict } from './networks.ts';
import { type Range, tidy, without } from './ranges.ts';

export type { Choice, Network } from './networks.ts';
export type { Range } from './ranges.ts';

/** All that is given must be so of a connect. */
export interface Filter {
  /** Process (thread group) ids, as the host numbers them. */
  readonly pid?: Choice<Range>;
  /** Real user ids, as the host numbers them. */
  readonly uid?: Choice<Range>;
  /** Names of the threads that connect, whole: at most 15 bytes. */
  readonly comm?: Choice<string>;
  /** Folders of cgroups (version 2), in or below one of which the process is. */
  readonly cgroup?: Choice<string>;
  /** Remote ports. */
  readonly port?: Choice<Range>;
  /** Networks of the remote address. The longest prefix decides. */
  readonly to?: Choice<Network>;
  /** Networks of the local address. The longest prefix decides. */
  readonly from?: Choice<Network>;
  /** Numbers of network namespaces that the socket is in. */
  readonly netns?: Choice<Range>;
}

/** How many ranges, names or cgroups one filter takes: they become instructions. */
export const MOST_COMPARED = 64;
/** How many networks one filter takes: they become entries of a map. */
export const MOST_NETWORKS = 1024;
/** TASK_COMM_LEN without the zero, include/linux/sched.h. */
export const LONGEST_COMM = 15;

/** A connect's ends and its network, as far as they are known: read where a filter asks for them. */
export interface Ends {
  /** The remote port, in the machine's byte order. */
  readonly port?: () => Value;
  /** The remote address, 4 or 16 bytes; undefined where those of its family aren't read. */
  readonly remote?: () => Place | undefined;
  /** The local one. */
  readonly local?: () => Place | undefined;
  /** The number of the network namespace. */
  readonly netns?: () => Value;
}

/** What `connectFilter` gives. */
export type ConnectFilter = ReturnType<typeof connectFilter>;

/**
 * The statements of a filter. Throws RangeError where it asks for more than programs and maps hold, or for nothing at all.
 * `anyIsLoopback`: see `entriesFor`.
 */
export function connectFilter(filter: Filter, anyIsLoopback: boolean) {
  const pids = numbers('pid', filter.pid);
  const uids = numbers('uid', filter.uid);
  const ports = numbers('port', filter.port);
  const namespaces = numbers('netns', filter.netns);
  const comms = names('comm', filter.comm);
  const to = table('to', filter.to, anyIsLoopback);
  const from = table('from', filter.from, false);
  const folders = names('cgroup', filter.cgroup);
  const cgroups = folders && cgroupArray('cgroups', folders.names);

  return {
    /** What the statements refer to. */
    maps: [to?.map, from?.map, cgroups].filter((map) => map !== undefined) as MapSpec[],
    /** Which of the ends it asks for. */
    asks: {
      port: ports !== undefined,
      remote: to !== undefined,
      local: from !== undefined,
      netns: namespaces !== undefined,
    },

    /** `task` is the result of bpf_get_current_pid_tgid, a temporary that is gone afterwards. */
    process(b: Builder, task: Value): void {
      if (pids) among(b, task.rsh(32), pids, () => b.exit());
    },

    user(b: Builder): void {
      if (uids) among(b, b.call(getCurrentUidGid).as(u32), uids, () => b.exit());
    },

    /** Whether it asks for the name, which is then written to `comm`. */
    name(b: Builder, comm: Place): boolean {
      if (!comms) return false;
      b.call(getCurrentComm, comm);
      oneOf(b, comm, comms, () => b.exit());
      return true;
    },

    cgroup(b: Builder): void {
      if (folders && cgroups) below(b, cgroups, folders, () => b.exit());
    },

    /** Everything that the ends give. */
    ends(b: Builder, { port, remote, local, netns }: Ends, leave: Leave = () => b.exit()): void {
      if (ports && port) among(b, port(), ports, leave);
      if (namespaces && netns) among(b, netns(), namespaces, leave);
      if (to) inside(b, remote?.(), to, leave);
      if (from) inside(b, local?.(), from, leave);
    },
  };
}

function numbers(name: string, choice: Choice<Range> | undefined): Numbers | undefined {
  if (!choice) return undefined;
  const { only, not = [] } = choice;
  const ranges = only ? without(only, not) : tidy(not);
  if (ranges.length === 0) throw new RangeError(`the filter by ${name} leaves nothing`);
  return atMost(MOST_COMPARED, name, ranges, { ranges, asked: only !== undefined });
}

function names(name: string, choice: Choice<string> | undefined): Names | undefined {
  if (!choice) return undefined;
  const { only, not = [] } = choice;
  const left = [...new Set(only ?? not)].filter((each) => !only || !not.includes(each));
  if (left.length === 0) throw new RangeError(`the filter by ${name} leaves nothing`);
  return atMost(MOST_COMPARED, name, left, { names: left, asked: only !== undefined });
}

function table(name: string, choice: Choice<Network> | undefined, anyIsLoopback: boolean): Table | undefined {
  if (!choice) return undefined;
  const { only = [], not = [] } = choice;
  const entries = entriesFor(choice, anyIsLoopback);
  const map = lpmTrie(name, { key: NetworkKey, value: Verdict, entries });
  const verdicts = new Set(entries.map(([, verdict]) => verdict));
  return atMost(MOST_NETWORKS, name, [...only, ...not], { map, verdicts, byDefault: only.length === 0 });
}

function atMost<T>(most: number, name: string, given: readonly unknown[], result: T): T {
  if (given.length <= most) return result;
  throw new RangeError(`the filter by ${name} has ${given.length} parts, and room for ${most}`);
}
