/**
 * The kernel's tracing files: finding the tracefs mount, and reading classic tracepoints from it.
 *
 * Source: Documentation/trace/ftrace.rst.
 */
import { describeNearest, listNearest } from '../asm/nearest.ts';
import { parseTracepointFormat, type TracepointFormat } from '../asm/tracepoint-format.ts';
import { Errno } from './errno.ts';
import { NoSuchSymbolError, NoTracefsError } from './errors.ts';
import type { KernelFacts } from './kernel-facts.ts';
import { isConfidential, lockdownError } from './lockdown.ts';
import { mountsOf } from './mounts.ts';
import { kernelError } from './permission.ts';
import { readText } from './text.ts';

/**
 * Returns the mount point of tracefs, or `tracing` below the mount point of debugfs. Undefined if neither is
 * mounted. Reads the mounts each time, because tracefs may be mounted at any time. Does not check the
 * permissions.
 */
export function tracefsRoot(kernel: Pick<KernelFacts, 'syscalls'>): string | undefined {
  const mounts = mountsOf(kernel);
  const tracefs = mounts.find(({ type }) => type === 'tracefs');
  if (tracefs) return tracefs.path;
  const debugfs = mounts.find(({ type }) => type === 'debugfs');
  // The kernel mounts tracefs here at the first access.
  return debugfs && `${debugfs.path}/tracing`;
}

/**
 * Reads a file of tracefs by its path below the mount point. Returns minus the errno if it cannot be read,
 * ENOENT if tracefs is not mounted.
 */
export function readTracingFile(kernel: Pick<KernelFacts, 'syscalls'>, file: string): string | number {
  const root = tracefsRoot(kernel);
  return root === undefined ? -Errno.ENOENT : readText(kernel.syscalls, `${root}/${file}`);
}

/**
 * Reads the record layout of a classic tracepoint from tracefs, for `tracepoint` programs.
 *
 * Needs a mounted tracefs, whose files are usually readable by root only. Minimum kernel: 4.1 (4.7 for
 * programs on classic tracepoints). Source: Documentation/trace/events.rst.
 * @param category the folder in `events/`: `syscalls`.
 * @param name the name of the tracepoint: `sys_enter_openat`.
 * @throws {NoTracefsError} if tracefs is not mounted. @throws {NoSuchSymbolError} if the kernel has no such
 * tracepoint; its message suggests similar names. @throws {NotPermittedError} @throws {LockdownError}
 * @throws {KernelError} @throws {FormatError}
 * @example
 * ```ts
 * import { Kernel, readTracepointFormat } from 'tsbpf';
 *
 * const format = readTracepointFormat(new Kernel(), 'syscalls', 'sys_enter_openat');
 * for (const { name, offset, size } of format.fields) console.log(`${name}: ${size} bytes at ${offset}`);
 * ```
 */
export function readTracepointFormat(kernel: KernelFacts, category: string, name: string): TracepointFormat {
  return parseTracepointFormat(category, name, readEventFile(kernel, category, name, 'format'));
}

/**
 * Reads the id of a classic tracepoint, for perf_event_open(2). Throws the errors of `readTracepointFormat`.
 */
export function tracepointId(kernel: KernelFacts, category: string, name: string): number {
  return Number(readEventFile(kernel, category, name, 'id'));
}

function readEventFile(kernel: KernelFacts, category: string, name: string, file: string): string {
  const tracepoint = `${category}:${name}`;
  const root = tracefsRoot(kernel);
  if (root === undefined) throw new NoTracefsError(`the tracepoint ${tracepoint}`);
  const path = `${root}/events/${category}/${name}/${file}`;
  const text = readText(kernel.syscalls, path);
  if (typeof text !== 'number') return text;
  const failure = {
    syscall: `open(${path})`,
    errno: -text,
    tried: `read the ${file} of the tracepoint ${tracepoint}`,
  };
  // With lockdown since the boot, tracefs is empty. With a later lockdown, opening its files fails.
  if (isConfidential(kernel)) throw lockdownError(kernel, failure, 'tracefs');
  if (text === -Errno.ENOENT)
    throw new NoSuchSymbolError(name, {
      ...failure,
      hint: `this kernel has no such tracepoint${similarEvents(kernel, root, category, name)}`,
    });
  throw kernelError(kernel, {
    ...failure,
    hint: 'usually only root may read tracefs; run as root, or make its files readable for this user',
  });
}

/** Suggestions for a message: tracepoints with this name in other categories, or with similar names. */
function similarEvents(kernel: KernelFacts, root: string, category: string, name: string): string {
  const text = readText(kernel.syscalls, `${root}/available_events`);
  if (typeof text === 'number') return '';
  const events = text.split('\n');
  const same = events.filter((event) => event.endsWith(`:${name}`));
  return same.length > 0 ? listNearest(same) : describeNearest(`${category}:${name}`, events);
}
