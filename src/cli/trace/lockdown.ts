/**
 * Advice under kernel lockdown. In confidentiality mode bpf_probe_read_kernel fails, so only programs with
 * BTF pointers can read a socket.
 */
import { probeReadKernel } from '../../asm/helpers.ts';
import { CALL } from '../../asm/opcodes.ts';
import { type Target, target } from '../../asm/target.ts';
import type { Kernel } from '../../loader/kernel.ts';
import { unsupportedReason } from '../../loader/probe.ts';
import type { Options as ToolOptions } from '../../programs/tcpconnlat/options.ts';
import { tcpconnlat } from '../../programs/tcpconnlat.ts';
import type { Options } from '../arguments.ts';

/** The probes that work under lockdown. */
export const LOCKDOWN_PROBES = ['fentry', 'tp_btf'] as const;
type LockdownProbe = (typeof LOCKDOWN_PROBES)[number];

/** A feature of the programs, and the command-line options that turn it on. */
interface Feature {
  readonly tool: Omit<ToolOptions, 'probe'>;
  readonly flags: (options: Options) => readonly unknown[];
}

/** The features that make programs call bpf_probe_read_kernel on some kernels, with some probes. */
const FEATURES: readonly Feature[] = [
  {
    tool: { outcome: 'all' },
    flags: ({ outcome }) => [outcome && (outcome === 'failures' ? '--failed' : '--outcome')],
  },
  {
    tool: { pending: true },
    flags: ({ pendingMs }) => [pendingMs !== undefined && '--pending'],
  },
  {
    tool: { filter: { port: { only: [[443, 443]] } } },
    flags: ({ filter }) => [filter.port?.only && '--port', filter.port?.not && '--not-port'],
  },
  {
    tool: { filter: { to: { only: [{ address: Uint8Array.of(127, 0, 0, 0), prefix: 8 }] } } },
    flags: ({ filter }) => [filter.to?.only && '--to', filter.to?.not && '--not-to'],
  },
  {
    tool: { filter: { netns: { only: [[1, 1]] } } },
    flags: ({ filter }) => [filter.netns && '--netns'],
  },
  {
    tool: { requested: true },
    flags: ({ requested }) => [requested && '--requested'],
  },
  {
    tool: { localPort: true },
    flags: ({ lport, json, record }) => [
      lport && '--lport',
      json && '--json',
      record !== undefined && '--record',
    ],
  },
];

/** The command-line options that do not work with a probe under lockdown on a kernel with these types. */
export function blockedFlags(probe: LockdownProbe, options: Options, on: Target): string[] {
  return FEATURES.flatMap(({ tool, flags }) => {
    const used = flags(options).filter((flag) => typeof flag === 'string');
    return used.length > 0 && readsByProbe({ ...tool, probe }, on) ? used : [];
  });
}

/** Whether the programs with these options call bpf_probe_read_kernel. */
function readsByProbe(options: ToolOptions, on: Target): boolean {
  return tcpconnlat(options, on).programs.some(({ instructions }) =>
    instructions.some(
      (item) => 'opcode' in item && item.opcode === CALL && item.src === 0 && item.imm === probeReadKernel.id,
    ),
  );
}

/** What to use instead under lockdown: a sentence without a full stop. */
export function adviceUnderLockdown(options: Options, kernel: Kernel): string {
  const on = target(process.arch, kernel.btf);
  const [best] = LOCKDOWN_PROBES.filter((probe) => isSupported(probe, kernel, on))
    .map((probe) => ({ probe, blocked: blockedFlags(probe, options, on) }))
    .sort((a, b) => a.blocked.length - b.blocked.length);
  if (!best) return 'no probe of this kernel works without it';
  const without = [...best.blocked, ...(options.btf === undefined ? [] : ['--btf'])];
  return `--probe ${best.probe} works${without.length > 0 ? ` without ${without.join(' and ')}` : ''}`;
}

function isSupported(probe: LockdownProbe, kernel: Kernel, on: Target): boolean {
  try {
    const [program] = tcpconnlat({ probe }, on).programs;
    return program !== undefined && unsupportedReason(kernel, program.attachment) === undefined;
  } catch {
    return false; // the kernel has no BTF
  }
}
