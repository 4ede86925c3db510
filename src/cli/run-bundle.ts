/** Runs the bundle of a command for its launchers, which read it from a file or from the executable. */
import { cannotLoad, environmentMessage } from './environment.ts';
import { printWarning } from './output.ts';
import { holdStopSignals, ignoreDebuggerSignal } from './signals.ts';

/** The commands. */
export type Command = 'tcpconnlat' | 'tsbpf';

/** A bundle as a function: `require` loads what it does not contain, and `file` is its path. */
export type Bundle = (require: (name: string) => unknown, file: string) => void;

/**
 * Prepares the process for a command, and runs the bundle that `compile` returns. If either fails for a known
 * reason, prints one line.
 */
export function runBundle(
  command: Command,
  file: string,
  require: (name: string) => unknown,
  compile: () => Bundle,
): void {
  ignoreDebuggerSignal();
  if (command === 'tcpconnlat') holdStopSignals();
  let run: Bundle | undefined;
  try {
    run = compile();
  } catch (error) {
    printWarning(command, cannotLoad(error as Error));
    process.exitCode = 1;
  }
  try {
    run?.(require, file);
  } catch (error) {
    const message = environmentMessage(error);
    if (message === undefined) throw error;
    printWarning(command, message);
    process.exitCode = 1;
  }
}

/** The function in a bundle's code. @throws {Error} if the code has been damaged. */
export function asBundle(value: unknown, file: string): Bundle {
  if (typeof value !== 'function') throw new Error(`${file} is damaged`);
  return value as Bundle;
}
