/**
 * The programs that the build has assembled for the kernel of its machine. A run under the same kernel with
 * the same options loads them, and starts without the builder.
 *
 * The text has a line for each set of options: the key, a tab, and the programs. The key contains the build
 * ID of the kernel, which is another one if any of its types is.
 */
import type { Kernel } from '../../loader/kernel.ts';
import { programsFromText } from '../../programs/prebuilt.ts';
import type { Options as ToolOptions } from '../../programs/tcpconnlat/options.ts';
import type { Programs } from '../../programs/tcpconnlat.ts';

/** A parameter of the bundle, which the launcher passes; undefined elsewhere. */
declare const __PREBUILT__: Buffer | undefined;

/**
 * The key of programs with these options for a kernel. Undefined if the kernel does not tell its build ID.
 */
export function prebuiltKey(options: ToolOptions, { buildId }: Kernel): string | undefined {
  return buildId && `${buildId} ${JSON.stringify(options)}`;
}

/** The programs with these options, if the build has assembled them for this kernel. */
export function prebuiltPrograms(
  options: ToolOptions,
  kernel: Kernel,
  lines = typeof __PREBUILT__ === 'undefined' ? undefined : __PREBUILT__,
): Programs | undefined {
  if (!lines || options.aggregate) return undefined;
  const key = prebuiltKey(options, kernel);
  const start = key === undefined ? -1 : lines.indexOf(`${key}\t`);
  if (key === undefined || start < 0) return undefined;
  const text = start + key.length + 1;
  return programsFromText(lines.toString('latin1', text, lines.indexOf('\n', text)));
}
