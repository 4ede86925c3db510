/**
 * Resolves the path of a file to write (a recording, a report) one component at a time. It does not follow
 * symbolic links, files and named pipes that another user may have planted in a sticky directory such as
 * /tmp.
 *
 * The rules are those of the sysctls protected_symlinks, protected_regular and protected_fifos
 * (Documentation/admin-guide/sysctl/fs.rst), which are off on many systems.
 */
import {
  accessSync,
  type BigIntStats,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  openSync,
  readlinkSync,
  statfsSync,
} from 'node:fs';
import { printable } from '../asm/printable.ts';
import { OutputError } from './output.ts';
import { systemReason } from './text.ts';

/**
 * `O_PATH` (include/uapi/asm-generic/fcntl.h): a descriptor that only names a file. Opening a device this way
 * has no effect on it.
 */
const O_PATH = 0o10000000;
/** The contents tell who connected to which address, so only the owner may read them. */
export const PRIVATE = 0o600;
/** Creates a file without a name (`__O_TMPFILE`, include/uapi/asm-generic/fcntl.h). */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;
/** Does not wait for the reader of a pipe, and does not make a terminal the controlling terminal. */
export const WRITING = constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY;
/** `PROC_SUPER_MAGIC` (include/uapi/linux/magic.h). */
const PROC_FILE_SYSTEM = 0x9fa0;
/** `MAXSYMLINKS`, include/linux/namei.h. */
const MAX_LINKS = 40;
/**
 * Devices that discard or refuse everything: /dev/null and /dev/full (Documentation/admin-guide/devices.txt).
 */
const HARMLESS_DEVICES = [0x103n, 0x107n];

/** The path cannot hold the file: it is a directory, a device, a socket, or the output of the command. */
export class DestinationError extends OutputError {
  override readonly name = 'DestinationError';
  override readonly code = 'ERR_DESTINATION';
}

/** What is written: `the recording`. Messages contain it. */
export type Content = 'the recording' | 'the report';

/** A resolved path. */
export interface Destination {
  /** The directory (`O_PATH`) that holds the file; undefined if a link in /proc led to the file. */
  readonly directory?: number;
  /** The file's name in `directory`. */
  readonly name: string;
  /** The file (`O_PATH`), if it exists. */
  readonly file?: number;
  /** Closes all descriptors. */
  close(): void;
}

/**
 * The path of an open descriptor, or of a name in an open directory. It stays valid if directories are
 * renamed.
 */
export function pathOf(fd: number, name?: string): string {
  return name === undefined ? `/proc/self/fd/${fd}` : `/proc/self/fd/${fd}/${name}`;
}

/** A file to write, as messages name it. */
export interface Named {
  readonly content: Content;
  readonly path: string;
}

/** The error for a file that cannot be written. */
export function cannotWriteTo(named: Named, reason: string): OutputError {
  return new OutputError(messageFor(named, reason));
}

/** The `OutputError` of an error that occurred while a file was opened or written. */
export function asOutputError(named: Named, error: unknown): OutputError {
  if (error instanceof OutputError) return error;
  const reason = systemReason(error);
  const hint = reason.startsWith('ENXIO') ? ' (no process reads this pipe)' : '';
  return cannotWriteTo(named, `${reason}${hint}`);
}

function messageFor({ content, path }: Named, reason: string): string {
  return printable(`cannot write ${content} ${path}: ${reason}`);
}

/**
 * Resolves a path and checks that the file there, if it exists, may hold the content. The caller closes the
 * result.
 * @throws {OutputError}
 */
export function resolve(path: string, content: Content): Destination {
  const named = { content, path };
  if (!existsSync('/proc/self/fd'))
    throw cannotWriteTo(named, 'this needs /proc, which is not mounted; mount it: mount -t proc proc /proc');
  const opened = new Set<number>();
  const open = (name: string, flags = 0) => {
    const fd = openSync(name, O_PATH | flags);
    opened.add(fd);
    return fd;
  };
  const closeAllBut = (...kept: readonly (number | undefined)[]) => {
    for (const fd of opened) {
      if (kept.includes(fd)) continue;
      opened.delete(fd);
      closeSync(fd);
    }
  };
  try {
    const { directory, name, file } = walk(named, open);
    if (file !== undefined) checkFile(named, file, directory);
    closeAllBut(directory, file);
    return { directory, name, file, close: closeAllBut };
  } catch (error) {
    closeAllBut();
    throw asOutputError(named, error);
  }
}

/**
 * Checks that a file can be created, by creating one without a name. If the file system does not support
 * that, checks the permissions; other errors then appear when it is written.
 * @throws the errors of `accessSync`.
 */
export function checkDirectory(directory: number): void {
  const path = pathOf(directory);
  try {
    closeSync(openSync(path, constants.O_WRONLY | O_TMPFILE, PRIVATE));
  } catch {
    accessSync(path, constants.W_OK | constants.X_OK);
  }
}

