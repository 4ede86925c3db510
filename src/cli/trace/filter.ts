/**
 * The filter that was asked for, as the programs take it: what it names is looked up on this machine.
 */
import { TsbpfError } from '../../asm/error.ts';
import { openCgroup } from '../../loader/cgroup.ts';
import { PathError } from '../../loader/errors.ts';
import type { Kernel } from '../../loader/kernel.ts';
import { networkNamespace } from '../../loader/namespace.ts';
import type { Filter, Range } from '../../programs/tcpconnlat.ts';
import type { FilterOptions } from '../arguments.ts';

/** A filter names something that there isn't. */
export class FilterError extends TsbpfError {
  override readonly name = 'FilterError';
  override readonly code = 'ERR_FILTER';

  constructor(option: string, value: string, fault: string) {
    super(`${option} ${value}: ${fault}`);
  }
}

/** @throws {FilterError} */
export function filterOf({ netns, ...filter }: FilterOptions, kernel: Kernel): Filter {
  for (const path of filter.cgroup?.only ?? [])
    naming('--cgroup', path, () => openCgroup(kernel, path).close());
  return netns
    ? { ...filter, netns: { only: netns.only?.map((word) => namespaceOf(word, kernel)) } }
    : filter;
}

function namespaceOf(word: string, kernel: Kernel): Range {
  const ofProcess = /^\d+$/.test(word);
  if (ofProcess && kernel.syscalls.fileSystem(`/proc/${word}`) < 0)
    throw new FilterError('--netns', word, 'there is no such process');
  const path = ofProcess ? `/proc/${word}/ns/net` : word;
  const number = naming('--netns', word, () => networkNamespace(kernel, path));
  return [number, number];
}

function naming<T>(option: string, value: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof PathError)) throw error;
    throw new FilterError(option, value, error.reason);
  }
}
