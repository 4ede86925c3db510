/**
 * The systemd units that a cgroup belongs to, from its path, as journald finds them.
 *
 *   /system.slice/nginx.service                                      a service
 *   /system.slice/system-getty.slice/getty@tty1.service              an instance of a template
 *   /user.slice/user-1000.slice/session-3.scope                      a login
 *   /user.slice/user-1000.slice/user@1000.service/app.slice/a.scope  a unit of a user's systemd
 *   /system.slice/docker-ID.scope/system.slice/cron.service          a container with its own systemd
 *
 * Slices group units, so the first part that is no slice is the unit. What is below it belongs to its
 * processes, except below the service of a user's systemd. A name keeps systemd's escapes, such as `\x2d`.
 *
 * Source: src/basic/cgroup-util.c of systemd (cg_path_get_unit, cg_path_get_user_unit).
 */

import { UNIT } from '../limits.ts';

/** The units of a process. */
export interface Units {
  /** The unit of the system's systemd (`_SYSTEMD_UNIT` in the journal). */
  readonly unit?: string;
  /** The unit of a user's systemd (`_SYSTEMD_USER_UNIT`). */
  readonly user_unit?: string;
}

const SLICE = /^[A-Za-z0-9:_.\\@-]+\.slice$/;
const USER_MANAGER = /^user@\d+\.service$/;

/** The units of a cgroup's path. */
export function unitsOf(path: string): Units {
  // Above the root of a cgroup namespace every part is `..`.
  const names = path.split('/').filter((name) => name !== '' && name !== '..');
  const at = firstUnit(names, 0);
  const unit = unitNamed(names[at]);
  if (unit === undefined) return {};
  const userUnit = USER_MANAGER.test(unit) ? unitNamed(names[firstUnit(names, at + 1)]) : undefined;
  return { unit, ...(userUnit !== undefined && { user_unit: userUnit }) };
}

/** The index of the first name that is no slice. */
function firstUnit(names: readonly string[], from: number): number {
  let at = from;
  while (SLICE.test(names[at] ?? '')) at += 1;
  return at;
}

/** systemd puts `_` before a name that the kernel uses for files, such as `cgroup.service`. */
function unitNamed(name = ''): string | undefined {
  const unit = name.startsWith('_') ? name.slice(1) : name;
  return UNIT.test(unit) ? unit : undefined;
}
