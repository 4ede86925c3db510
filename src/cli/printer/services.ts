/**
 * Service names of TCP ports, from /etc/services.
 *
 * Source: man 5 services.
 */
import { readFileSync } from 'node:fs';
import { MAX_PORT, NAME } from '../limits.ts';

/** The names of TCP ports; empty if the file does not exist. */
export function services(file = '/etc/services'): ReadonlyMap<number, string> {
  try {
    return parseServices(readFileSync(file, 'utf8'));
  } catch {
    return new Map();
  }
}

/**
 * Parses lines of the form `NAME PORT/PROTOCOL ALIASES`. If a port has several names, the first one is used.
 */
export function parseServices(text: string): ReadonlyMap<number, string> {
  const names = new Map<number, string>();
  for (const [, name = '', digits] of text.matchAll(/^[ \t]*([^\s#]+)[ \t]+(\d{1,5})\/tcp(?![^\s#])/gm)) {
    const port = Number(digits);
    if (port <= MAX_PORT && NAME.test(name) && !names.has(port)) names.set(port, name);
  }
  return names;
}
