/**
 * What loading and probing need to know of a kernel. `Kernel` implements it. It is a file of its own because
 * the feature probes, which load programs, belong to `Kernel`.
 */
import type { Btf } from '../asm/btf.ts';
import type { Syscalls } from './syscalls.ts';

/** Capabilities by bit number (include/uapi/linux/capability.h). */
export const Capability = {
  dacOverride: 1,
  ipcLock: 14,
  sysAdmin: 21,
  sysResource: 24,
  perfmon: 38,
  bpf: 39,
} as const;

/** Inode numbers of the initial namespaces (include/uapi/linux/nsfs.h). */
export const INITIAL_NAMESPACES = { user: 0xefff_fffdn, pid: 0xefff_fffcn, time: 0xefff_fffan } as const;

/** Modes of kernel lockdown (man 7 kernel_lockdown). */
export const LOCKDOWN = ['none', 'integrity', 'confidentiality'] as const;

/**
 * A mode of kernel lockdown: `none`, `integrity` (the running kernel cannot be changed), or `confidentiality`
 * (its memory cannot be read either, so most tracing programs fail). Source: man 7 kernel_lockdown.
 *
 * @example
 * ```ts
 * import { Kernel, type Lockdown } from 'tsbpf';
 *
 * const mode: Lockdown | undefined = new Kernel().lockdown;
 * if (mode === 'confidentiality') console.warn('use fentry or tp_btf programs');
 * ```
 */
export type Lockdown = (typeof LOCKDOWN)[number];

/** The running kernel, without what is opened on it. The members are those of `Kernel`. */
export interface KernelFacts {
  readonly syscalls: Syscalls;
  readonly release: string;
  readonly pageSize: number;
  readonly btf: Btf | undefined;
  readonly kprobePmu: number | undefined;
  readonly perfParanoid: number | undefined;
  readonly lockdown: Lockdown | undefined;
  has(capability: number): boolean;
  hasOwn(namespace: keyof typeof INITIAL_NAMESPACES): boolean;
}
