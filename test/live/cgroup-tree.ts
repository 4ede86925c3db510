/** Cgroups that a test creates. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Kernel } from '../../src/loader/kernel.ts';
import { mountsOf } from '../../src/loader/mounts.ts';
import { until } from './connects.ts';

/** The mount points of the hierarchies of one type (`cgroup` is v1). */
export function hierarchies(type: 'cgroup' | 'cgroup2'): string[] {
  return mountsOf(new Kernel())
    .filter((mount) => mount.type === type)
    .map(({ path }) => path);
}

/** Cgroups in one hierarchy; `close` removes them. */
export class CgroupTree {
  readonly #root: string;
  /** Whether this object mounted the hierarchy. */
  readonly #mounted: boolean;
  /** The created folders; nested ones follow their parents. */
  readonly #made: string[] = [];
  readonly #processes: number[] = [];

  private constructor(root: string, mounted: boolean) {
    this.#root = root;
    this.#mounted = mounted;
  }

  /** Uses the v2 hierarchy, and mounts it in a temporary folder if it is not mounted. */
  static open(): CgroupTree {
    const [root] = hierarchies('cgroup2');
    if (root !== undefined) return new CgroupTree(root, false);
    const folder = mkdtempSync(join(tmpdir(), 'tsbpf-cgroup-'));
    execFileSync('mount', ['-t', 'cgroup2', 'none', folder]);
    return new CgroupTree(folder, true);
  }

  /** Uses a hierarchy that is already mounted. */
  static at(root: string): CgroupTree {
    return new CgroupTree(root, false);
  }

  /**
   * Creates the cgroup at a path below the root of the hierarchy, moves a process there, and returns the
   * folder.
   */
  put(pid: number, path: string): string {
    const folder = join(this.#root, path);
    this.#make(folder);
    writeFileSync(join(folder, 'cgroup.procs'), String(pid));
    this.#processes.push(pid);
    return folder;
  }

  /** Moves the remaining processes back to the root and removes the created cgroups. */
  close(): void {
    for (const pid of this.#processes) {
      try {
        writeFileSync(join(this.#root, 'cgroup.procs'), String(pid));
      } catch {
        // The process has ended.
      }
    }
    for (const folder of this.#made.reverse()) rmdirSync(folder);
    if (!this.#mounted) return;
    execFileSync('umount', [this.#root]);
    rmdirSync(this.#root);
  }

  /** Calls `close` until it succeeds: a cgroup is busy for a moment after its last process. */
  async closeWhenEmpty(): Promise<void> {
    await until('the cgroups to be empty', () => {
      try {
        this.close();
        return true;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
        return false;
      }
    });
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
