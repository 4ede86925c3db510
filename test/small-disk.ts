/** Small file systems of their own, for tests of full and read-only disks. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Mounts a tmpfs with options of mount(8), such as `size=4k`, on a new directory in `folder`, and passes its
 * path to `work`. Needs root.
 */
export async function withDisk<T>(
  folder: string,
  options: string,
  work: (disk: string) => T | Promise<T>,
): Promise<T> {
  const disk = mkdtempSync(join(folder, 'disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'none', disk]);
  try {
    return await work(disk);
  } finally {
    execFileSync('umount', [disk]);
    rmdirSync(disk);
  }
}
