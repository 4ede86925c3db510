/**
 * The lock of a recording. It keeps a second writer out and shows readers that the file is still growing. The
 * kernel releases it when the process exits.
 */
import { type BigIntStats, readFileSync } from 'node:fs';

/**
 * The process that holds the lock (`flock(2)`) of a file; undefined if there is none, or if it is in another
 * PID namespace.
 */
export function lockHolder({ dev, ino }: Pick<BigIntStats, 'dev' | 'ino'>): number | undefined {
  const [major, minor] = [(dev >> 8n) & 0xfffn, (dev & 0xffn) | ((dev >> 12n) & 0xfff00n)];
  const hex = (number: bigint) => number.toString(16).padStart(2, '0');
  const file = `${hex(major)}:${hex(minor)}:${ino}`;
  for (const line of locks().split('\n')) {
    // 1: FLOCK  ADVISORY  WRITE 1234 fe:00:2154782 0 EOF
    const [, kind, , , pid, id] = line.split(/ +/);
    if (kind === 'FLOCK' && id === file) return Number(pid) || undefined;
  }
  return undefined;
}

function locks(): string {
  try {
    return readFileSync('/proc/locks', 'latin1');
  } catch {
    return ''; // a kernel without file locking, or no /proc
  }
}
