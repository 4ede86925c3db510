/** The names of users by ID, from /etc/passwd. */
import { readFileSync } from 'node:fs';
import { parseUsers } from '../passwd.ts';

/** Returns the name of a user, or the ID if the file has none. Reads the file once. */
export function userNames(file = '/etc/passwd'): (uid: number) => string {
  const names = new Map<number, string>();
  try {
    for (const [name, uid] of parseUsers(readFileSync(file, 'utf8')))
      if (!names.has(uid)) names.set(uid, name);
  } catch {
    // not there, or not allowed
  }
  return (uid) => names.get(uid) ?? String(uid);
}
