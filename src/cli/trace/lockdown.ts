/**
 * What works under kernel lockdown: in confidentiality mode no program gets bpf_probe_read_kernel, so only
 * programs with typed pointers can read a socket.
 */
import { target } from '../../asm/target.ts';
import type { Kernel } from '../../loader/kernel.ts';
import { unsupportedReason } from '../../loader/probe.ts';
import { tcpconnlat } from '../../programs/tcpconnlat.ts';
import type { Settings } from '../arguments.ts';

/** The probes that work under lockdown, and the settings that make their programs call bpf_probe_read_kernel. */
const TYPED = {
  fentry: ['outcome', 'port', 'to', 'netns'],
  tp_btf: ['outcome', 'localPort', 'netns'],
} as const satisfies Record<string, readonly Reading[]>;
type Typed = keyof typeof TYPED;
export const TYPED_PROBES = Object.keys(TYPED) as Typed[];

/** The options behind each reading, if the settings have them. */
const READINGS = {
  outcome: ({ outcome }: Settings) => [outcome && (outcome === 'failures' ? '--failed' : '--outcome')],
  port: ({ filter }: Settings) => [filter.port?.only && '--port', filter.port?.not && '--not-port'],
  to: ({ filter }: Settings) => [filter.to?.only && '--to', filter.to?.not && '--not-to'],
  netns: ({ filter }: Settings) => [filter.netns && '--netns'],
  localPort: ({ lport, json, record }: Settings) => [
    lport && '--lport',
    json && '--json',
    record !== undefined && '--record',
  ],
} satisfies Record<string, (settings: Settings) => readonly unknown[]>;
type Reading = keyof typeof READINGS;

/** The options that a probe can't serve under lockdown. */
export function hindered(probe: Typed, settings: Settings): string[] {
  const options: unknown[] = TYPED[probe].flatMap((reading) => READINGS[reading](settings));
  return options.filter((option) => typeof option === 'string');
}

/** What to do under lockdown with these settings, a sentence without a full stop. */
export function adviceUnderLockdown(settings: Settings, kernel: Kernel): string {
  const [best] = TYPED_PROBES.filter((probe) => isSupported(probe, kernel))
    .map((probe) => ({ probe, options: hindered(probe, settings) }))
    .sort((a, b) => a.options.length - b.options.length);
  if (!best) return 'no probe of this kernel works without it';
  const without = [...best.options, ...(settings.btf === undefined ? [] : ['--btf'])];
  return `--probe ${best.probe} works${without.length > 0 ? ` without ${without.join(' and ')}` : ''}`;
}

/** Whether the kernel takes programs of that type. */
function isSupported(probe: Typed, kernel: Kernel): boolean {
  try {
    const [program] = tcpconnlat({ probe }, target(process.arch, kernel.btf)).programs;
    return program !== undefined && unsupportedReason(kernel, program.attachment) === undefined;
  } catch {
    return false; // no types
  }
}
