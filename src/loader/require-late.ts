/** Modules that are loaded when they are first needed. */
import { createRequire } from 'node:module';

/**
 * Loads a module from the file that contains this one. If a user bundles that file in CommonJS format,
 * `import.meta.url` is undefined there, and `__filename` exists.
 */
export function requireLate(name: string): unknown {
  return createRequire(import.meta.url ?? __filename)(name);
}
