/**
 * The cache of programs on this machine: those that earlier runs of root have built. A run with the same
 * options of the tool under the same kernel loads them, and starts without the builder and kernel types.
 *
 * Programs from here run in the kernel, so only root may have written them: the directory and the file belong
 * to root, no other user can write them, and no symbolic link leads to them. Otherwise, and after any error,
 * there is no cache, and the run builds its programs.
 *
 * A file has a line with the key, a tab and the programs, and then the same bytes in reverse order, which
 * detect damage; a digest takes longer, as in launch.ts. The key contains the digest of the command's code.
 */
import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { errnoName } from '../../loader/errno.ts';
import type { Kernel } from '../../loader/kernel.ts';
import { programsFromText, programsToText } from '../../programs/prebuilt.ts';
import type { Options as ToolOptions } from '../../programs/tcpconnlat/options.ts';
import type { Programs } from '../../programs/tcpconnlat.ts';
import { prebuiltKey } from './prebuilt.ts';

/** The digest of the command's code, defined by the build; undefined elsewhere. */
declare const __BUILD__: string | undefined;

/** The variable that names another directory, or turns the cache off if it is empty. */
const VARIABLE = 'TCPCONNLAT_CACHE';
const DIRECTORY = '/var/cache/tcpconnlat';
/** The most files in the directory. Each run with new options adds one, and the oldest are removed. */
const MAX_FILES = 32;
/** The largest file, in bytes; programs have some ten thousand. */
const MAX_BYTES = 1 << 20;
/** The names of files, complete or as drafts. */
const FILE = /^[0-9a-f]{16}\.(programs|draft-\d+)$/;

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY, S_IFMT, S_IFREG } =
  constants;
/** The bits of a mode that let a group and all users write. */
const WRITABLE_BY_OTHERS = 0o022;

/** A cache: its directory, and the digest of the code whose programs it has. */
export interface ProgramCache {
  readonly directory: string;
  readonly build: string;
}

/** The cache of this process, or why it has none. */
export function programCache(
  build = typeof __BUILD__ === 'undefined' ? undefined : __BUILD__,
): ProgramCache | string {
  if (build === undefined) return 'the command runs from its sources';
  if (process.geteuid?.() !== 0) return 'only root has one';
  const directory = process.env[VARIABLE] ?? DIRECTORY;
  if (directory === '') return `${VARIABLE} is empty`;
  if (!directory.startsWith('/')) return `${VARIABLE} is not an absolute path`;
  return { directory, build };
}

/** The programs with these options for this kernel, if the cache has them. */
export function cachedPrograms(
  options: ToolOptions,
  kernel: Kernel,
  cache = programCache(),
): Programs | undefined {
  const key = keyOf(options, kernel, cache);
  if (key === undefined || typeof cache === 'string') return undefined;
  try {
    const text = inDirectory(cache.directory, (path) => readFile(`${path}/${nameOf(key)}.programs`));
    return text?.startsWith(`${key}\t`) ? programsFromText(text.slice(key.length + 1)) : undefined;
  } catch {
    return undefined; // no cache, or it is not root's alone
  }
}

/**
 * Adds programs to the cache, which it creates if there is none. Programs for a process or a network
 * namespace are not kept, because a later run has others, and neither are those with filled maps.
 */
export function cachePrograms(
  options: ToolOptions,
  kernel: Kernel,
  programs: Programs,
  cache = programCache(),
): void {
  const key = keyOf(options, kernel, cache);
  if (key === undefined || typeof cache === 'string' || options.filter?.pid || options.filter?.netns) return;
  try {
    const content = Buffer.from(`${key}\t${programsToText(programs)}\n`);
    makeDirectory(cache.directory);
    inDirectory(cache.directory, (path) => {
      writeFile(path, nameOf(key), Buffer.concat([content, Buffer.from(content).reverse()]));
      removeOldest(path);
    });
  } catch {
    // A full disk or a read-only file system: the next run builds its programs, too.
  }
}

/** The place of the cache, or why there is none, in one line. */
export function describeCache(cache = programCache()): string {
  if (typeof cache === 'string') return `none, ${cache}`;
  try {
    const files = inDirectory(cache.directory, (path) => filesIn(path).length);
    return `${cache.directory}, ${files} of at most ${MAX_FILES} files`;
  } catch (error) {
    const { code, errno, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return `${cache.directory}, does not exist yet`;
    return `${cache.directory}, not used: ${errno === undefined ? message : errnoName(-errno)}`;
  }
}

function keyOf(options: ToolOptions, kernel: Kernel, cache: ProgramCache | string): string | undefined {
  if (typeof cache === 'string' || options.aggregate) return undefined;
  const key = prebuiltKey(options, kernel);
  return key && `${cache.build} ${key}`;
}

/** The name of a key's file. It has the key, so keys that share a name only replace each other's programs. */
function nameOf(key: string): string {
  return [0x811c9dc5, 0x1b873593].map((seed) => fnv1a(key, seed)).join('');
}

/** FNV-1a with 32 bits, in hex digits. `node:crypto` takes a tenth of the start to load. */
function fnv1a(text: string, seed: number): string {
  let hash = seed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, '0');
}

/**
 * Opens the directory and passes a path to `use` that refers to this directory, even if its name changes.
 * Throws if it is not root's alone.
 */
function inDirectory<T>(directory: string, use: (path: string) => T): T {
  const fd = openSync(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    const { uid, mode } = fstatSync(fd);
    if (uid !== 0) throw new Error(`it belongs to uid ${uid}`);
    if (mode & WRITABLE_BY_OTHERS) throw new Error('others can write it');
    return use(`/proc/self/fd/${fd}`);
  } finally {
    closeSync(fd);
  }
}

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, 0o700);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

/** The line in a file; undefined if the file is damaged, or not root's alone. */
function readFile(file: string): string | undefined {
  const fd = openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const { uid, mode, size } = fstatSync(fd);
    if (uid !== 0 || (mode & (S_IFMT | 0o077)) !== S_IFREG || size > MAX_BYTES) return undefined;
    const bytes = Buffer.allocUnsafe(size);
    if (readSync(fd, bytes, 0, size, 0) !== size) return undefined;
    const [content, copy] = [bytes.subarray(0, size / 2), bytes.subarray(size / 2)];
    return content.equals(copy.reverse()) ? content.toString() : undefined;
  } finally {
    closeSync(fd);
  }
}

/** Writes a file, which appears complete or not at all. */
function writeFile(directory: string, name: string, bytes: Buffer): void {
  const draft = `${directory}/${name}.draft-${process.pid}`;
  const fd = openSync(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  try {
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
    renameSync(draft, `${directory}/${name}.programs`);
  } catch (error) {
    unlinkSync(draft);
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** The files in the directory, drafts of killed runs too. */
function filesIn(directory: string): string[] {
  return readdirSync(directory).filter((name) => FILE.test(name));
}

function removeOldest(directory: string): void {
  const paths = filesIn(directory).map((name) => `${directory}/${name}`);
  if (paths.length <= MAX_FILES) return;
  const aged = paths.map((path) => ({ path, time: statSync(path).mtimeMs })).sort((a, b) => a.time - b.time);
  for (const { path } of aged.slice(0, -MAX_FILES)) unlinkSync(path);
}