/** Whether the mode of a directory lets this process create and replace files in it, without capabilities. */
export function isWritableByMode(directory: number): boolean {
  const { uid, gid, mode } = fstatSync(directory);
  const groups = [process.getegid?.(), ...(process.getgroups?.() ?? [])];
  const shift = uid === process.geteuid?.() ? 6 : groups.includes(gid) ? 3 : 0;
  return ((mode >> shift) & 0o3) === 0o3;
}

function walk(named: Named, open: (name: string, flags?: number) => number): Omit<Destination, 'close'> {
  const { path } = named;
  const start = (text: string) => open(text.startsWith('/') ? '/' : '.', constants.O_DIRECTORY);
  let directory = start(path);
  let names = path.split('/');
  for (let links = 0; ; ) {
    const name = names.shift();
    if (name === undefined) return { name: '.', file: directory };
    if (name === '' || name === '.') continue;
    const isLast = names.length === 0;
    let fd: number;
    try {
      fd = open(pathOf(directory, name), constants.O_NOFOLLOW);
    } catch (error) {
      if (isLast && (error as NodeJS.ErrnoException).code === 'ENOENT') return { directory, name };
      throw error;
    }
    const stat = fstatSync(fd, { bigint: true });
    if (!stat.isSymbolicLink()) {
      if (isLast) return { directory, name, file: fd };
      if (!stat.isDirectory()) throw new Error(`ENOTDIR: ${name} is not a directory`);
      directory = fd;
    } else if (statfsSync(pathOf(directory)).type === PROC_FILE_SYSTEM) {
      // The target of such a link is not always a path, so the kernel has to follow it.
      if (isOwnOutput(readlinkSync(pathOf(directory)), name)) throw ownOutput(named);
      const target = open(pathOf(directory, name));
      if (isLast) return { name, file: target };
      directory = target;
    } else {
      links += 1;
      if (links > MAX_LINKS) throw new Error('ELOOP: too many symbolic links');
      checkOwner(named, `${name} is a symbolic link of`, stat, directory);
      const target = readlinkSync(pathOf(directory, name));
      if (target.startsWith('/')) directory = start(target);
      names = [...target.split('/'), ...names];
    }
  }
}

/** Whether a name in a folder of /proc refers to stdout or stderr of this process. */
function isOwnOutput(folder: string, name: string): boolean {
  const [, pid] = /\/(\d+)(?:\/task\/\d+)?\/fd$/.exec(folder) ?? [];
  return Number(pid) === process.pid && (name === '1' || name === '2');
}

function ownOutput(named: Named): DestinationError {
  return new DestinationError(messageFor(named, 'it is the output of this command; name another file'));
}

/** @throws {OutputError} if this command must not write to the file. */
function checkFile(named: Named, file: number, directory: number | undefined): void {
  const stat = fstatSync(file, { bigint: true });
  const kind = unfitKind(stat);
  if (kind) throw new DestinationError(messageFor(named, `${kind}; name a file or a named pipe`));
  if (stat.isCharacterDevice()) return;
  if ([1, 2].some((fd) => isSameFile(stat, fstatSync(fd, { bigint: true })))) throw ownOutput(named);
  if (directory === undefined) return;
  checkOwner(named, 'it belongs to', stat, directory);
  if (stat.isFile() && stat.nlink > 1n && isShared(fstatSync(directory, { bigint: true })))
    throw cannotWriteTo(
      named,
      'it has another name (hard link), and its directory is sticky; name a new file',
    );
}

/** The kind of a file that cannot hold a recording; undefined for other files. */
function unfitKind(stat: BigIntStats): string | undefined {
  if (stat.isDirectory()) return 'EISDIR: it is a directory';
  if (stat.isSocket()) return 'it is a socket';
  if (stat.isBlockDevice()) return 'it is a block device';
  if (stat.isCharacterDevice() && !HARMLESS_DEVICES.includes(stat.rdev)) return 'it is a terminal or device';
  return undefined;
}

function isSameFile(one: BigIntStats, other: BigIntStats): boolean {
  return one.dev === other.dev && one.ino === other.ino;
}

/**
 * @throws {OutputError} if another user may have put the file or link into its directory for this command to
 * find.
 */
function checkOwner(named: Named, what: string, { uid }: BigIntStats, directory: number): void {
  const parent = fstatSync(directory, { bigint: true });
  if (!isShared(parent) || uid === BigInt(process.geteuid?.() ?? 0) || uid === parent.uid) return;
  throw cannotWriteTo(
    named,
    `${what} another user (uid ${uid}), in a sticky directory; name a file elsewhere`,
  );
}

/** Whether several users may create files in the directory, and remove only their own. */
function isShared({ mode }: BigIntStats): boolean {
  const S_ISVTX = 0o1000n;
  return (mode & S_ISVTX) !== 0n && (mode & 0o022n) !== 0n;
}
