/**
 * The file of a command that Node runs first. It runs the command's bundle with the code that V8 compiled
 * from it during the build, since compiling it again takes longer than everything else that the command does.
 * It loads the late parts of the bundle (bundle-late.mjs) in the same way.
 *
 * V8 does not verify such a code cache: it runs the code of another text of the same length, and crashes on a
 * flipped bit. So the cache holds everything a second time, the script too, with the bytes in reverse order
 * (code-cache/make.mjs). The launcher uses it only if all bytes equal their copies, and if all users who can
 * write the cache can write the script. In every other case V8 compiles the script: if a developer edited it,
 * if the cache is damaged, or if there is none, as in the npm package. The cache's name contains the version
 * of Node and the processor, and V8 itself rejects a cache made under other flags.
 *
 * The cache of the bundle also has the programs that the build has assembled (trace/prebuilt.ts).
 *
 * A digest in this file would take longer to verify: `node:crypto` loads Node's streams.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { Script } from 'node:vm';
import { type Command, type Evaluated, runBundle } from './run-bundle.ts';

/** The command's name, which is also the beginning of the names of its scripts and caches. */
declare const __COMMAND__: Command;

/** The number of bytes that are compared at a time. */
const CHUNK = 1 << 16;
/** The size of the length at the end of the cache's content. */
const LENGTH_BYTES = 4;
/** The bits of a file's mode that let its group and all users write it. */
const WRITABLE_BY_OTHERS = 0o022;

/** Runs a script. Its file is ASCII, because esbuild escapes every other character. */
function evaluate(file: string): Evaluated {
  const script = openSync(file, 'r');
  try {
    const { text, cachedData, prebuilt } = readScript(script, file);
    const value = new Script(text, { filename: file, cachedData }).runInThisContext();
    return { value, ...(prebuilt !== undefined && { prebuilt }) };
  } finally {
    closeSync(script);
  }
}

interface ScriptText {
  readonly text: string;
  /** V8's code for this text. V8 gets the bytes that were compared, so the file cannot change in between. */
  readonly cachedData?: Buffer;
  /** The programs that the build has assembled. */
  readonly prebuilt?: Buffer;
}

function readScript(script: number, name: string): ScriptText {
  const { size, uid, gid, mode } = fstatSync(script);
  let cache: number | undefined;
  try {
    cache = openSync(name.replace(/cjs$/, `${process.version}-${process.arch}.cache`), 'r');
    const file = fstatSync(cache);
    if (file.uid !== uid || file.gid !== gid || file.mode & ~mode & WRITABLE_BY_OTHERS)
      throw new Error('users who cannot write the script can write the cache');
    const contentSize = (file.size - size) / 2;
    // The content overwrites the script's bytes: the first use of new memory takes longer than reading.
    const memory = Buffer.allocUnsafeSlow(Math.max(size, contentSize));
    const bytes = readAt(script, 0, memory.subarray(0, size));
    const text = bytes.toString('latin1');
    if (!equalsCopy(bytes, cache, contentSize)) return { text };
    const content = readAt(cache, 0, memory.subarray(0, contentSize));
    if (!equalsCopy(content, cache, contentSize + size)) return { text };
    const end = contentSize - LENGTH_BYTES;
    const codeSize = end - content.readUInt32LE(end);
    return {
      text,
      cachedData: content.subarray(0, codeSize),
      prebuilt: content.subarray(codeSize, end),
    };
  } catch {
    // There is no cache, or it cannot be read or trusted.
    return { text: readAt(script, 0, Buffer.allocUnsafeSlow(size)).toString('latin1') };
  } finally {
    if (cache !== undefined) closeSync(cache);
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

runBundle(__COMMAND__, join(__dirname, `${__COMMAND__}.bundle.cjs`), { evaluate, require });
