/**
 * The filter of connects, compiled into the programs: an attempt that does not match ends as soon as the
 * value in question is known. A criterion that is absent adds no instruction.
 */
import type { Builder } from '../../asm/builder/builder.ts';
import type { Memory } from '../../asm/builder/memory.ts';
import type { Place } from '../../asm/builder/place.ts';
import type { Value } from '../../asm/builder/value.ts';
import { currentTaskUnderCgroup, getCurrentComm, getCurrentUidGid } from '../../asm/helpers.ts';
import { bytes, chars, encodeValue, struct, u32, u32be, u64, valueDecoder } from '../../asm/layout.ts';
import { cgroupArray, lpmTrie, type MapSpec } from '../../asm/map.ts';
import { type Criterion, entriesFor, type Network, NetworkKey, Verdict } from '../networks.ts';
import { type Filter, MAX_COMPARED, MAX_NETWORKS, merged, type Range, without } from './criteria.ts';
import type { Requested } from './events.ts';

/**
 * How to read the endpoints and the network namespace of a connect. A value that is not known yet is absent.
 */
export interface Endpoints {
  /** The remote port in host byte order. */
  readonly port?: () => Value;
  /** The remote address, 4 or 16 bytes; undefined if addresses of its family are not read. */
  readonly remote?: () => Place | undefined;
  /** The local address, in the same form. */
  readonly local?: () => Place | undefined;
  /** The inode number of the network namespace. */
  readonly netns?: () => Value;
  /** The destination that the program asked for, if it is read. `port` and `to` also apply to it. */
  readonly requested?: Memory<typeof Requested>;
}

/** A jump out of the program or block: `b.exit()`, or the callback of `b.block`. */
type Jump = () => void;

/** The statements of a filter, with the maps that they use. */
export type ConnectFilter = ReturnType<typeof connectFilter>;

/**
 * Compiles a filter. For `unspecifiedIsLoopback`, see `entriesFor`.
 * @throws {RangeError} if a criterion matches nothing, or exceeds `MAX_COMPARED` or `MAX_NETWORKS`.
 */
export function connectFilter(filter: Filter, unspecifiedIsLoopback: boolean) {
  const pids = rangesOf('pid', filter.pid);
  const uids = rangesOf('uid', filter.uid);
  const ports = rangesOf('port', filter.port);
  const namespaces = rangesOf('netns', filter.netns);
  const comms = namesOf('comm', filter.comm);
  const to = trieOf('to', filter.to, unspecifiedIsLoopback);
  const from = trieOf('from', filter.from, false);
  const cgroupPaths = namesOf('cgroup', filter.cgroup);
  const cgroups = cgroupPaths && cgroupArray('cgroups', cgroupPaths.names);

  return {
    maps: [to?.map, from?.map, cgroups].filter((map) => map !== undefined) as MapSpec[],
    /** The endpoints that the filter reads. */
    reads: {
      port: ports !== undefined,
      remote: to !== undefined,
      local: from !== undefined,
      netns: namespaces !== undefined,
    },

    /** `task` is the result of bpf_get_current_pid_tgid. This statement consumes it. */
    process(b: Builder, task: Value): void {
      if (pids) matchRanges(b, task.rsh(32), pids, () => b.exit());
    },

    user(b: Builder): void {
      if (uids) matchRanges(b, b.call(getCurrentUidGid).as(u32), uids, () => b.exit());
    },

    /** Returns whether the filter has names; `comm` then holds the name of the current thread. */
    name(b: Builder, comm: Place): boolean {
      if (!comms) return false;
      b.call(getCurrentComm, comm);
      matchNames(b, comm, comms, () => b.exit());
      return true;
    },

    cgroup(b: Builder): void {
      if (cgroupPaths && cgroups) matchCgroups(b, cgroups, cgroupPaths, () => b.exit());
    },

    /** Checks every endpoint that is known. */
    endpoints(
      b: Builder,
      { port, remote, local, netns, requested }: Endpoints,
      reject: Jump = () => b.exit(),
    ): void {
      if (ports && port) {
        if (requested) matchEitherPort(b, requested, port, ports, reject);
        else matchRanges(b, port(), ports, reject);
      }
      if (namespaces && netns) matchRanges(b, netns(), namespaces, reject);
      if (to) {
        if (requested) matchEitherNetwork(b, requested, remote?.(), to, reject);
        else matchNetworks(b, remote?.(), to, reject);
      }
      if (from) matchNetworks(b, local?.(), from, reject);
    },
  };
}

