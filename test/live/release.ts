/** The running kernel by its release, where a test compares with what releases are said to have. */
import { readFileSync } from 'node:fs';

const [major = 0, minor = 0] = readFileSync('/proc/sys/kernel/osrelease', 'utf8').split('.').map(Number);

/** `6.1` */
export const series = `${major}.${minor}`;

/** Whether the running kernel is of that release or a later one; of what none has it isn't. */
export function isReleased(since: string | undefined): boolean {
  if (since === undefined) return false;
  const [wantedMajor = 0, wantedMinor = 0] = since.split('.').map(Number);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}
