/**
 * Kernel lockdown: what it keeps from every process, root's among them.
 *
 * In the mode `confidentiality` programs get no helper that reads kernel memory, no kprobe can be made, and tracefs has no files. A boot
 * parameter or Secure Boot sets the mode. It can be raised at any time, and lowered only by a reboot.
 *
 * Source: man 7 kernel_lockdown; include/linux/security.h (`enum lockdown_reason`); kernel/trace/bpf_trace.c.
 */
import { type Failure, LockdownError } from './errors.ts';
import type { Kernel } from './kernel.ts';

/** How a verifier's log calls a helper that a program doesn't get. */
const HIDDEN_HELPER = /(?:cannot use helper|unknown func) (bpf_probe_(read\w*|write_user))#\d+/;

/** Whether lockdown keeps kernel memory, kprobes and tracefs from programs. */
export function isConfidential({ lockdown }: Kernel): boolean {
  return lockdown === 'confidentiality';
}

/** The error for a program that the verifier refused for a helper that lockdown hides; undefined for any other reason. */
export function hiddenHelper(kernel: Kernel, failure: Failure, log: string): LockdownError | undefined {
  const [, helper, action = ''] = HIDDEN_HELPER.exec(log) ?? [];
  const hides = isConfidential(kernel) || (action === 'write_user' && kernel.lockdown === 'integrity');
  if (helper === undefined || action.startsWith('read_user') || !hides) return undefined;
  const instead = action.startsWith('read')
    ? 'programs of tp_btf and fentry read typed pointers without it'
    : '';
  return lockdownError(kernel, failure, `${helper} from every program`, instead);
}

/** The error for a call that lockdown refused. `kept` says what it keeps from whom, `instead` what works. */
export function lockdownError(
  { lockdown }: Kernel,
  failure: Failure,
  kept: string,
  instead = '',
): LockdownError {
  const hint = `kernel lockdown (${lockdown}) keeps ${kept}; ${LOCKDOWN_REMEDY}${instead && `; ${instead}`}`;
  return new LockdownError(kept, { ...failure, hint });
}

/** What users can do about lockdown: nothing. */
export const LOCKDOWN_REMEDY = 'it is set at boot or by Secure Boot, and lasts until the next boot';
