/**
 * `--diagnose`: what a bug report needs to know about this machine. It works without root, as far as the
 * kernel lets other users read and try.
 *
 * The command imports it statically: with a dynamic import esbuild would wrap every module of the bundle in a
 * function, which makes the bundle a tenth larger and the start slower.
 */
import { readFileSync } from 'node:fs';
import { messageWithoutPosition } from '../asm/error-position.ts';
import { describeAttachment } from '../asm/listing.ts';
import { printable } from '../asm/printable.ts';
import { Kernel } from '../loader/kernel.ts';
import { Capability } from '../loader/kernel-facts.ts';
import { nativeVersion } from '../loader/koffi.ts';
import { mountsOf } from '../loader/mounts.ts';
import { Session } from '../loader/session.ts';
import { tracefsRoot } from '../loader/tracefs.ts';
import type { ProbeType } from '../programs/tcpconnlat/options.ts';
import { NEEDS_KERNEL_BTF } from './arguments/flags.ts';
import type { Options } from './arguments.ts';
import { errorLine } from './text.ts';
import { traceTarget } from './trace/btf.ts';
import { withFirstProbe } from './trace/probes.ts';
import { describeCache } from './trace/program-cache.ts';

const PROBE_TYPES: readonly ProbeType[] = ['kprobe', 'fentry', 'tp_btf', 'raw_tracepoint', 'trace_event'];

/** The settings that restrict loading and attaching, and how programs run. */
const SETTINGS = [
  'kernel.unprivileged_bpf_disabled',
  'kernel.perf_event_paranoid',
  'kernel.perf_event_mlock_kb',
  'kernel.kptr_restrict',
  'kernel.ftrace_enabled',
  'kernel.bpf_stats_enabled',
  'net.core.bpf_jit_enable',
  'net.core.bpf_jit_harden',
  'debug.kprobes-optimization',
];

/** The report. Each probe type is tried with the command line's `options`. */
export async function diagnose(options: Options, version: string): Promise<string> {
  const kernel = attempt(() => new Kernel());
  const facts: [name: string, value: () => string][] = [
    ['tsbpf', () => version],
    ['Node', () => `${process.version} (${process.platform} ${process.arch})`],
    ['koffi', nativeVersion],
    ['kernel', () => text('/proc/version')],
    ['distribution', distribution],
    ['processors', () => `${text('/sys/devices/system/cpu/online')} online`],
    ['user', () => userOf(kernel)],
    ['capabilities', capabilities],
    ['sandbox', () => `NoNewPrivs ${status('NoNewPrivs')}, Seccomp ${status('Seccomp')}`],
    ['lockdown', () => text('/sys/kernel/security/lockdown')],
    ['LSMs', () => text('/sys/kernel/security/lsm')],
    ['BTF', () => `${readFileSync('/sys/kernel/btf/vmlinux').length} bytes in /sys/kernel/btf/vmlinux`],
    ['tracefs', () => tracefsRoot(known(kernel)) ?? 'not mounted'],
    ['cgroups', () => cgroups(known(kernel))],
    ['program cache', describeCache],
    ['kprobe PMU', () => `type ${text('/sys/bus/event_source/devices/kprobe/type')}`],
  ];
  const settings = SETTINGS.map((name): [string, () => string] => [
    name,
    () => text(`/proc/sys/${name.replaceAll('.', '/')}`),
  ]);
  const probes: [name: string, value: () => string][] = [];
  for (const probe of PROBE_TYPES) {
    const result: Attempt<string> =
      'error' in kernel ? kernel : { value: await tried(probe, options, kernel.value) };
    probes.push([probe, () => known(result)]);
  }
  return [
    section(facts),
    section(settings),
    `probe types, tried with the options of this command line:\n${section(probes)}`,
  ].join('\n');
}

/** A value, or the error that prevents it. */
type Attempt<T> = { readonly value: T } | { readonly error: unknown };

function attempt<T>(work: () => T): Attempt<T> {
  try {
    return { value: work() };
  } catch (error) {
    return { error };
  }
}

