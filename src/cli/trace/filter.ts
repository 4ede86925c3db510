/**
 * Resolves the names in a filter on this machine: cgroups and network namespaces.
 */
import { TsbpfError } from '../../asm/error.ts';
import { openCgroup } from '../../loader/cgroup.ts';
import { PathError } from '../../loader/errors.ts';
import type { Kernel } from '../../loader/kernel.ts';
import { networkNamespace } from '../../loader/namespace.ts';
import type { Filter, Range } from '../../programs/tcpconnlat/criteria.ts';
import type { FilterOptions } from '../arguments.ts';

/** A filter refers to a cgroup, process or network namespace that does not exist. */
export class FilterError extends TsbpfError {
  override readonly name = 'FilterError';
  override readonly code = 'ERR_FILTER';

  constructor(option: string, value: string, fault: string) {
    super(`${option} ${value}: ${fault}`);
  }
}

/**
 * The filter for the programs. Network namespaces become inode numbers, cgroups are checked, and the criteria
 * for callers are removed.
 * @throws {FilterError}
 */
export function resolveFilter(options: FilterOptions, kernel: Kernel): Filter {
  const { netns, unit: _, pod: __, namespace: ___, ...filter } = options;
  for (const path of filter.cgroup?.only ?? [])
    forOption('--cgroup', path, () => openCgroup(kernel, path).close());
  return netns
    ? { ...filter, netns: { only: netns.only?.map((word) => namespaceNumber(word, kernel)) } }
    : filter;
}

function namespaceNumber(word: string, kernel: Kernel): Range {
  const isPid = /^\d+$/.test(word);
  if (isPid && kernel.syscalls.fileSystem(`/proc/${word}`) < 0)
    throw new FilterError('--netns', word, 'no such process');
  const path = isPid ? `/proc/${word}/ns/net` : word;
  const number = forOption('--netns', word, () => networkNamespace(kernel, path));
  return [number, number];
}

function forOption<T>(option: string, value: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof PathError)) throw error;
    throw new FilterError(option, value, error.reason);
  }
}
