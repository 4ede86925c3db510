/**
 * Where the kernel's tracing files are: tracefs may be mounted anywhere, or nowhere.
 *
 * Source: Documentation/trace/ftrace.rst, man 5 proc_pid_mounts.
 */
import type { Kernel } from './kernel.ts';

/** What to do where tracefs is mounted nowhere. */
export const MOUNT_TRACEFS = 'mount it: mount -t tracefs tracefs /sys/kernel/tracing';

/**
 * The folder where tracefs is mounted, or else the one by which debugfs shows it; undefined where neither is
 * mounted. Asked anew each time, since it may be mounted meanwhile. Whether this process may read it isn't looked at.
 */
export function tracefsRoot(kernel: Kernel): string | undefined {
  const bytes = kernel.syscalls.readFile('/proc/self/mounts');
  const mounts = typeof bytes === 'number' ? [] : parseMounts(Buffer.from(bytes).toString());
  const tracefs = mounts.find(({ type }) => type === 'tracefs');
  if (tracefs) return tracefs.path;
  const debugfs = mounts.find(({ type }) => type === 'debugfs');
  // Mounts itself when somebody looks into it.
  return debugfs && `${debugfs.path}/tracing`;
}

/** Path and type of each mount, from the text of /proc/self/mounts. Blanks in a path are written as `\040`. */
export function parseMounts(text: string): { readonly path: string; readonly type: string }[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [, path = '', type = ''] = line.split(' ');
      return { path: unescapeOctal(path), type };
    });
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
