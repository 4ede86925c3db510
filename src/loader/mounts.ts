/**
 * The mounted file systems.
 *
 * Source: man 5 proc_pid_mounts.
 */
import type { KernelFacts } from './kernel-facts.ts';
import { utf8 } from './text.ts';

/** A mounted file system. */
export interface Mount {
  readonly path: string;
  /** The type of the file system: `tracefs`. */
  readonly type: string;
}

/**
 * Reads the mounts of this process's mount namespace, in the kernel's order. Empty if /proc is not mounted.
 */
export function mountsOf({ syscalls }: Pick<KernelFacts, 'syscalls'>): readonly Mount[] {
  const bytes = syscalls.readFile('/proc/self/mounts');
  return typeof bytes === 'number' ? [] : parseMounts(utf8(bytes));
}

/** Parses the text of /proc/self/mounts. A space in a path is written as `\040`. */
export function parseMounts(text: string): readonly Mount[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [, path = '', type = ''] = line.split(' ');
      return { path: path.includes('\\') ? unescapeOctal(path) : path, type };
    });
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
