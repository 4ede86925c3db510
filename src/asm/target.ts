/**
 * What a program is assembled for: a processor, and the types of the kernel it will run in.
 */

import { type Architecture, architectureOf } from './architecture.ts';
import type { Btf, Member, StructRef } from './btf.ts';
import { TsbpfError } from './error.ts';
import type { TracepointFormat } from './tracepoint-format.ts';

/** A processor and a kernel. The same target gives the same program, on any machine. */
export interface Target {
  readonly architecture: Architecture;
  /** The kernel's types; absent where it has none. */
  readonly kernel?: Btf;
  /** Records of the kernel's classic tracepoints, as far as they are wanted. */
  readonly formats?: readonly TracepointFormat[];
}

/** A field of a kernel structure was asked for, but the target has no kernel types. */
export class NoBtfError extends TsbpfError {
  override readonly name = 'NoBtfError';
  override readonly code = 'ERR_NO_BTF';
}

/** The target of that architecture (as `process.arch` names it), with the kernel's types where there are some. */
export function target(architectureName: string, kernel?: Btf): Target {
  const architecture = architectureOf(architectureName);
  return kernel === undefined ? { architecture } : { architecture, kernel };
}

/**
 * The kernel's types. Throws NoBtfError where the target has none; `wanted` says what they were needed
 * for.
 */
export function kernelTypes(target: Target, wanted = 'a kernel structure'): Btf {
  if (target.kernel !== undefined) return target.kernel;
  throw new NoBtfError(
    `${wanted} is needed, but there are no kernel types to find it in: ` +
      'this kernel shows no BTF in /sys/kernel/btf/vmlinux. ' +
      "Mount /sys where it isn't, or is hidden by a container (mount -t sysfs sysfs /sys); else boot a kernel built with " +
      'CONFIG_DEBUG_INFO_BTF=y (Linux 5.4 or later; most distributions build theirs so)',
  );
}

/** The record of a classic tracepoint, one of those that the target was given. Throws RangeError where it isn't among them. */
export function tracepointFormat({ formats = [] }: Target, category: string, name: string): TracepointFormat {
  const format = formats.find((candidate) => candidate.category === category && candidate.name === name);
  if (format) return format;
  throw new RangeError(`the target has no format of the tracepoint ${category}:${name}`);
}

/**
 * A field of a kernel structure: `field(target, 'sock', '__sk_common.skc_daddr')`. With several paths the
 * first that exists.
 *
 * Throws NoBtfError where the target has no BTF, else as `Btf.member` does.
 */
export function field(target: Target, struct: StructRef, path: string | readonly string[]): Member {
  const first = typeof path === 'string' ? path : path[0];
  const name = typeof struct === 'object' ? struct.name : struct;
  return kernelTypes(target, `the field ${name}.${first}`).member(struct, path);
}
