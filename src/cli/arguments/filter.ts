/**
 * The options that say which connects are of interest.
 */
import { type Command, Option } from 'commander';
import { sameNetwork } from '../../programs/networks.ts';
import { without } from '../../programs/tcpconnlat/filter.ts';
import type { Criterion, Filter, Network, Range } from '../../programs/tcpconnlat.ts';
import { formatAddress } from '../address.ts';
import { commandNames, networks, paths, ports, processIds, users } from './values.ts';

/** A filter as it was asked for: network namespaces by a path or by the number of a process. */
export type FilterWords = Omit<Filter, 'netns'> & { readonly netns?: Criterion<string> };

/** What the parser makes of the options. */
export interface FilterFlags {
  pid?: Range[];
  port?: Range[];
  notPort?: Range[];
  to?: Network[];
  notTo?: Network[];
  from?: Network[];
  notFrom?: Network[];
  uid?: Range[];
  notUid?: Range[];
  comm?: string[];
  notComm?: string[];
  cgroup?: string[];
  netns?: string[];
}

/** An option that may come several times: its values add up. */
export class ListOption extends Option {}

/** Adds the options to a command, and gives that back. */
export function addFilterOptions(command: Command): Command {
  const add = <T>(flags: string, description: string, read: (text: string, before?: T) => T) =>
    command.addOption(new ListOption(flags, description).argParser(read));
  add('-p, --pid <pid>', 'only connects of this process, or of several: 181,182', processIds);
  add('--port <ports>', 'only to these ports: 443 or 80,8000-8100', ports);
  add('--not-port <ports>', 'none to these ports', ports);
  add('--to <networks>', 'only to these: 192.0.2.1 or 10.0.0.0/8,2001:db8::/32', networks);
  add('--not-to <networks>', 'none to these; the longest prefix decides', networks);
  add('--from <networks>', 'only from these local addresses', networks);
  add('--not-from <networks>', 'none from these', networks);
  add('--comm <name>', 'only of threads with this name', commandNames);
  add('--not-comm <name>', 'none of threads with this name', commandNames);
  add('--uid <uids>', 'only of these users: 0 or 1000-60000', users);
  add('--not-uid <uids>', 'none of these users', users);
  add('--cgroup <folder>', 'only of processes in or below this cgroup', paths);
  add('--netns <file|pid>', 'only in this network namespace, or that of this process', paths);
  return command;
}

/** What the flags come down to. */
export function filterIn(flags: FilterFlags): FilterWords {
  return {
    ...choice('pid', flags.pid),
    ...choice('port', flags.port, flags.notPort),
    ...choice('to', flags.to, flags.notTo),
    ...choice('from', flags.from, flags.notFrom),
    ...choice('uid', flags.uid, flags.notUid),
    ...choice('comm', flags.comm, flags.notComm),
    ...choice('cgroup', flags.cgroup),
    ...choice('netns', flags.netns),
  };
}

function choice<K extends string, T>(name: K, only?: T[], not?: T[]): { readonly [N in K]?: Criterion<T> } {
  if (!only && !not) return {};
  return { [name]: { ...(only && { only }), ...(not && { not }) } } as { [N in K]: Criterion<T> };
}

/** What makes no sense about a filter, or undefined. */
export function messageWithoutPosition(filter: FilterWords, probe: string): string | undefined {
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
      return `options '--${name}' and '--not-${name}' both have ${formatAddress(both.address)}/${both.prefix}`;
  }
  if (filter.netns && probe === 'trace_event')
    return "option '--netns <file|pid>' cannot be used with '--probe trace_event', whose record has no network namespace";
  return undefined;
}

const nothingLeft = (name: string) => `option '--not-${name}' leaves nothing of what '--${name}' asks for`;
