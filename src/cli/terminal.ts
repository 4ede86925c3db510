/**
 * Detects terminals without opening a stream on the descriptor.
 */
import { fstatSync } from 'node:fs';
import type * as Tty from 'node:tty';
import { requireLate } from '../loader/require-late.ts';

/** Major number of the memory devices, such as /dev/null (Documentation/admin-guide/devices.txt). */
const MEMORY = 1;

/** Whether a descriptor is a character device other than a memory device: usually a terminal. */
export function mayBeTerminal(fd: number): boolean {
  try {
    const stat = fstatSync(fd);
    return stat.isCharacterDevice() && stat.rdev >> 8 !== MEMORY;
  } catch {
    return false; // closed
  }
}

/** Whether a descriptor is a terminal that has not been hung up. */
export function isTerminal(fd: number): boolean {
  if (!mayBeTerminal(fd)) return false;
  const { isatty } = requireLate('node:tty') as typeof Tty; // takes 3 ms to load
  return isatty(fd);
}

/** Whether stdin and stdout are a terminal that can show a screen and reads single keys. */
export function isScreen(): boolean {
  const { TERM = 'dumb' } = process.env;
  return TERM !== 'dumb' && TERM !== '' && isTerminal(0) && isTerminal(1);
}
