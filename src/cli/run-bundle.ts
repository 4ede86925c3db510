/** Runs the bundle of a command for its launchers, which read scripts from files or from the executable. */
import { dirname, join } from 'node:path';
import { cannotLoad, environmentMessage } from './environment.ts';
import { printWarning } from './output.ts';
import { holdStopSignals, ignoreDebuggerSignal } from './signals.ts';

/** The commands. */
export type Command = 'tcpconnlat' | 'tsbpf';

/**
 * A bundle as a function: `load` returns what it does not contain, `file` is its path, and `prebuilt` has
 * programs (trace/prebuilt.ts).
 */
type Bundle = (load: (name: string) => unknown, file: string, prebuilt: Buffer | undefined) => void;

/** The result of a script, and what its cache has besides code. */
export interface Evaluated {
  readonly value: unknown;
  readonly prebuilt?: Buffer;
}

/** How a launcher loads code. */
export interface Loader {
  /** Runs a script: the bundle or a late part. */
  readonly evaluate: (file: string) => Evaluated;
  /** Loads a module of Node or of a package, or a JSON file. */
  readonly require: (name: string) => unknown;
}

/**
 * Prepares the process for a command, and runs the bundle in `file`. If that fails for a known reason, prints
 * one line.
 */
export function runBundle(command: Command, file: string, { evaluate, require }: Loader): void {
  ignoreDebuggerSignal();
  if (command === 'tcpconnlat') holdStopSignals();
  const load = (name: string) =>
    name.endsWith('.cjs') ? latePart(() => evaluate(join(dirname(file), name))) : require(name);
  let bundle: Evaluated | undefined;
  try {
    bundle = evaluate(file);
    if (typeof bundle.value !== 'function') throw new Error(`${file} is damaged`);
  } catch (error) {
    printWarning(command, cannotLoad(error as Error));
    process.exitCode = 1;
    return;
  }
  try {
    (bundle.value as Bundle)(load, file, bundle.prebuilt);
  } catch (error) {
    const message = environmentMessage(error);
    if (message === undefined) throw error;
    printWarning(command, message);
    process.exitCode = 1;
  }
}

/** The value of a late part. Any error means that its file is missing or damaged. */
function latePart(evaluate: () => Evaluated): unknown {
  try {
    return evaluate().value;
  } catch (error) {
    throw Object.assign(error as Error, { code: 'MODULE_NOT_FOUND' });
  }
}
