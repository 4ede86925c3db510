/**
 * Paths of cgroups by their ids, as bpf_get_current_cgroup_id returns them. The id is the inode number of the
 * cgroup's directory; since Linux 5.5 no other cgroup of the same boot gets it.
 *
 * For a live process, reading /proc/PID/cgroup is enough. For an exited one, all directories of the hierarchy
 * are searched. The constructor searches them once, so that a cgroup that is removed later is known by then.
 *
 * Source: man 7 cgroups; kernel/cgroup/cgroup.c (proc_cgroup_show), fs/kernfs/dir.c (kernfs_ino).
 */
import type { Kernel } from './kernel.ts';
import { mountsOf } from './mounts.ts';
import { Clock } from './syscalls.ts';
import { utf8 } from './text.ts';

/** PROC_PID_INIT_INO, include/uapi/linux/nsfs.h: the namespace whose process ids programs see. */
const FIRST_PID_NAMESPACE = 0xeffffffcn;
/** Searches of the hierarchy take at most one tenth of the time. */
const SEARCH_SHARE = 10n;
/** The maximum number of remembered cgroups, removed ones included. */
const MAX_KNOWN = 16_384;

/**
 * Resolves cgroup ids to paths, also for cgroups that were removed since.
 *
 * Programs read the id with `bpf_get_current_cgroup_id` (Linux 4.18). The object holds no kernel resource and
 * needs no closing. Source: man 7 cgroups.
 * @example
 * ```ts
 * import { statSync } from 'node:fs';
 * import { CgroupPaths, Kernel } from 'tsbpf';
 *
 * const paths = new CgroupPaths(new Kernel());
 * const id = statSync('/sys/fs/cgroup', { bigint: true }).ino;
 * for (const path of paths.of(id, process.pid)) console.log(path);
 * ```
 */
export class CgroupPaths {
  readonly #kernel: Kernel;
  /** Paths by id, relative to the mount point of the hierarchy. */
  readonly #known = new Map<bigint, string>();
  /** Mount points of cgroup v2: several in a container that also sees its host's. */
  #mounts: readonly string[] = [];
  #hasV1 = false;
  /** No search before this time of the monotonic clock, in ns. */
  #notBefore = 0n;
  /** Whether /proc has the PIDs that programs report; undefined until it is asked. */
  #hasPids: boolean | undefined;

  /** Searches the mounted hierarchy of this machine once. */
  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#walk();
  }

  /** Whether this process sees a mounted cgroup hierarchy, v1 or v2. */
  get mounted(): boolean {
    return this.#hasV1 || this.#mounts.length > 0;
  }

  /** The number of known cgroups. */
  get size(): number {
    return this.#known.size;
  }

  /**
   * Yields the cgroup paths of a process: first the v2 path of the cgroup `id` (`/system.slice/ssh.service`),
   * if it is known, then the paths of the live process `pid` in the v1 hierarchies, if any are mounted,
   * systemd's first. Those are read from /proc at each call, so keep the result for a process.
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

  /**
   * Whether the cgroup at a path has this id. The process may have moved, or its pid may have been reused.
   */
  #isAt(id: bigint, path: string): boolean {
    const found = this.#mounts.map((mount) => this.#kernel.syscalls.inodeAt(mount + path));
    // In a cgroup namespace a correct path may not exist below the mount.
    return found.includes(id) || found.every((inode) => inode < 0n);
  }

  #walk(): void {
    const begin = this.#now();
    const mounts = mountsOf(this.#kernel);
    this.#hasV1 = mounts.some(({ type }) => type === 'cgroup');
    this.#mounts = mounts.filter(({ type }) => type === 'cgroup2').map(({ path }) => path);
    for (const mount of this.#mounts) this.#walkFrom(mount);
    const end = this.#now();
    this.#notBefore = end + (end - begin) * (SEARCH_SHARE - 1n);
  }

  #walkFrom(mount: string): void {
    const { syscalls } = this.#kernel;
    const waiting = ['/'];
    for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
      const id = syscalls.inodeAt(mount + path);
      const folders = syscalls.folders(mount + path);
      if (id < 0n || typeof folders === 'number') continue; // removed since its parent was read
      // If a part of the hierarchy has a mount of its own, the longer path is the complete one.
      const known = this.#known.get(id) ?? '';
      this.#remember(id, known.length > path.length ? known : path);
      for (const name of folders) waiting.push(`${path === '/' ? '' : path}/${name}`);
    }
  }

  #remember(id: bigint, path: string): void {
    this.#known.delete(id);
    this.#known.set(id, path);
    const [oldest] = this.#known.keys();
    if (this.#known.size > MAX_KNOWN && oldest !== undefined) this.#known.delete(oldest);
  }

  /** Reads /proc/PID/cgroup. Undefined in another pid namespace, where `pid` names another process. */
  #ownPaths(pid: number): { readonly v2?: string; readonly v1: readonly string[] } | undefined {
    const { syscalls } = this.#kernel;
    this.#hasPids ??= syscalls.inodeAt('/proc/self/ns/pid') === FIRST_PID_NAMESPACE;
    if (!this.#hasPids) return undefined;
    const bytes = syscalls.readFile(`/proc/${pid}/cgroup`);
    return typeof bytes === 'number' ? undefined : parseProcCgroup(utf8(bytes));
  }

  #now(): bigint {
    return this.#kernel.syscalls.clock(Clock.monotonic);
  }
}

/**
 * Parses the text of /proc/PID/cgroup: `0::/PATH` for v2, `NUMBER:CONTROLLERS:/PATH` for each v1 hierarchy.
 * The hierarchy of systemd (`name=systemd`) comes first: only there is each unit a cgroup.
 */
export function parseProcCgroup(text: string): { readonly v2?: string; readonly v1: readonly string[] } {
  let v2: string | undefined;
  const v1: string[] = [];
  for (const [, number, controllers, path = ''] of text.matchAll(/^(\d+):([^:\n]*):(\/.*)$/gm)) {
    if (number === '0') v2 = path;
    else if (controllers === 'name=systemd') v1.unshift(path);
    else v1.push(path);
  }
  return { v2, v1 };
}
