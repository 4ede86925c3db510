/** A folder with the shared libraries of some programs and nothing else, as the root of these programs. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The loaders of shared libraries, which also list the libraries of a program. */
const LOADERS: Record<string, string> = {
  x64: '/lib64/ld-linux-x86-64.so.2',
  arm64: '/lib/ld-linux-aarch64.so.1',
};

/** Folders and files that other file systems are mounted on. */
export interface MountPoints {
  readonly folders: readonly string[];
  readonly files: readonly string[];
}

/** Fills a folder with the libraries of programs, and with mount points. */
export function fillRoot(root: string, programs: readonly string[], { folders, files }: MountPoints): void {
  for (const folder of folders) mkdirSync(join(root, folder), { recursive: true });
  for (const file of files) {
    mkdirSync(join(root, dirname(file)), { recursive: true });
    writeFileSync(join(root, file), '');
  }
  const loader = LOADERS[process.arch] as string;
  const libraries = new Set([loader]);
  for (const program of programs) {
    const list = execFileSync(loader, ['--list', program], { encoding: 'utf8' });
    for (const [, path = ''] of list.matchAll(/=> (\/\S+)/g)) libraries.add(path);
  }
  for (const path of libraries) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    copyFileSync(path, join(root, path));
  }
}
