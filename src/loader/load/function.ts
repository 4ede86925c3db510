/**
 * fentry and fexit programs, and the errors for functions that they cannot trace.
 *
 * Source: kernel/bpf/verifier.c (`bpf_check_attach_target`).
 */
import type { Attachment } from '../../asm/program.ts';
import type { SymbolError } from '../errors.ts';
import type { KernelFacts } from '../kernel-facts.ts';
import { symbolError } from '../symbol-error.ts';

/** An attachment to a kernel function's entry or return by BTF id. */
export type FunctionAttachment = Extract<Attachment, { kind: 'fentry' | 'fexit' | 'lsm' }>;

/** Whether an attachment is fentry, fexit or lsm, whose programs the kernel function itself calls. */
export function isCalledByFunction(attachment: Attachment): attachment is FunctionAttachment {
  return attachment.kind === 'fentry' || attachment.kind === 'fexit' || attachment.kind === 'lsm';
}

/**
 * Whether the verifier refused the function before any instruction, by name (Linux 7) or without a reason.
 */
export function isAboutFunction(log: string, symbol: string): boolean {
  const named = [`unction ${symbol} `, `unction '${symbol}'`].some((name) => log.includes(name));
  return /^processed 0 insns/.test(log) || (named && /^processed 0 insns/m.test(log));
}

/** Creates the error for a function that fentry and fexit cannot trace. `fault` continues "the function". */
export function noSuchFunction(
  kernel: KernelFacts,
  program: string,
  symbol: string,
  errno: number,
  fault: string,
): SymbolError {
  return symbolError(kernel, symbol, 'ftrace', {
    syscall: 'bpf(BPF_PROG_LOAD)',
    errno,
    tried: `load the program '${program}' for the kernel function ${symbol}`,
    hint: `the function ${fault}; it may be inlined, in a module, or renamed: see /proc/kallsyms`,
  });
}
