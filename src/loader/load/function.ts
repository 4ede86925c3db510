/**
 * Programs that a kernel function calls itself, at its entry or its return (fentry, fexit), and functions that can't.
 *
 * Source: kernel/bpf/verifier.c (`bpf_check_attach_target`).
 */
import type { Attachment } from '../../asm/program.ts';
import { NoSuchSymbolError } from '../errors.ts';

/** What a kernel function itself calls, at its entry or its return, known by BTF. */
export type FunctionAttachment = Extract<Attachment, { kind: 'fentry' | 'fexit' }>;

/** Whether programs there are called by the function itself. */
export function isCalledByFunction(attachment: Attachment): attachment is FunctionAttachment {
  return attachment.kind === 'fentry' || attachment.kind === 'fexit';
}

/** Whether the verifier refused the function, by its name (Linux 7) or without a word, before it looked at any instruction. */
export function isAboutFunction(log: string, symbol: string): boolean {
  const named = [`unction ${symbol} `, `unction '${symbol}'`].some((name) => log.includes(name));
  return /^processed 0 insns/.test(log) || (named && /^processed 0 insns/m.test(log));
}

/** For a function that programs can't be called from. `fault` says what it lacks. */
export function noSuchFunction(
  program: string,
  symbol: string,
  errno: number,
  fault: string,
): NoSuchSymbolError {
  return new NoSuchSymbolError(symbol, {
    syscall: 'bpf(BPF_PROG_LOAD)',
    errno,
    tried: `load the program '${program}' for the kernel function ${symbol}`,
    hint: `it ${fault}; it may be inlined, in a module, or renamed: see /proc/kallsyms`,
  });
}
