/**
 * Selects records of a recording by the options, as the programs in the kernel select connects.
 */

import type { Criterion } from '../../programs/networks.ts';
import { excludesAddress, includesAddress } from '../../programs/networks.ts';
import type { Range } from '../../programs/tcpconnlat/criteria.ts';
import { parseAddress } from '../address.ts';
import type { FilterOptions, Options } from '../arguments.ts';
import { isSelectedCaller } from '../caller-filter.ts';
import { type ConnectRecord, PENDING, showsResult } from '../record.ts';
import { threadName } from '../thread-name.ts';

/** The destination of a connect. */
type Destination = Pick<ConnectRecord, 'daddr' | 'dport'>;

/** Whether the options select a record. */
export function isSelected(options: Options, record: ConnectRecord): boolean {
  const { filter, family, minNs = 0, requested } = options;
  return (
    hasOutcome(options, record.result) &&
    matches(filter, record, requested) &&
    (family === undefined || record.ip === family) &&
    Math.round(record.lat_ms * 1e6) >= minNs
  );
}

/** Whether a record is a failure that the options would select, if they asked for failures. */
export function isHiddenFailure(options: Options, record: ConnectRecord): boolean {
  return (
    options.outcome === undefined &&
    record.result !== PENDING &&
    !hasOutcome(options, record.result) &&
    isSelected({ ...options, outcome: 'all' }, record)
  );
}

/** Whether a connect with `result` is wanted. A recording without results contains only answered connects. */
function hasOutcome({ outcome, pendingMs }: Options, result: string | undefined): boolean {
  if (result === PENDING) return outcome === 'all' || pendingMs !== undefined;
  return showsResult(outcome, result);
}

/**
 * Whether a record matches the filter, with `requested` by both of its destinations. Records do not contain
 * the cgroup and the network namespace, so these criteria are ignored.
 */
export function matches(filter: FilterOptions, record: ConnectRecord, requested = false): boolean {
  const destinations = requested ? destinationsOf(record) : [record];
  return (
    inRanges(filter.pid, record.pid) &&
    eitherPort(filter.port, destinations) &&
    inRanges(filter.uid, record.uid) &&
    hasName(filter.comm, threadName(record.comm)) &&
    eitherAddress(filter.to, destinations) &&
    inNetworks(filter.from, record.saddr) &&
    isSelectedCaller(filter, record)
  );
}

/** The destination of the socket, and the one that the program asked for, if it is known. */
function destinationsOf(record: ConnectRecord): readonly Destination[] {
  const { requested_addr: daddr, requested_port: dport } = record;
  return daddr === undefined || dport === undefined ? [record] : [record, { daddr, dport }];
}

/** Whether a criterion includes a port of the destinations, and does not exclude the other. */
function eitherPort(criterion: FilterOptions['port'], destinations: readonly Destination[]): boolean {
  const excluded = criterion?.not && { not: criterion.not };
  return (
    destinations.some(({ dport }) => inRanges(criterion, dport)) &&
    destinations.every(({ dport }) => inRanges(excluded, dport))
  );
}

/** Whether a criterion includes an address of the destinations, and does not exclude the other. */
function eitherAddress(criterion: FilterOptions['to'], destinations: readonly Destination[]): boolean {
  return (
    destinations.some(({ daddr }) => inNetworks(criterion, daddr)) &&
    !destinations.some(({ daddr }) => {
      const address = daddr === undefined ? undefined : parseAddress(daddr);
      return criterion && address && excludesAddress(criterion, address);
    })
  );
}

/** A missing value matches only if the criterion includes all values. */
function inRanges({ only, not = [] }: Criterion<Range> = {}, number: number | undefined): boolean {
  const within = (ranges: readonly Range[]) =>
    ranges.some(([first, last]) => number !== undefined && number >= first && number <= last);
  return (only === undefined || within(only)) && !within(not);
}

function hasName({ only, not = [] }: Criterion<string> = {}, name: string): boolean {
  return (only === undefined || only.includes(name)) && !not.includes(name);
}

function inNetworks(networks: FilterOptions['to'], text: string | undefined): boolean {
  const address = text === undefined ? undefined : parseAddress(text);
  if (networks === undefined || address === undefined) return networks?.only === undefined;
  return includesAddress(networks, address);
}
