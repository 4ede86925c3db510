/** Gives up the privileges that a run does not need once its programs are attached. */
import { printable } from '../../asm/printable.ts';
import { NotPermittedError } from '../../loader/errors.ts';
import type { Kernel } from '../../loader/kernel.ts';
import { type CapabilityName, type DroppedPrivileges, dropPrivileges } from '../../loader/privileges.ts';
import type { Programs } from '../../programs/tcpconnlat.ts';
import type { Options } from '../arguments.ts';
import { readsCallers } from '../caller-filter.ts';

/**
 * For facts about callers: the executables of other users' processes, the processes that /proc hides
 * (`hidepid`), and the root folder of the host in a container.
 */
const FOR_CALLERS: readonly CapabilityName[] = ['CAP_SYS_PTRACE'];
/** For a report in a directory that only another user may change by its mode. */
const FOR_REPORT: readonly CapabilityName[] = ['CAP_DAC_OVERRIDE'];
/** For kprobes through tracefs, which are removed at the end by a write to a file of root. */
const FOR_TRACEFS: readonly CapabilityName[] = ['CAP_DAC_OVERRIDE'];

/**
 * Drops privileges, unless `--keep-privileges` is set. Returns the lines that `-v` prints about it.
 * `keepsOverride` keeps what lets root write files of other users.
 */
export function reducePrivileges(
  options: Pick<Options, 'keepPrivileges' | 'who' | 'filter'>,
  kernel: Kernel,
  { probe }: Pick<Programs, 'probe'>,
  keepsOverride = false,
): string[] {
  if (options.keepPrivileges) return ['privileges: all kept (--keep-privileges)'];
  const removesFromTracefs = probe === 'kprobe' && kernel.kprobePmu === undefined;
  const keep = [
    ...(readsCallers(options) ? FOR_CALLERS : []),
    ...(removesFromTracefs ? FOR_TRACEFS : []),
    ...(keepsOverride && !removesFromTracefs ? FOR_REPORT : []),
  ];
  return describeDropped(dropPrivileges(kernel, { keep }));
}

function describeDropped(dropped: DroppedPrivileges): string[] {
  const { filterError, capabilityError, perfEvents, kept } = dropped;
  const denied = `programs, maps, ${perfEvents ? '' : 'perf events, '}child processes, mounts, modules`;
  const capabilities = kept.map(({ name, reason }) => `${name} (${reason})`).join(', ') || 'none';
  return [
    filterError
      ? `seccomp: no filter: ${printable(filterError.message)}`
      : `seccomp: denies new ${denied} (all threads)`,
    capabilityError
      ? `capabilities: all kept: ${printable(capabilityError.message)}`
      : `capabilities kept: ${capabilities}`,
  ];
}

/** The message of an error while tracing. If privileges were dropped, it names the option that keeps them. */
export function messageWithRemedy(error: Error, { keepPrivileges }: Pick<Options, 'keepPrivileges'>): string {
  return error instanceof NotPermittedError && !keepPrivileges
    ? `${error.message}; start the command again, or use --keep-privileges`
    : error.message;
}
