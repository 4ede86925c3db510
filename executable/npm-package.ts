/** Files of npm packages that are pinned by a digest, in the cache. */
import { createHash } from 'node:crypto';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cached } from '../test/vm/cache.ts';
import { run } from '../test/vm/command.ts';

/** A version of an npm package. */
export interface NpmPackage {
  readonly name: string;
  readonly version: string;
  /** The digest of the package, as `npm view NAME@VERSION dist.integrity` prints it. */
  readonly integrity: string;
}

/**
 * Fetches a package into the cache, unless it is there, and returns its folder, which contains only `files`
 * (files and folders of the package). No install script runs.
 * @throws {Error} if npm cannot fetch the package, or if its digest differs.
 */
export function npmPackage(
  { name, version, integrity }: NpmPackage,
  files: readonly string[],
): Promise<string> {
  return cached(`npm/${name.replace('/', '+')}-${version}`, async (draft) => {
    const wanted = `${name}@${version}`;
    await run('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', draft, wanted], {
      cwd: draft,
    });
    const [file] = await readdir(draft);
    if (!file) throw new Error(`npm did not pack ${wanted}`);
    const tarball = join(draft, file);
    const digest = createHash('sha512')
      .update(await readFile(tarball))
      .digest('base64');
    if (`sha512-${digest}` !== integrity) throw new Error(`${wanted}: sha512-${digest} is not ${integrity}`);
    const members = files.map((member) => `package/${member}`);
    await run('tar', ['-xzf', tarball, '-C', draft, '--strip-components=1', ...members]);
    await rm(tarball);
  });
}
