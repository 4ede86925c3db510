/** A cgroup of a test's own, and one below it. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseMounts } from '../../src/loader/tracefs.ts';

/** What is made is gone after `remove`; processes must have left it by then. */
export class Cgroups {
  /** The upper one's folder. */
  readonly outer: string;
  /** That of the one below. */
  readonly inner: string;
  readonly #mounted: string | undefined;

  private constructor(root: string, mounted: boolean) {
    this.#mounted = mounted ? root : undefined;
    this.outer = join(root, `tsbpf-${process.pid}`);
    this.inner = join(this.outer, 'inner');
    mkdirSync(this.inner, { recursive: true });
  }

  /** Where cgroup2 is mounted, or in a folder of its own where it isn't. */
  static make(): Cgroups {
    const mounts = parseMounts(readFileSync('/proc/self/mounts', 'utf8'));
    const mounted = mounts.find(({ type }) => type === 'cgroup2');
    if (mounted) return new Cgroups(mounted.path, false);
    const root = mkdtempSync(join(tmpdir(), 'tsbpf-cgroups-'));
    execFileSync('mount', ['-t', 'cgroup2', 'none', root]);
    return new Cgroups(root, true);
  }

  /** Moves a process into the cgroup with that folder. */
  move(pid: number, folder: string): void {
    writeFileSync(join(folder, 'cgroup.procs'), String(pid));
  }

  remove(): void {
    rmdirSync(this.inner);
    rmdirSync(this.outer);
    if (!this.#mounted) return;
    execFileSync('umount', [this.#mounted]);
    rmdirSync(this.#mounted);
  }
}
