/**
 * The exit status of a command for each kind of error, by its code.
 */
import { TsbpfError } from '../asm/error.ts';

/**
 * 1: the kernel or the system refused. 2: the command line, or a file that it names, is not valid. `bug`: the
 * command itself is wrong; it prints the stack and exits with status 1.
 */
export type ExitStatus = 1 | 2 | 'bug';

/** Who wrote the program that a command assembles: its user (`tsbpf`), or this project (`tcpconnlat`). */
export type ProgramSource = 'user' | 'project';

/**
 * Every code of the project's errors. docs/errors.md describes them. `program` means that the eBPF program is
 * not valid: status 2 if the user wrote it, and otherwise a bug.
 */
export const EXIT_STATUS: { readonly [code: string]: ExitStatus | 'program' } = {
  ERR_AMBIGUOUS_SYMBOL: 1,
  ERR_ARCHITECTURE: 1,
  ERR_ASSEMBLE: 'program',
  ERR_BTF_AMBIGUOUS_STRUCT: 1,
  ERR_BTF_FILE: 2,
  ERR_BTF_MALFORMED: 1,
  ERR_BTF_NO_FIELD: 1,
  ERR_BTF_NO_TRACEPOINT: 1,
  ERR_CLOSED: 'bug',
  ERR_CORRUPT_RING: 1,
  ERR_DECODE: 'program',
  ERR_DESTINATION: 2,
  ERR_ELF: 'program',
  ERR_FILE: 1,
  ERR_FILE_SIZE: 2,
  ERR_FILTER: 2,
  ERR_FILTER_UNAVAILABLE: 1,
  ERR_JUMP_RANGE: 'program',
  ERR_KERNEL: 1,
  ERR_LOCKDOWN: 1,
  ERR_LINK_MISMATCH: 1,
  ERR_LISTEN: 1,
  ERR_MAP_BATCH: 1,
  ERR_MAP_ITERATION: 1,
  ERR_MAP_MISMATCH: 1,
  ERR_MISMATCH: 1,
  ERR_MISSING_FEATURES: 1,
  ERR_NATIVE_CODE: 1,
  ERR_NOT_PERMITTED: 1,
  ERR_NO_BTF: 1,
  ERR_NO_PROBE: 1,
  ERR_NO_PROGRAM: 1,
  ERR_NO_SYMBOL: 1,
  ERR_NO_TRACEFS: 1,
  ERR_OPERAND_SYNTAX: 'program',
  ERR_OUTPUT: 1,
  ERR_PATH: 1,
  ERR_PROGRAM: 'bug',
  ERR_PROGRAM_MISMATCH: 1,
  ERR_RECORDING: 2,
  ERR_SYMBOL: 1,
  ERR_TEXT_SYNTAX: 'program',
  ERR_TRACEPOINT_FORMAT: 1,
  ERR_UNSUPPORTED: 1,
  ERR_UNSUPPORTED_INSTRUCTION: 1,
  ERR_UNTRACEABLE_SYMBOL: 1,
  ERR_VERIFIER: 1,
};

/** The exit status for an error. An error of another class, such as a TypeError, is a bug. */
export function exitStatusOf(error: unknown, source: ProgramSource): ExitStatus {
  const status = error instanceof TsbpfError ? (EXIT_STATUS[error.code] ?? 'bug') : 'bug';
  if (status !== 'program') return status;
  return source === 'user' ? 2 : 'bug';
}
