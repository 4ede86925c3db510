/**
 * The output of commander as text. By itself commander asks the streams of the process for colours and a
 * width, and opening stdout makes a pipe non-blocking for every process that shares it.
 */
import type { OutputConfiguration } from 'commander';
import { argumentError } from '../text.ts';

/** Hands everything that a command prints to `say`; errors begin with its name. */
export function collected(name: string, say: (text: string) => void): OutputConfiguration {
  return {
    writeOut: say,
    writeErr: say,
    outputError: (text, write) => write(argumentError(name, text)),
    getOutHelpWidth: () => HELP_WIDTH,
    getErrHelpWidth: () => HELP_WIDTH,
    getOutHasColors: () => false,
    getErrHasColors: () => false,
  };
}

/** Columns of the help. */
export const HELP_WIDTH = 100;
