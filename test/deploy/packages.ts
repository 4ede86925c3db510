/** The npm packages of tools/deploy, which validate the files of deploy/, in the cache. */
import { createHash } from 'node:crypto';
import { copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { cached } from '../vm/cache.ts';
import { run } from '../vm/command.ts';
import { PROJECT } from '../vm/image.ts';

/** The folder of deploy/. */
export const DEPLOY = join(PROJECT, 'deploy');

const LOCK = join(PROJECT, 'tools/deploy/package-lock.json');

/** Returns the folder with `node_modules`, installed as package-lock.json says, without install scripts. */
export async function deployPackages(): Promise<string> {
  const key = createHash('sha256')
    .update(await readFile(LOCK))
    .digest('hex');
  return cached(`deploy/${key.slice(0, 16)}`, async (draft) => {
    for (const name of ['package.json', 'package-lock.json'])
      await copyFile(join(PROJECT, 'tools/deploy', name), join(draft, name));
    await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: draft });
  });
}

/** Imports a file of these packages. */
export async function importPackage<T>(file: string): Promise<T> {
  return import(pathToFileURL(join(await deployPackages(), 'node_modules', file)).href);
}
