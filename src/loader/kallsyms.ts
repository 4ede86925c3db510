/**
 * Kernel symbols: the names of addresses, and suggestions for misspelled names.
 *
 * Source: man 5 proc_kallsyms; tools/bpf/bpftool/xlated_dumper.c.
 */
import { nearest } from '../asm/nearest.ts';
import type { Attachment } from '../asm/program.ts';
import type { Symbols } from '../asm/xlated.ts';
import type { Kernel } from './kernel.ts';
import { readKallsyms } from './symbol-table.ts';

/**
 * Returns the kernel's symbols for a loaded program's listing. Looks up a name when it is first needed. Has
 * no names if the kernel hides addresses from this process (`kernel.kptr_restrict`).
 */
export function kernelSymbols(kernel: Kernel, functions: readonly bigint[]): Symbols {
  const text = readKallsyms(kernel.syscalls);
  const at = text.indexOf(' __bpf_call_base\n');
  const base =
    at < 0
      ? 0n
      : BigInt(`0x${/([0-9a-f]+) \S$/.exec(text.toString('latin1', Math.max(0, at - 24), at))?.[1] ?? '0'}`);
  const find = (address: bigint): string | undefined => {
    const hex = address.toString(16).padStart(16, '0');
    const line = base === 0n ? -1 : startOf(text, `${hex} `);
    if (line < 0) return undefined;
    const end = text.indexOf('\n', line);
    return text.toString('latin1', line + hex.length + 3, end).split(/\s/, 1)[0];
  };
  /** Cached names: a program calls few functions many times, and each search reads megabytes. */
  const known = new Map<bigint, string | undefined>();
  return {
    base,
    functions: base === 0n ? [] : functions,
    nameAt(address) {
      if (!known.has(address)) known.set(address, find(address));
      return known.get(address);
    },
  };
}

/**
 * Returns up to three functions or tracepoints with names similar to the attachment's, most similar first. A
 * compiler may add a suffix to a function's name (`do_unlinkat.isra.0`). Takes up to 0.2 s, so call it for
 * error messages only.
 */
export function similarSymbols(kernel: Kernel, attachment: Attachment): string[] {
  const misspelled = 'symbol' in attachment ? attachment.symbol : attachment.tracepoint;
  // The kernel has a function with this prefix for each tracepoint (include/linux/tracepoint.h, Linux 5.10).
  const prefix = 'symbol' in attachment ? '' : '__traceiter_';
  const symbols = readKallsyms(kernel.syscalls).toString('latin1');
  const whole = new Map<string, string>();
  for (const [, name = ''] of symbols.matchAll(/^[0-9a-f]+ [tT] (\S+)$/gm)) {
    const [base = ''] = name.split('.', 1);
    if (name.startsWith(prefix) && !whole.has(base.slice(prefix.length)))
      whole.set(base.slice(prefix.length), name.slice(prefix.length));
  }
  return nearest(misspelled, whole.keys()).map((base) => whole.get(base) as string);
}

function startOf(text: Buffer, beginning: string): number {
  if (text.subarray(0, beginning.length).toString('latin1') === beginning) return 0;
  const before = text.indexOf(`\n${beginning}`);
  return before < 0 ? -1 : before + 1;
}
