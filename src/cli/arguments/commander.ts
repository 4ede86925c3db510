/**
 * Options of commander that both commands share. Commander would ask `process.stdout` for colors and width,
 * which makes a pipe non-blocking for every process that shares it.
 */
import type { OutputConfiguration } from 'commander';
import { argumentError } from '../text.ts';

/** Passes everything that commander prints to `print`. Error messages start with the name of the command. */
export function redirectOutput(command: string, print: (text: string) => void): OutputConfiguration {
  return {
    writeOut: print,
    writeErr: print,
    outputError: (text, write) => write(argumentError(command, text)),
    getOutHelpWidth: () => HELP_WIDTH,
    getErrHelpWidth: () => HELP_WIDTH,
    getOutHasColors: () => false,
    getErrHasColors: () => false,
  };
}

/** The width of the help text in columns. */
export const HELP_WIDTH = 80;
