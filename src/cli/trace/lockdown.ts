/**
 * Advice under kernel lockdown. In confidentiality mode bpf_probe_read_kernel fails, so only programs with
 * BTF pointers can read a socket.
 */
import { target } from '../../asm/target.ts';
import type { Kernel } from '../../loader/kernel.ts';
import { unsupportedReason } from '../../loader/probe.ts';
import { tcpconnlat } from '../../programs/tcpconnlat.ts';
import type { Options } from '../arguments.ts';

/**
 * The probes that work under lockdown, and the features that make their programs call bpf_probe_read_kernel.
 */
const FEATURES = {
  fentry: ['outcome', 'port', 'to', 'netns'],
  tp_btf: ['outcome', 'localPort', 'netns'],
} as const satisfies Record<string, readonly Feature[]>;
type LockdownProbe = keyof typeof FEATURES;
export const LOCKDOWN_PROBES = Object.keys(FEATURES) as LockdownProbe[];

/** The command-line options that turn a feature on. */
const FLAGS = {
  outcome: ({ outcome }: Options) => [outcome && (outcome === 'failures' ? '--failed' : '--outcome')],
  port: ({ filter }: Options) => [filter.port?.only && '--port', filter.port?.not && '--not-port'],
  to: ({ filter }: Options) => [filter.to?.only && '--to', filter.to?.not && '--not-to'],
  netns: ({ filter }: Options) => [filter.netns && '--netns'],
  localPort: ({ lport, json, record }: Options) => [
    lport && '--lport',
    json && '--json',
    record !== undefined && '--record',
  ],
} satisfies Record<string, (options: Options) => readonly unknown[]>;
type Feature = keyof typeof FLAGS;

/** The command-line options that do not work with a probe under lockdown. */
export function blockedFlags(probe: LockdownProbe, options: Options): string[] {
  const flags: unknown[] = FEATURES[probe].flatMap((feature) => FLAGS[feature](options));
  return flags.filter((flag) => typeof flag === 'string');
}

/** What to use instead under lockdown: a sentence without a full stop. */
export function adviceUnderLockdown(options: Options, kernel: Kernel): string {
  const [best] = LOCKDOWN_PROBES.filter((probe) => isSupported(probe, kernel))
    .map((probe) => ({ probe, blocked: blockedFlags(probe, options) }))
    .sort((a, b) => a.blocked.length - b.blocked.length);
  if (!best) return 'no probe of this kernel works without it';
  const without = [...best.blocked, ...(options.btf === undefined ? [] : ['--btf'])];
  return `--probe ${best.probe} works${without.length > 0 ? ` without ${without.join(' and ')}` : ''}`;
}

function isSupported(probe: LockdownProbe, kernel: Kernel): boolean {
  try {
    const [program] = tcpconnlat({ probe }, target(process.arch, kernel.btf)).programs;
    return program !== undefined && unsupportedReason(kernel, program.attachment) === undefined;
  } catch {
    return false; // the kernel has no BTF
  }
}
