/** The version that the command tells: package.json's. */
import { readFileSync } from 'node:fs';

/** Put in when the command is bundled, so that a normal start reads no file for it; undefined everywhere else. */
declare const __VERSION__: string | undefined;

/** This package's version, as in its package.json. */
export function version(): string {
  return typeof __VERSION__ === 'string' ? __VERSION__ : versionInManifest(new URL('.', import.meta.url));
}

/** Looks upwards from `folder`: src/ and the compiled build/src/ lie at different depths. */
function versionInManifest(folder: URL): string {
  try {
    const manifest: { version: string } = JSON.parse(readFileSync(new URL('package.json', folder), 'utf8'));
    return manifest.version;
  } catch (error) {
    const above = new URL('..', folder);
    if (above.href === folder.href) throw error;
    return versionInManifest(above);
  }
}
