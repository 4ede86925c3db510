/**
 * User names, from /etc/passwd.
 *
 * Source: man 5 passwd.
 */
import { readFileSync } from 'node:fs';
import { InvalidArgumentError } from 'commander';
import { systemReason } from '../text.ts';

/**
 * The user ID of a name. Undefined if the file does not exist, or does not have the name.
 * @throws {InvalidArgumentError} if the file cannot be read.
 */
export function userIdOf(name: string, file = '/etc/passwd'): number | undefined {
  try {
    return parseUsers(readFileSync(file, 'utf8')).get(name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new InvalidArgumentError(
      `Names of users are in ${file}, which cannot be read: ${systemReason(error)}; use the ID of the user (id -u NAME).`,
    );
  }
}

/**
 * Parses lines of the form `NAME:PASSWORD:UID:GID:COMMENT:HOME:SHELL`. If a name has several lines, the first
 * one is used.
 */
export function parseUsers(text: string): ReadonlyMap<string, number> {
  const users = new Map<string, number>();
  for (const [, name = '', digits] of text.matchAll(/^([^#:\n][^:\n]*):[^:\n]*:(\d{1,10}):/gm))
    if (!users.has(name)) users.set(name, Number(digits));
  return users;
}
