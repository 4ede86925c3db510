/**
 * The exit status of a command for each kind of error, by its code.
 */
import { TsbpfError } from '../asm/error.ts';

/**
 * 1: the kernel or the system refused. 2: the command line, or a file that it names, is not valid. `bug`: the
 * command itself is wrong; it prints the stack and exits with status 1.
 */
export type ExitStatus = 1 | 2 | 'bug';

/** Every code of the project's errors. docs/errors.md describes them. */
export const EXIT_STATUS: { readonly [code: string]: ExitStatus } = {
  ERR_ARCHITECTURE: 1,
  ERR_ASSEMBLE: 2,
  ERR_BTF_AMBIGUOUS_STRUCT: 1,
  ERR_BTF_FILE: 2,
  ERR_BTF_MALFORMED: 1,
  ERR_BTF_NO_FIELD: 1,
  ERR_BTF_NO_TRACEPOINT: 1,
  ERR_CLOSED: 'bug',
  ERR_CORRUPT_RING: 1,
  ERR_DECODE: 2,
  ERR_DESTINATION: 2,
  ERR_ELF: 2,
  ERR_FILE: 1,
  ERR_FILE_SIZE: 2,
  ERR_FILTER: 2,
  ERR_FILTER_UNAVAILABLE: 1,
  ERR_JUMP_RANGE: 2,
  ERR_KERNEL: 1,
  ERR_LOCKDOWN: 1,
  ERR_MAP_ITERATION: 1,
  ERR_NATIVE_CODE: 1,
  ERR_NOT_PERMITTED: 1,
  ERR_NO_BTF: 1,
  ERR_NO_PROBE: 1,
  ERR_NO_PROGRAM: 1,
  ERR_NO_SYMBOL: 1,
  ERR_NO_TRACEFS: 1,
  ERR_OPERAND_SYNTAX: 2,
  ERR_OUTPUT: 1,
  ERR_PATH: 1,
  ERR_PROGRAM: 'bug',
  ERR_RECORDING: 2,
  ERR_TEXT_SYNTAX: 2,
  ERR_TRACEPOINT_FORMAT: 1,
  ERR_UNSUPPORTED: 1,
  ERR_UNSUPPORTED_INSTRUCTION: 1,
  ERR_VERIFIER: 1,
};

/** The exit status for an error. An error of another class, such as a TypeError, is a bug. */
export function exitStatusOf(error: unknown): ExitStatus {
  return error instanceof TsbpfError ? (EXIT_STATUS[error.code] ?? 'bug') : 'bug';
}
