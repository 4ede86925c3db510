/** What the executables are made of: releases of Node, and koffi's native libraries. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PROJECT } from '../test/vm/image.ts';
import { type NpmPackage, npmPackage } from './npm-package.ts';

/** The platforms of the executables. */
export const PLATFORMS = ['linux-x64', 'linux-arm64'] as const;
export type Platform = (typeof PLATFORMS)[number];

/**
 * The release of Node in the executables: the newest of a supported major version that npm has for both
 * platforms. Node 26 needs libatomic, which a minimal Debian does not have.
 */
export const NODE_VERSION = '24.21.0';

/** The digests of its packages, as `npm view node-PLATFORM@VERSION dist.integrity` prints them. */
const NODE_INTEGRITY: Record<Platform, string> = {
  'linux-x64':
    'sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==',
  'linux-arm64':
    'sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==',
};

/** The folder of Node for a platform: `bin/node` and `LICENSE`. */
export function nodeFor(platform: Platform): Promise<string> {
  const wanted = {
    name: `node-${platform}`,
    version: NODE_VERSION,
    integrity: NODE_INTEGRITY[platform],
  };
  return npmPackage(wanted, ['bin/node', 'LICENSE']);
}

/** koffi's library for a platform. */
export async function koffiFor(platform: Platform): Promise<string> {
  const folder = platform.replace('-', '_');
  const file = `${folder}/koffi.node`;
  return join(await npmPackage(await lockedKoffi(platform), [file]), file);
}

/** The package of koffi's library, in the version of package-lock.json. */
async function lockedKoffi(platform: Platform): Promise<NpmPackage> {
  const name = `@koromix/koffi-${platform}`;
  const lock: { packages: Record<string, NpmPackage> } = JSON.parse(
    await readFile(join(PROJECT, 'package-lock.json'), 'utf8'),
  );
  const locked = lock.packages[`node_modules/${name}`];
  if (!locked) throw new Error(`package-lock.json has no ${name}`);
  return { ...locked, name };
}
