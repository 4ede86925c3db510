/**
 * Folders outside the project: the lab's cache, which may be deleted at any time, and scratch folders for one
 * run.
 */
import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** The cache folder, `$XDG_CACHE_HOME/tsbpf-vm`. */
export const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'tsbpf-vm');

/** Whether a path exists. */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/**
 * Returns a folder of the cache, created by `make` if it does not exist. The folder appears complete or not
 * at all, so concurrent or interrupted runs leave no partial folder.
 */
export async function cached(name: string, make: (folder: string) => Promise<void>): Promise<string> {
  const folder = join(CACHE, name);
  if (await exists(folder)) return folder;
  await mkdir(dirname(folder), { recursive: true });
  const draft = await mkdtemp(`${folder}.draft-`);
  try {
    await make(draft);
    await rename(draft, folder);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    if (!(await exists(folder))) throw error; // otherwise another run was first, with the same result
  }
  return folder;
}

/** Deletes siblings of a cache folder that are older than a day: previous states of the same content. */
export async function deleteOlder(folder: string): Promise<void> {
  const yesterday = Date.now() - 24 * 60 * 60 * 1000;
  for (const name of await readdir(dirname(folder))) {
    const other = join(dirname(folder), name);
    if (other === folder || (await stat(other)).mtimeMs > yesterday) continue;
    await rm(other, { recursive: true, force: true });
  }
}

/**
 * Runs `use` with an empty folder, whose path is short enough for sockets. The folder is deleted after `use`,
 * and when the process exits.
 */
export async function withScratch<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'tsbpf-vm-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  try {
    return await use(folder);
  } finally {
    process.off('exit', remove);
    remove();
  }
}
