/**
 * Selects records of a recording by the options, as the programs in the kernel select connects.
 */
import { includesAddress } from '../../programs/networks.ts';
import type { Criterion, Range, Result } from '../../programs/tcpconnlat.ts';
import { parseAddress } from '../address.ts';
import type { FilterOptions, Options } from '../arguments.ts';
import { isSelectedCaller } from '../caller-filter.ts';
import type { ConnectRecord } from '../record.ts';
import { threadName } from '../thread-name.ts';

/** Whether the options select a record. */
export function isSelected({ filter, family, minNs = 0, outcome }: Options, record: ConnectRecord): boolean {
  return (
    hasOutcome(outcome, record.result) &&
    matches(filter, record) &&
    (family === undefined || record.ip === family) &&
    Math.round(record.lat_ms * 1e6) >= minNs
  );
}

/** Whether a record is a failure that the options would select, if they asked for failures. */
export function isHiddenFailure(options: Options, record: ConnectRecord): boolean {
  return (
    options.outcome === undefined &&
    !hasOutcome(undefined, record.result) &&
    isSelected({ ...options, outcome: 'all' }, record)
  );
}

/** The results that are shown without an option for outcomes. */
const ANSWERED: readonly Result[] = ['established', 'refused', 'rejected'];

/** Whether a connect with `result` is wanted. A recording without results contains only answered connects. */
function hasOutcome(wanted: Options['outcome'], result: string | undefined): boolean {
  if (wanted === 'all') return true;
  if (wanted === 'failures') return result !== undefined && result !== 'established';
  return result === undefined || ANSWERED.includes(result as Result);
}

/**
 * Whether a record matches the filter. Records do not contain the cgroup and the network namespace, so these
 * criteria are ignored.
 */
export function matches(filter: FilterOptions, record: ConnectRecord): boolean {
  return (
    inRanges(filter.pid, record.pid) &&
    inRanges(filter.port, record.dport) &&
    inRanges(filter.uid, record.uid) &&
    hasName(filter.comm, threadName(record.comm)) &&
    inNetworks(filter.to, record.daddr) &&
    inNetworks(filter.from, record.saddr) &&
    isSelectedCaller(filter, record)
  );
}

/** A missing number matches only if the criterion includes all numbers. */
function inRanges({ only, not = [] }: Criterion<Range> = {}, number: number | undefined): boolean {
  const within = (ranges: readonly Range[]) =>
    ranges.some(([first, last]) => number !== undefined && number >= first && number <= last);
  return (only === undefined || within(only)) && !within(not);
}

function hasName({ only, not = [] }: Criterion<string> = {}, name: string): boolean {
  return (only === undefined || only.includes(name)) && !not.includes(name);
}

function inNetworks(networks: FilterOptions['to'], text: string): boolean {
  const address = parseAddress(text);
  return networks === undefined || (address !== undefined && includesAddress(networks, address));
}
