/** Cgroups of a test's own. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Kernel } from '../../src/loader/kernel.ts';
import { mountsOf } from '../../src/loader/mounts.ts';

/** Where hierarchies of one type are mounted (`cgroup` is v1). */
export function hierarchies(type: 'cgroup' | 'cgroup2'): string[] {
  return mountsOf(new Kernel())
    .filter((mount) => mount.type === type)
    .map(({ path }) => path);
}

/** Cgroups in one hierarchy, gone when it is closed. */
export class CgroupTree {
  readonly #root: string;
  /** Whether the hierarchy was mounted for this. */
  readonly #mounted: boolean;
  /** The folders that were made, those within others after them. */
  readonly #made: string[] = [];
  readonly #processes: number[] = [];

  private constructor(root: string, mounted: boolean) {
    this.#root = root;
    this.#mounted = mounted;
  }

  /** In the hierarchy of v2, which is mounted in a folder of its own where it is mounted nowhere. */
  static open(): CgroupTree {
    const [root] = hierarchies('cgroup2');
    if (root !== undefined) return new CgroupTree(root, false);
    const folder = mkdtempSync(join(tmpdir(), 'tsbpf-cgroup-'));
    execFileSync('mount', ['-t', 'cgroup2', 'none', folder]);
    return new CgroupTree(folder, true);
  }

  /** In a hierarchy that is mounted here. */
  static at(root: string): CgroupTree {
    return new CgroupTree(root, false);
  }

  /** Puts a process into the cgroup at a path from the root of the hierarchy, which is made, and returns its folder. */
  put(pid: number, path: string): string {
    const folder = join(this.#root, path);
    this.#make(folder);
    writeFileSync(join(folder, 'cgroup.procs'), String(pid));
    this.#processes.push(pid);
    return folder;
  }

  /** Takes all processes that are still there out again, and removes what was made. */
  close(): void {
    for (const pid of this.#processes) {
      try {
        writeFileSync(join(this.#root, 'cgroup.procs'), String(pid));
      } catch {
        // It has ended.
      }
    }
    for (const folder of this.#made.reverse()) rmdirSync(folder);
    if (!this.#mounted) return;
    execFileSync('umount', [this.#root]);
    rmdirSync(this.#root);
  }

  #make(folder: string): void {
    if (folder === this.#root) return;
    this.#make(dirname(folder));
    try {
      mkdirSync(folder);
      this.#made.push(folder);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}
