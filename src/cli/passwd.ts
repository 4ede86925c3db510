/** The users in /etc/passwd (man 5 passwd). */

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
