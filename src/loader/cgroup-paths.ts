/**
 * Cgroups by the id that programs are given (bpf_get_current_cgroup_id): the inode number of the cgroup's folder, and so a number
 * that no other cgroup of this boot has (Linux 5.5).
 *
 * A process that is still there tells its cgroup in /proc, at the price of one file. For one that is gone all folders of the
 * hierarchy are looked through, as they are once at the start, so that a cgroup which goes away later is known by then.
 *
 * Source: man 7 cgroups; kernel/cgroup/cgroup.c (proc_cgroup_show), fs/kernfs/dir.c (kernfs_ino).
 */
import type { Kernel } from './kernel.ts';
import { mountsOf } from './mounts.ts';
import { Clock } from './syscalls.ts';

/** PROC_PID_INIT_INO, include/uapi/linux/nsfs.h: the namespace whose process ids programs see. */
const FIRST_PID_NAMESPACE = 0xeffffffcn;
/** Looking through the hierarchy may take one part in so many of the time. */
const SHARE = 10n;
/** Cgroups that are kept in mind, those that are gone included. */
const MOST = 16_384;

/** The cgroups of this machine, as far as this process sees them mounted. */
export class CgroupPaths {
  readonly #kernel: Kernel;
  /** By id, relative to where the hierarchy is mounted. */
  readonly #known = new Map<bigint, string>();
  /** Where the hierarchy of v2 is mounted: more than once in a container that sees its host's as well. */
  #mounts: readonly string[] = [];
  #hasV1 = false;
  #notBefore = 0n;

  /** Looks through the hierarchy. */
  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#walk();
  }

  /** Whether any hierarchy is mounted where this process sees it. */
  get mounted(): boolean {
    return this.#hasV1 || this.#mounts.length > 0;
  }

  /** How many are known. */
  get size(): number {
    return this.#known.size;
  }

  /**
   * Where a process is, or was when it had this id: the path in the hierarchy of v2 (`/system.slice/ssh.service`), if it can be
   * found, and then, where there are hierarchies of v1, those that the process has there while it lives.
   */
  *of(id: bigint, pid: number): Generator<string> {
    const known = this.#known.get(id);
    const own = known === undefined || this.#hasV1 ? this.#ownPaths(pid) : undefined;
    const path = known ?? this.#learn(id, own?.v2);
    if (path !== undefined) yield path;
    if (this.#hasV1) yield* own?.v1 ?? [];
  }

  #learn(id: bigint, own: string | undefined): string | undefined {
    if (own !== undefined && this.#isAt(id, own)) this.#remember(id, own);
    else if (this.#now() >= this.#notBefore) this.#walk();
    return this.#known.get(id);
  }

  /** Whether the cgroup at a path has this id: its process may have moved on, or its number be another's. */
  #isAt(id: bigint, path: string): boolean {
    const found = this.#mounts.map((mount) => this.#kernel.syscalls.inodeAt(mount + path));
    // Seen from a namespace of cgroups the path may lead to nowhere, and is right all the same.
    return found.includes(id) || found.every((inode) => inode < 0n);
  }

  #walk(): void {
    const begin = this.#now();
    const mounts = mountsOf(this.#kernel);
    this.#hasV1 = mounts.some(({ type }) => type === 'cgroup');
    this.#mounts = mounts.filter(({ type }) => type === 'cgroup2').map(({ path }) => path);
    for (const mount of this.#mounts) this.#walkFrom(mount);
    const end = this.#now();
    this.#notBefore = end + (end - begin) * (SHARE - 1n);
  }

  #walkFrom(mount: string): void {
    const { syscalls } = this.#kernel;
    const waiting = ['/'];
    for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
      const id = syscalls.inodeAt(mount + path);
      const folders = syscalls.folders(mount + path);
      if (id < 0n || typeof folders === 'number') continue; // gone meanwhile
      // Where a part of the hierarchy is mounted by itself, the longer path says more.
      const known = this.#known.get(id) ?? '';
      this.#remember(id, known.length > path.length ? known : path);
      for (const name of folders) waiting.push(`${path === '/' ? '' : path}/${name}`);
    }
  }

  #remember(id: bigint, path: string): void {
    this.#known.delete(id);
    this.#known.set(id, path);
    const [oldest] = this.#known.keys();
    if (this.#known.size > MOST && oldest !== undefined) this.#known.delete(oldest);
  }

  /** What /proc tells of a process. Its number means another one there where this process has a pid namespace of its own. */
  #ownPaths(pid: number): { readonly v2?: string; readonly v1: readonly string[] } | undefined {
    const { syscalls } = this.#kernel;
    if (syscalls.inodeAt('/proc/self/ns/pid') !== FIRST_PID_NAMESPACE) return undefined;
    const bytes = syscalls.readFile(`/proc/${pid}/cgroup`);
    return typeof bytes === 'number' ? undefined : parseProcCgroup(Buffer.from(bytes).toString());
  }

  #now(): bigint {
    return this.#kernel.syscalls.clock(Clock.monotonic);
  }
}

/** The paths in the text of /proc/PID/cgroup: `0::/PATH` for v2, `NUMBER:CONTROLLERS:/PATH` for each hierarchy of v1. */
export function parseProcCgroup(text: string): { readonly v2?: string; readonly v1: readonly string[] } {
  const lines = [...text.matchAll(/^(\d+):[^:\n]*:(\/.*)$/gm)];
  const v2 = lines.find(([, number]) => number === '0')?.[2];
  return { v2, v1: lines.flatMap(([, number, path]) => (number === '0' || !path ? [] : [path])) };
}
