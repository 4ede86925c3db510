/** Loads a native library whose bytes are in memory. */
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { errnoName } from '../loader/errno.ts';

/** `O_TMPFILE`: a file without a name, which no other process can open and which needs no removal. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

/** Folders for the file, in the order in which they are tried; in memory first. */
const FOLDERS = ['/dev/shm', '/tmp', '/run', '/var/tmp'];

/**
 * Returns the exports of a Node-API library. dlopen(3) needs a file, so the bytes are written to one without
 * a name. A folder whose file system is read-only or mounted noexec is skipped.
 * @throws {Error} with the code `ERR_NO_FOLDER` if no folder works.
 */
export function embeddedLibrary(bytes: Uint8Array): unknown {
  const reasons: string[] = [];
  for (const folder of new Set([...FOLDERS, tmpdir()])) {
    try {
      return loadFrom(folder, bytes);
    } catch (error) {
      reasons.push(`${folder} (${reasonOf(error as NodeJS.ErrnoException)})`);
    }
  }
  const message =
    `the executable loads it from a temporary file, and no folder takes one: ${reasons.join(', ')}; ` +
    'mount a writable file system without noexec at /tmp, or name a folder in TMPDIR';
  throw Object.assign(new Error(message), { code: 'ERR_NO_FOLDER' });
}

function loadFrom(folder: string, bytes: Uint8Array): unknown {
  const fd = openSync(folder, O_TMPFILE | constants.O_RDWR, 0o700);
  try {
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
    const module = { exports: {} };
    process.dlopen(module, `/proc/self/fd/${fd}`);
    return module.exports;
  } finally {
    closeSync(fd);
  }
}

function reasonOf({ code = '', errno, message }: NodeJS.ErrnoException): string {
  if (message.includes('failed to map segment')) return 'mounted noexec';
  return errno === undefined ? `${code}: ${message}` : errnoName(-errno);
}
