/** The version of this package. */
import { readFileSync } from 'node:fs';

/** Defined by the bundler, so that a start reads no file for it; undefined elsewhere. */
declare const __VERSION__: string | undefined;

/** The version in package.json. */
export function version(): string {
  return typeof __VERSION__ === 'string' ? __VERSION__ : versionInManifest(new URL('.', import.meta.url));
}

/** Searches the parent folders, because src/ and build/src/ have different depths. */
function versionInManifest(folder: URL): string {
  try {
    const manifest: { version: string } = JSON.parse(readFileSync(new URL('package.json', folder), 'utf8'));
    return manifest.version;
  } catch (error) {
    const parent = new URL('..', folder);
    if (parent.href === folder.href) throw error;
    return versionInManifest(parent);
  }
}
