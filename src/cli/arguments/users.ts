/** User names as values of options. */
import { readFileSync } from 'node:fs';
import { InvalidArgumentError } from 'commander';
import { parseUsers } from '../passwd.ts';
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
