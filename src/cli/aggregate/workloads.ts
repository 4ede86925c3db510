/**
 * The unit, container and pod of a key's connects, from the cgroups of their callers.
 */
import { CgroupPaths } from '../../loader/cgroup-paths.ts';
import type { Kernel } from '../../loader/kernel.ts';
import { mountsOf } from '../../loader/mounts.ts';
import { type Caller, placeOf } from '../record/caller.ts';
import { nameLookup } from '../record/names.ts';

/** What the key of the programs has about cgroups, and a process that had them. */
export interface CgroupsOfKey {
  /** The cgroup v2 ID. */
  readonly cgroup: bigint;
  /** Distinguishes cgroups of version 1; 0 if the machine has none. */
  readonly cgroups: bigint;
  readonly pid: number;
}

/** Finds whom the connects of a key belong to, as far as their cgroups tell. */
export type WorkloadLookup = (key: CgroupsOfKey) => Caller;

/** The most cgroups of version 1 that are remembered. */
const MAX_KNOWN = 4096;

/** Whether cgroups of version 1 are in use, whose names the cgroup v2 ID does not tell. */
export function hasCgroupsV1(kernel: Kernel): boolean {
  return mountsOf(kernel).some(({ type }) => type === 'cgroup');
}

/** Looks up workloads on this machine. */
export function workloadLookup(kernel: Kernel, warn: (text: string) => void): WorkloadLookup {
  const paths = new CgroupPaths(kernel);
  if (!paths.mounted) warn('units and containers are not shown: no cgroup file system is mounted');
  const names = nameLookup();
  /** What exited processes had: the kernel reuses a `css_set` address only after all of them are gone. */
  const known = new Map<string, Caller>();
  return ({ cgroup, cgroups, pid }) => {
    const own = [...paths.of(cgroup, pid)];
    const id = `${cgroup} ${cgroups}`;
    if (cgroups !== 0n && own.length <= 1) {
      const before = known.get(id);
      if (before !== undefined) return before;
    }
    const place = placeOf(own);
    const caller = { ...place, ...names(place).names };
    if (cgroups !== 0n && own.length > 1) {
      known.delete(id);
      known.set(id, caller);
      const [oldest] = known.size > MAX_KNOWN ? known.keys() : [];
      if (oldest !== undefined) known.delete(oldest);
    }
    return caller;
  };
}
