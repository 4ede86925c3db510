/**
 * Kernel lockdown: restrictions that apply to every process, root included.
 *
 * In the mode `confidentiality` programs have no helper that reads kernel memory, kprobes cannot be created,
 * and tracefs has no files. A boot parameter or Secure Boot sets the mode. It can be raised at any time, and
 * lowered only by a reboot.
 *
 * Source: man 7 kernel_lockdown; include/linux/security.h (`enum lockdown_reason`); kernel/trace/bpf_trace.c.
 */
import { type Failure, LockdownError } from './errors.ts';
import type { KernelFacts } from './kernel-facts.ts';

/** The verifier's message for a helper that the program type does not have. */
const HIDDEN_HELPER = /(?:cannot use helper|unknown func) (bpf_probe_(read\w*|write_user))#\d+/;

/** Whether lockdown protects kernel memory from programs, and forbids kprobes and tracefs. */
export function isConfidential({ lockdown }: KernelFacts): boolean {
  return lockdown === 'confidentiality';
}

/** Returns the error for a program that the verifier refused because lockdown hides a helper. */
export function hiddenHelper(kernel: KernelFacts, failure: Failure, log: string): LockdownError | undefined {
  const [, helper, action = ''] = HIDDEN_HELPER.exec(log) ?? [];
  const hides = isConfidential(kernel) || (action === 'write_user' && kernel.lockdown === 'integrity');
  if (helper === undefined || action.startsWith('read_user') || !hides) return undefined;
  const alternative = action.startsWith('read')
    ? 'tp_btf and fentry programs read typed pointers without this helper'
    : '';
  return lockdownError(kernel, failure, helper, alternative);
}

/**
 * Creates the error for a call that lockdown refused. `forbidden` completes the sentence "kernel lockdown
 * forbids";
 * `alternative` says what works instead.
 */
export function lockdownError(
  { lockdown }: KernelFacts,
  failure: Failure,
  forbidden: string,
  alternative = '',
): LockdownError {
  const hint = `kernel lockdown (${lockdown}) forbids ${forbidden}, even for root; ${LOCKDOWN_DURATION}${alternative && `; ${alternative}`}`;
  return new LockdownError(forbidden, { ...failure, hint });
}

/** What messages say about ending a lockdown: only a reboot does. */
export const LOCKDOWN_DURATION = 'it is set by a boot parameter or Secure Boot and lasts until the next boot';
