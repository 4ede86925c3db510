/**
 * A filter for records, which no program in the kernel has chosen before.
 */
import { includesAddress } from '../../programs/networks.ts';
import type { Criterion, Range } from '../../programs/tcpconnlat.ts';
import { parseAddress } from '../address.ts';
import type { FilterOptions } from '../arguments.ts';
import type { ConnectRecord } from '../record.ts';

/** Whether the programs would have taken it, as far as a record can tell: it has neither a cgroup nor a network namespace. */
export function takes(filter: FilterOptions, record: ConnectRecord & { readonly uid?: number }): boolean {
  return (
    inRanges(filter.pid, record.pid) &&
    inRanges(filter.port, record.dport) &&
    inRanges(filter.uid, record.uid) &&
    isNamed(filter.comm, record.comm) &&
    isOf(filter.to, record.daddr) &&
    isOf(filter.from, record.saddr)
  );
}

/** What a record doesn't have isn't asked for. */
function inRanges({ only, not = [] }: Criterion<Range> = {}, number: number | undefined): boolean {
  const within = (ranges: readonly Range[]) =>
    ranges.some(([first, last]) => number !== undefined && number >= first && number <= last);
  return (only === undefined || within(only)) && !within(not);
}

function isNamed({ only, not = [] }: Criterion<string> = {}, name: string): boolean {
  return (only === undefined || only.includes(name)) && !not.includes(name);
}

function isOf(networks: FilterOptions['to'], text: string): boolean {
  const address = parseAddress(text);
  return networks === undefined || (address !== undefined && includesAddress(networks, address));
}
