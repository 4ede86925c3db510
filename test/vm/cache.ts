/** Folders outside the project's tree: the lab's cache, which may be deleted at any time, and scratch for one run. */
import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** The cache folder, `$XDG_CACHE_HOME/tsbpf-vm`. */
export const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'tsbpf-vm');

/** Whether a path is there. */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/**
 * Returns a folder of the cache, made by `make` if it isn't there yet. It appears whole or not at all, so that runs
 * side by side, or one that was interrupted, can't leave half of it behind.
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
    if (!(await exists(folder))) throw error; // else somebody else was first, and theirs is as good
  }
  return folder;
}

/** Deletes what lies beside a folder of the cache and wasn't made today: an older state of the same thing. */
export async function forgetOlder(folder: string): Promise<void> {
  const yesterday = Date.now() - 24 * 60 * 60 * 1000;
  for (const name of await readdir(dirname(folder))) {
    const other = join(dirname(folder), name);
    if (other === folder || (await stat(other)).mtimeMs > yesterday) continue;
    await rm(other, { recursive: true, force: true });
  }
}

/** Gives `use` an empty folder, with a path short enough for sockets, that goes when it is done or the process ends. */
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