/** The value; throws the error that prevents it. */
function known<T>(tried: Attempt<T>): T {
  if ('error' in tried) throw tried.error;
  return tried.value;
}

/** A line for each name and its value, or the error that prevents the value. */
function section(rows: readonly (readonly [name: string, value: () => string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${lineOf(value)}\n`).join('');
}

function lineOf(value: () => string): string {
  const found = attempt(value);
  if ('value' in found) return printable(found.value);
  const error = found.error as NodeJS.ErrnoException;
  return error.code === 'ENOENT'
    ? `no file ${error.path}`
    : `unknown: ${errorLine(messageWithoutPosition(error))}`;
}

/** A file of one line. */
function text(path: string): string {
  return readFileSync(path, 'utf8').trim();
}

function distribution(): string {
  return /^PRETTY_NAME="?(.*?)"?$/m.exec(text('/etc/os-release'))?.[1] ?? 'not in /etc/os-release';
}

/** A field of this process in /proc. */
function status(field: string): string {
  return new RegExp(`^${field}:\\s*(\\S+)`, 'm').exec(text('/proc/self/status'))?.[1] ?? 'unknown';
}

function userOf(kernel: Attempt<Kernel>): string {
  const own = (['user', 'pid'] as const).filter((each) => known(kernel).hasOwn(each));
  const namespaces =
    own.length === 0 ? 'the initial user and pid namespaces' : `an own ${own.join(' and ')} namespace`;
  return `uid ${process.getuid?.()}, in ${namespaces}`;
}

/** The names of the capabilities that the command can use. */
const CAPABILITIES = {
  CAP_SYS_ADMIN: Capability.sysAdmin,
  CAP_BPF: Capability.bpf,
  CAP_PERFMON: Capability.perfmon,
  CAP_SYS_RESOURCE: Capability.sysResource,
  CAP_IPC_LOCK: Capability.ipcLock,
  CAP_DAC_OVERRIDE: Capability.dacOverride,
};

function capabilities(): string {
  const effective = status('CapEff');
  const bits = BigInt(`0x${effective}`);
  const named = (has: boolean) =>
    Object.entries(CAPABILITIES)
      .filter(([, bit]) => ((bits >> BigInt(bit)) & 1n) === (has ? 1n : 0n))
      .map(([name]) => name);
  const [has, lacks] = [named(true), named(false)];
  return `${effective}: ${has.join(' ') || 'none'}${lacks.length > 0 ? `; without ${lacks.join(' ')}` : ''}`;
}

function cgroups(kernel: Kernel): string {
  const mounts = mountsOf(kernel).filter(({ type }) => type === 'cgroup2' || type === 'cgroup');
  const v2 = mounts.filter(({ type }) => type === 'cgroup2').map(({ path }) => path);
  const v1 = mounts.length - v2.length;
  return [
    v2.length > 0 ? `version 2 at ${v2[0]}` : 'no version 2',
    ...(v1 > 0 ? [`${v1} of version 1`] : []),
  ].join(', ');
}

/** Loads and attaches the programs of a probe type, and detaches them at once. */
async function tried(probe: ProbeType, options: Options, kernel: Kernel): Promise<string> {
  if (options.btf !== undefined && NEEDS_KERNEL_BTF.includes(probe))
    return 'not tried: it does not work with --btf';
  const target = () => traceTarget(options, kernel);
  try {
    const attached = await withFirstProbe(
      { ...options, probe, dryRun: false },
      kernel,
      target,
      (programs, _failures, { by }) => {
        const session = Session.open(programs, { kernel, pagesPerCpu: options.pages, onSample() {} });
        try {
          const names = session.programs.map(({ spec }) => describeAttachment(spec.attachment)).join(', ');
          return by === 'cache' ? `${names} (programs from the cache)` : names;
        } finally {
          session.close();
        }
      },
    );
    return `works: ${attached}`;
  } catch (error) {
    return `does not work: ${errorLine(messageWithoutPosition(error as Error))}`;
  }
}
