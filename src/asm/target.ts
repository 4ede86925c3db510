/** The target of a program: an architecture, and the types of a kernel. */

import { type Architecture, architectureOf } from './architecture.ts';
import type { Btf, Member, StructRef } from './btf.ts';
import { TsbpfError } from './error.ts';
import type { TracepointFormat } from './tracepoint-format.ts';

/**
 * The architecture and the kernel that a program is assembled for. The same target gives the same program on
 * any machine.
 */
export interface Target {
  /** The processor architecture. */
  readonly architecture: Architecture;
  /** The kernel's types; absent if the kernel has no BTF. */
  readonly kernel?: Btf;
  /** The formats of the classic tracepoints that the program reads. See `readTracepointFormat`. */
  readonly formats?: readonly TracepointFormat[];
  /**
   * The types of kernel modules by name, for functions in modules (`module:function`). See
   * `Kernel.moduleBtf`.
   */
  readonly modules?: Readonly<Record<string, Btf | undefined>>;
}

/**
 * The program needs kernel types, but its target has none.
 *
 * @example
 * import { fentry, NoBtfError, target } from 'tsbpf';
 *
 * try {
 *   fentry('tcp_v4_connect', target('x64'), () => {});
 * } catch (error) {
 *   if (error instanceof NoBtfError) console.log(error.message);
 * }
 */
export class NoBtfError extends TsbpfError {
  override readonly name = 'NoBtfError';
  override readonly code = 'ERR_NO_BTF';
}

/**
 * Makes a target from the name of an architecture, as in `process.arch`, and the types of a kernel.
 *
 * @throws {UnknownArchitectureError} for any architecture other than `x64` and `arm64`.
 *
 * @example
 * import { Kernel, target } from 'tsbpf';
 * const on = target(process.arch, new Kernel().btf);
 */
export function target(architectureName: string, kernel?: Btf): Target {
  const architecture = architectureOf(architectureName);
  return kernel === undefined ? { architecture } : { architecture, kernel };
}

/** Returns the kernel's types. Throws NoBtfError if the target has none; `wanted` names what needs them. */
export function kernelTypes(target: Target, wanted = 'a kernel structure'): Btf {
  if (target.kernel !== undefined) return target.kernel;
  throw new NoBtfError(
    `${wanted} needs kernel types (BTF), but the target has none: pass them as ` +
      'target(process.arch, new Kernel().btf). If that is undefined, this kernel has no BTF in ' +
      '/sys/kernel/btf/vmlinux: mount sysfs (mount -t sysfs sysfs /sys), or boot a kernel built with ' +
      'CONFIG_DEBUG_INFO_BTF=y (Linux 5.4 or later; most distributions enable it)',
  );
}

/** Returns the target for a function in a module: with the module's types, if the target has them. */
export function inModule(target: Target, module: string | undefined): Target {
  const kernel = module === undefined ? undefined : target.modules?.[module];
  return kernel === undefined ? target : { ...target, kernel };
}

/**
 * Returns the types of a module. Throws NoBtfError if the target has none; `wanted` names what needs them.
 */
export function moduleTypes({ modules }: Target, module: string, wanted: string): Btf {
  const types = modules?.[module];
  if (types !== undefined) return types;
  throw new NoBtfError(
    `the function ${wanted} needs the types of the module ${module}, but the target has none: pass them as ` +
      `{ ...target(process.arch, kernel.btf), modules: { ${module}: kernel.moduleBtf('${module}') } }. If that is ` +
      `undefined, the module is not loaded (modprobe ${module}) or has no BTF in /sys/kernel/btf (Linux 5.11)`,
  );
}

/** Returns the format of a classic tracepoint. Throws RangeError if the target does not have it. */
export function tracepointFormat({ formats = [] }: Target, category: string, name: string): TracepointFormat {
  const format = formats.find((candidate) => candidate.category === category && candidate.name === name);
  if (format) return format;
  throw new RangeError(
    `the target has no format of tracepoint ${category}:${name}; read it with readTracepointFormat and pass it in formats`,
  );
}

/**
 * Finds a member of a kernel struct: `field(target, 'sock', '__sk_common.skc_daddr')`. Of several paths it
 * takes the first that exists.
 *
 * Throws NoBtfError if the target has no kernel types, otherwise as `Btf.member` does.
 */
export function field(target: Target, struct: StructRef, path: string | readonly string[]): Member {
  const first = typeof path === 'string' ? path : path[0];
  const name = typeof struct === 'object' ? struct.name : struct;
  return kernelTypes(target, `the field ${name}.${first}`).member(struct, path);
}
