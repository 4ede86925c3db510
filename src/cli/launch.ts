/**
 * What Node runs of a command first: it starts the bundle with what V8 made of that when it was built, instead of having it compiled
 * again, which takes longer than all that the command does. It may crash another V8, or one of another processor: so the file is named
 * after both. Where there is none, V8 compiles as ever.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Script } from 'node:vm';

/** The command's name, which its bundle and its cache have too. */
declare const __COMMAND__: string;

type Bundle = (require: NodeJS.Require, file: string) => void;

const bundle = join(__dirname, `${__COMMAND__}.bundle.cjs`);

function cache(): Buffer | undefined {
  try {
    return readFileSync(join(__dirname, `${__COMMAND__}.${process.version}-${process.arch}.cache`));
  } catch {
    return undefined;
  }
}

// All of it is ASCII, since the bundler escapes the rest.
const script = new Script(readFileSync(bundle, 'latin1'), { filename: bundle, cachedData: cache() });
(script.runInThisContext() as Bundle)(require, bundle);
