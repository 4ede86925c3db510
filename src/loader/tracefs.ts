/**
 * Where the kernel's tracing files are: tracefs may be mounted anywhere, or nowhere.
 *
 * Source: Documentation/trace/ftrace.rst.
 */
import { describeNearest, listNearest } from '../asm/nearest.ts';
import { parseTracepointFormat, type TracepointFormat } from '../asm/tracepoint-format.ts';
import { Errno } from './errno.ts';
import { NoSuchSymbolError, NoTracefsError } from './errors.ts';
import type { Kernel } from './kernel.ts';
import { isConfidential, lockdownError } from './lockdown.ts';
import { mountsOf } from './mounts.ts';
import { kernelError } from './permission.ts';

/**
 * The folder where tracefs is mounted, or else the one by which debugfs shows it; undefined where neither is
 * mounted. Asked anew each time, since it may be mounted meanwhile. Whether this process may read it isn't looked at.
 */
export function tracefsRoot(kernel: Kernel): string | undefined {
  const mounts = mountsOf(kernel);
  const tracefs = mounts.find(({ type }) => type === 'tracefs');
  if (tracefs) return tracefs.path;
  const debugfs = mounts.find(({ type }) => type === 'debugfs');
  // Mounts itself when somebody looks into it.
  return debugfs && `${debugfs.path}/tracing`;
}

/**
 * The record of a classic tracepoint.
 * @throws {NoTracefsError} @throws {NoSuchSymbolError} where the kernel has no such tracepoint. @throws {NotPermittedError}
 * @throws {KernelError} @throws {TracepointFormatError}
 */
export function readTracepointFormat(kernel: Kernel, category: string, name: string): TracepointFormat {
  return parseTracepointFormat(category, name, readEventFile(kernel, category, name, 'format'));
}

/** The number that perf_event_open(2) knows a classic tracepoint by. Throws as `readTracepointFormat` does. */
export function tracepointId(kernel: Kernel, category: string, name: string): number {
  return Number(readEventFile(kernel, category, name, 'id'));
}

function readEventFile(kernel: Kernel, category: string, name: string, file: string): string {
  const tracepoint = `${category}:${name}`;
  const root = tracefsRoot(kernel);
  if (root === undefined) throw new NoTracefsError(`the tracepoint ${tracepoint}`);
  const path = `${root}/events/${category}/${name}/${file}`;
  const bytes = kernel.syscalls.readFile(path);
  if (typeof bytes !== 'number') return Buffer.from(bytes).toString('latin1');
  const failure = {
    syscall: `open(${path})`,
    errno: -bytes,
    tried: `read about the tracepoint ${tracepoint}`,
  };
  // Under lockdown from the boot on, tracefs is empty; under a later one its files can't be opened.
  if (isConfidential(kernel)) throw lockdownError(kernel, failure, 'tracefs from every process');
  if (bytes === -Errno.ENOENT)
    throw new NoSuchSymbolError(name, {
      ...failure,
      hint: `this kernel has no such tracepoint${eventsLike(kernel, root, category, name)}`,
    });
  throw kernelError(kernel, {
    ...failure,
    hint: 'tracefs is for root, or for whom its files are made readable',
  });
}

/** What a message says of tracepoints like one that there isn't: those of that name in other categories, or those that are spelt alike. */
function eventsLike(kernel: Kernel, root: string, category: string, name: string): string {
  const bytes = kernel.syscalls.readFile(`${root}/available_events`);
  if (typeof bytes === 'number') return '';
  const events = Buffer.from(bytes).toString('latin1').split('\n');
  const same = events.filter((event) => event.endsWith(`:${name}`));
  return same.length > 0 ? listNearest(same) : describeNearest(`${category}:${name}`, events);
}
