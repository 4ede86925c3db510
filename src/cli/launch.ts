/**
 * The file of a command that Node runs first. It runs the command's bundle with the code that V8 compiled
 * from it during the build, since compiling it again takes longer than everything else that the command does.
 *
 * V8 does not verify such a code cache: it runs the code of another text of the same length, and crashes on a
 * flipped bit. So the launcher hashes the bundle and the cache, and uses the cache only if both have the
 * digests that the build put into the launcher. In every other case V8 compiles the bundle: if a developer
 * edited it, if the cache is damaged, or if there is none, as in the npm package. The cache's name contains
 * the version of Node and the processor, and V8 itself rejects a cache made under other flags.
 */
import type * as Crypto from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Script } from 'node:vm';
import { environmentMessage } from './environment.ts';
import { printWarning } from './output.ts';
import { holdStopSignals, ignoreDebuggerSignal } from './signals.ts';

/** The command's name, which is also the name of its bundle and its cache. */
declare const __COMMAND__: 'tcpconnlat' | 'tsbpf';
/** SHA-256 of its bundle and of its cache, in hexadecimal. */
declare const __BUNDLE_SHA256__: string;
declare const __CACHE_SHA256__: string;

type Bundle = (require: NodeJS.Require, file: string) => void;

/** The bundle as a function. The file is ASCII, because esbuild escapes every other character. */
function compile(file: string): Bundle {
  const text = readFileSync(file);
  const script = new Script(text.toString('latin1'), { filename: file, cachedData: cacheOf(text) });
  const bundle: unknown = script.runInThisContext();
  if (typeof bundle !== 'function') throw new Error(`${file} is damaged`);
  return bundle as Bundle;
}

/**
 * The cache for this text of the bundle. V8 gets the same buffer that is hashed, so the file cannot change in
 * between.
 */
function cacheOf(text: Buffer): Buffer | undefined {
  try {
    const cache = readFileSync(join(__dirname, `${__COMMAND__}.${process.version}-${process.arch}.cache`));
    const { createHash } = require('node:crypto') as typeof Crypto;
    const sha256 = (content: Buffer) => createHash('sha256').update(content).digest('hex');
    return sha256(cache) === __CACHE_SHA256__ && sha256(text) === __BUNDLE_SHA256__ ? cache : undefined;
  } catch {
    return undefined; // no cache, or a Node without node:crypto
  }
}

ignoreDebuggerSignal();
if (__COMMAND__ === 'tcpconnlat') holdStopSignals();
const file = join(__dirname, `${__COMMAND__}.bundle.cjs`);
let run: Bundle | undefined;
try {
  run = compile(file);
} catch (error) {
  // V8 puts the position of a syntax error on the first line of its stack.
  const position = error instanceof SyntaxError ? `${error.stack?.split('\n')[0]}: ` : '';
  printWarning(
    __COMMAND__,
    `cannot load its own code: ${position}${(error as Error).message}; install the package again (in a clone: npm ci)`,
  );
  process.exitCode = 1;
}
try {
  run?.(require, file);
} catch (error) {
  const message = environmentMessage(error);
  if (message === undefined) throw error;
  printWarning(__COMMAND__, message);
  process.exitCode = 1;
}
