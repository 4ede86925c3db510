/**
 * The file of a command that Node runs first. It runs the command's bundle with the code that V8 compiled
 * from it during the build, since compiling it again takes longer than everything else that the command does.
 *
 * V8 does not verify such a code cache: it runs the code of another text of the same length, and crashes on a
 * flipped bit. So the cache's file holds the bundle and the code a second time, with their bytes in reverse
 * order (compile-cache.cjs), and the launcher uses the code only if the bundle and the code equal their
 * copies, and if all users who can write the cache can write the bundle. In every other case V8 compiles the
 * bundle: if a developer edited it, if the cache is damaged, or if there is none, as in the npm package. The
 * cache's name contains the version of Node and the processor, and V8 itself rejects a cache made under other
 * flags.
 *
 * A digest in this file would take longer to verify: `node:crypto` loads Node's streams.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { Script } from 'node:vm';
import { asBundle, type Bundle, type Command, runBundle } from './run-bundle.ts';

/** The command's name, which is also the name of its bundle and its cache. */
declare const __COMMAND__: Command;

/** The number of bytes that are compared at a time. */
const CHUNK = 1 << 16;
/** The bits of a file's mode that let its group and all users write it. */
const WRITABLE_BY_OTHERS = 0o022;

/** The bundle as a function. The file is ASCII, because esbuild escapes every other character. */
function compile(file: string): Bundle {
  const { text, cachedData } = withFile(file, readBundle);
  return asBundle(new Script(text, { filename: file, cachedData }).runInThisContext(), file);
}

interface BundleText {
  readonly text: string;
  /** V8's code for this text. V8 gets the bytes that were compared, so the file cannot change in between. */
  readonly cachedData?: Buffer;
}

function readBundle(bundle: number): BundleText {
  const { size, uid, gid, mode } = fstatSync(bundle);
  try {
    const name = `${__COMMAND__}.${process.version}-${process.arch}.cache`;
    return withFile(join(__dirname, name), (cache) => {
      const file = fstatSync(cache);
      if (file.uid !== uid || file.gid !== gid || file.mode & ~mode & WRITABLE_BY_OTHERS)
        throw new Error('users who cannot write the bundle can write the cache');
      const codeSize = (file.size - size) / 2;
      // The code overwrites the bundle's bytes: the first use of new memory takes longer than reading.
      const memory = Buffer.allocUnsafeSlow(Math.max(size, codeSize));
      const bytes = readAt(bundle, 0, memory.subarray(0, size));
      const text = bytes.toString('latin1');
      if (!equalsCopy(bytes, cache, codeSize)) return { text };
      const cachedData = readAt(cache, 0, memory.subarray(0, codeSize));
      return equalsCopy(cachedData, cache, codeSize + size) ? { text, cachedData } : { text };
    });
  } catch {
    // There is no cache, or it cannot be read or trusted.
    return { text: readAt(bundle, 0, Buffer.allocUnsafeSlow(size)).toString('latin1') };
  }
}

/** Whether a file has, from `position` on, the same bytes in reverse order. */
function equalsCopy(bytes: Buffer, fd: number, position: number): boolean {
  const chunk = Buffer.allocUnsafeSlow(CHUNK);
  for (let end = bytes.length; end > 0; end -= CHUNK) {
    const part = bytes.subarray(Math.max(0, end - CHUNK), end);
    const copy = readAt(fd, position + bytes.length - end, chunk.subarray(0, part.length));
    if (!part.equals(copy.reverse())) return false;
  }
  return true;
}

/** Reads bytes of a file until `target` is full, or to the end of the file. Returns what it read. */
function readAt(fd: number, position: number, target: Buffer): Buffer {
  let length = 0;
  for (let read = -1; read !== 0 && length < target.length; length += read)
    read = readSync(fd, target, length, target.length - length, position + length);
  return target.subarray(0, length);
}

function withFile<T>(file: string, work: (fd: number) => T): T {
  const fd = openSync(file, 'r');
  try {
    return work(fd);
  } finally {
    closeSync(fd);
  }
}

const file = join(__dirname, `${__COMMAND__}.bundle.cjs`);
runBundle(__COMMAND__, file, require, () => compile(file));