// --- statements ----------------------------------------------------------------------------------

interface Ranges {
  readonly ranges: readonly Range[];
  /** Whether the ranges are included or excluded. */
  readonly include: boolean;
  /** The excluded ranges. If others are included, `ranges` lacks them. */
  readonly excluded: readonly Range[];
}

/**
 * Compares with each range in turn. The ranges ascend, so a number below one range is below all
 * that follow.
 */
function matchRanges(
  b: Builder,
  number: Value,
  { ranges, include }: Omit<Ranges, 'excluded'>,
  reject: Jump,
): void {
  const compare = ([first, last]: Range, below: Jump, within: Jump) => {
    if (first === last) return b.if(number.eq(first), within);
    b.if(number.lt(first), below);
    b.if(number.le(last), within);
  };
  if (include)
    anyOf(
      b,
      ranges,
      (range, accept) => compare(range, reject, accept),
      ([first, last]) => {
        if (first === last) return b.if(number.ne(first), reject);
        b.if(number.lt(first), reject);
        b.if(number.gt(last), reject);
      },
    );
  else
    b.block((accept) => {
      for (const range of ranges) compare(range, accept, reject);
    });
}

/** The destination that the program asked for. */
type RequestedMemory = Memory<typeof Requested>;

/** Accepts if neither port is excluded, and one of them is included. */
function matchEitherPort(
  b: Builder,
  requested: RequestedMemory,
  port: () => Value,
  ports: Ranges,
  reject: Jump,
): void {
  if (ports.excluded.length > 0) {
    const excluded = { ranges: ports.excluded, include: false };
    ifKnown(b, requested, () => matchRanges(b, requested.port.get(), excluded, reject));
    matchRanges(b, port(), excluded, reject);
  }
  if (!ports.include) return;
  b.block((accept) => {
    ifKnown(b, requested, () =>
      b.block((next) => {
        matchRanges(b, requested.port.get(), ports, next);
        accept();
      }),
    );
    matchRanges(b, port(), ports, reject);
  });
}

function ifKnown(b: Builder, requested: RequestedMemory, then: () => void): void {
  b.if(requested.family.ne(0), then);
}

interface Names {
  readonly names: readonly string[];
  /** Whether the names are included or excluded. */
  readonly include: boolean;
}

const Words = struct({ low: u64, high: u64 });

/** Compares the 16 bytes of a thread name with each name, as two numbers. */
function matchNames(b: Builder, comm: Place, { names, include }: Names, reject: Jump): void {
  const words = b.as(comm, Words);
  const [low, high] = [words.low.get(), words.high.get()];
  const wanted = names.map((name) => wordsOf(encodeValue(chars(Words.size), name)));
  type Wanted = (typeof wanted)[number];
  const ifEqual = (name: Wanted, then: Jump) => b.if(low.eq(name.low), () => b.if(high.eq(name.high), then));
  if (include)
    anyOf(b, wanted, ifEqual, (last) => {
      b.if(low.ne(last.low), reject);
      b.if(high.ne(last.high), reject);
    });
  else for (const name of wanted) ifEqual(name, reject);
}

const wordsOf = (bytes: Uint8Array) => valueDecoder(Words)(new DataView(bytes.buffer, bytes.byteOffset), 0);

/** Asks for each cgroup whether the current task is in it or in a descendant. */
function matchCgroups(b: Builder, cgroups: MapSpec, { names, include }: Names, reject: Jump): void {
  const isUnder = (i: number) => b.call(currentTaskUnderCgroup, cgroups, i);
  const indices = [...names.keys()];
  if (include)
    anyOf(
      b,
      indices,
      (i, accept) => b.if(isUnder(i).eq(1), accept),
      (i) => b.if(isUnder(i).ne(1), reject),
    );
  else for (const i of indices) b.if(isUnder(i).eq(1), reject);
}

/**
 * Tries one item after the other. The test of the last item is inverted, so that a match falls through
 * without a jump.
 */
function anyOf<T>(
  b: Builder,
  items: readonly T[],
  acceptIf: (item: T, accept: Jump) => void,
  rejectUnless: (item: T) => void,
): void {
  const [last, ...others] = [...items].reverse() as [T, ...T[]];
  if (others.length === 0) rejectUnless(last);
  else
    b.block((accept) => {
      for (const item of others.reverse()) acceptIf(item, accept);
      rejectUnless(last);
    });
}

