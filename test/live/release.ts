/** The running kernel's release, for tests of features by release. */
import { readFileSync } from 'node:fs';

const [major = 0, minor = 0] = readFileSync('/proc/sys/kernel/osrelease', 'utf8').split('.').map(Number);

/** `6.1` */
export const series = `${major}.${minor}`;

/** Whether the running kernel is at least this release; false for undefined. */
export function isReleased(since: string | undefined): boolean {
  if (since === undefined) return false;
  const [wantedMajor = 0, wantedMinor = 0] = since.split('.').map(Number);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}
