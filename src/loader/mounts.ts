/**
 * What is mounted, as this process sees it.
 *
 * Source: man 5 proc_pid_mounts.
 */
import type { Kernel } from './kernel.ts';

/** A file system that is mounted. */
export interface Mount {
  readonly path: string;
  /** The type of the file system: `tracefs`. */
  readonly type: string;
}

/** Every mount, in the kernel's order. Read anew each time; none where /proc isn't there. */
export function mountsOf(kernel: Kernel): readonly Mount[] {
  const bytes = kernel.syscalls.readFile('/proc/self/mounts');
  return typeof bytes === 'number' ? [] : parseMounts(Buffer.from(bytes).toString());
}

/** The mounts in the text of /proc/self/mounts. Blanks in a path are written as `\040`. */
export function parseMounts(text: string): readonly Mount[] {
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
