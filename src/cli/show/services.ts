/**
 * Names of ports, from /etc/services.
 *
 * Source: man 5 services.
 */
import { readFileSync } from 'node:fs';
import { MAX_PORT, NAME } from '../limits.ts';

/** The names of TCP's ports; none where there is no such file. */
export function services(file = '/etc/services'): ReadonlyMap<number, string> {
  try {
    return parseServices(readFileSync(file, 'utf8'));
  } catch {
    return new Map();
  }
}

/** Reads lines of `NAME PORT/PROTOCOL ALIASES`. Of several names of a port, the first one counts. */
export function parseServices(text: string): ReadonlyMap<number, string> {
  const names = new Map<number, string>();
  for (const [, name = '', digits] of text.matchAll(/^[ \t]*([^\s#]+)[ \t]+(\d{1,5})\/tcp(?![^\s#])/gm)) {
    const port = Number(digits);
    if (port <= MAX_PORT && NAME.test(name) && !names.has(port)) names.set(port, name);
  }
  return names;
}