interface Trie {
  readonly map: MapSpec<typeof NetworkKey, typeof Verdict>;
  /** The distinct verdicts in the map. */
  readonly verdicts: ReadonlySet<number>;
  /** Whether an address outside all networks matches. */
  readonly default: boolean;
}

/** `NetworkKey` with an IPv4-mapped address. */
const MappedKey = struct({ prefixLength: u32, zeros: bytes(8), ones: u32be, address: bytes(4) });

/** Rejects by the verdict of the longest prefix that matches an address. */
function matchNetworks(b: Builder, address: Place | undefined, trie: Trie, reject: Jump): void {
  if (!address) return;
  lookUpVerdict(b, address, trie, {
    found(verdict) {
      if (trie.verdicts.size > 1) b.if(verdict.eq(0), reject);
      else if (trie.verdicts.has(0)) reject();
    },
    missing() {
      if (!trie.default) reject();
    },
  });
}

/** Accepts if neither address is excluded, and one of them is included. */
function matchEitherNetwork(
  b: Builder,
  requested: RequestedMemory,
  remote: Place | undefined,
  trie: Trie,
  reject: Jump,
): void {
  if (!remote) return;
  /** Calls `then` if the longest prefix that matches one of both addresses has the verdict `wanted`. */
  const ifEither = (wanted: number, then: Jump) => {
    if (!trie.verdicts.has(wanted)) return;
    const look = (address: Place) =>
      lookUpVerdict(b, address, trie, {
        found(verdict) {
          if (trie.verdicts.size > 1) b.if(verdict.eq(wanted), then);
          else then();
        },
      });
    ifKnown(b, requested, () => look(requested.address));
    look(remote);
  };
  ifEither(0, reject);
  if (trie.default) return;
  b.block((accept) => {
    ifEither(1, accept);
    reject();
  });
}

/** Looks up the verdict of the longest prefix that matches an address. */
function lookUpVerdict(
  b: Builder,
  address: Place,
  { map }: Trie,
  arms: { found: (verdict: Place) => void; missing?: () => void },
): void {
  const key = b.stack(NetworkKey);
  key.prefixLength.set(128);
  if (address.size === key.address.size) key.address.set(address);
  else {
    const mapped = b.as(key, MappedKey);
    mapped.zeros.set(0);
    mapped.ones.set(0xffff);
    mapped.address.set(address);
  }
  b.lookup(map, key, arms);
}

// --- criteria ------------------------------------------------------------------------------------

function rangesOf(name: string, criterion: Criterion<Range> | undefined): Ranges | undefined {
  if (!criterion) return undefined;
  const { only, not = [] } = criterion;
  const ranges = only ? without(only, not) : merged(not);
  if (ranges.length === 0) throw matchesNothing(name);
  checkSize(name, ranges, MAX_COMPARED);
  return { ranges, include: only !== undefined, excluded: merged(not) };
}

function namesOf(name: string, criterion: Criterion<string> | undefined): Names | undefined {
  if (!criterion) return undefined;
  const { only, not = [] } = criterion;
  const names = [...new Set(only ?? not)].filter((each) => !only || !not.includes(each));
  if (names.length === 0) throw matchesNothing(name);
  checkSize(name, names, MAX_COMPARED);
  return { names, include: only !== undefined };
}

function trieOf(
  name: string,
  criterion: Criterion<Network> | undefined,
  unspecifiedIsLoopback: boolean,
): Trie | undefined {
  if (!criterion) return undefined;
  const { only = [], not = [] } = criterion;
  checkSize(name, [...only, ...not], MAX_NETWORKS);
  const entries = entriesFor(criterion, unspecifiedIsLoopback);
  const map = lpmTrie(name, { key: NetworkKey, value: Verdict, entries });
  const verdicts = new Set(entries.map(([, verdict]) => verdict));
  return { map, verdicts, default: only.length === 0 };
}

function matchesNothing(name: string): RangeError {
  return new RangeError(`filter '${name}' matches nothing: every included value is also excluded`);
}

function checkSize(name: string, values: readonly unknown[], most: number): void {
  if (values.length > most)
    throw new RangeError(`filter '${name}' has ${values.length} values, at most ${most} are possible`);
}
