/**
 * The kernel's own names: of addresses, for what a loaded program calls; and those like one that there isn't.
 *
 * Source: man 5 proc_kallsyms; tools/bpf/bpftool/xlated_dumper.c.
 */
import { nearest } from '../asm/nearest.ts';
import type { Attachment } from '../asm/program.ts';
import type { Symbols } from '../asm/xlated.ts';
import type { Kernel } from './kernel.ts';

/** The names of addresses, looked up as they are asked for; none where the kernel hides them (`kernel.kptr_restrict`). */
export function kernelSymbols(kernel: Kernel, functions: readonly bigint[]): Symbols {
  const text = kallsyms(kernel);
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
  /**
   * The names found so far: a program calls few functions many times, and each search goes through megabytes.
   */
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
 * Up to three names of what a program could be attached to, most like the one that it asks for: functions, as compilers may have named a
 * part of them too (`do_unlinkat.isra.0`), or tracepoints. Takes a tenth of a second or two: for when there is no such name.
 */
export function similarSymbols(kernel: Kernel, attachment: Attachment): string[] {
  const wanted = 'symbol' in attachment ? attachment.symbol : attachment.tracepoint;
  // What calls the programs at a tracepoint (include/linux/tracepoint.h, Linux 5.10).
  const prefix = 'symbol' in attachment ? '' : '__traceiter_';
  const symbols = kallsyms(kernel).toString('latin1');
  const whole = new Map<string, string>();
  for (const [, name = ''] of symbols.matchAll(/^[0-9a-f]+ [tT] (\S+)$/gm)) {
    const [base = ''] = name.split('.', 1);
    if (name.startsWith(prefix) && !whole.has(base.slice(prefix.length)))
      whole.set(base.slice(prefix.length), name.slice(prefix.length));
  }
  return nearest(wanted, whole.keys()).map((base) => whole.get(base) as string);
}

/** The text of /proc/kallsyms; nothing where it can't be read. */
function kallsyms(kernel: Kernel): Buffer {
  const bytes = kernel.syscalls.readFile('/proc/kallsyms');
  return typeof bytes === 'number'
    ? Buffer.alloc(0)
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function startOf(text: Buffer, beginning: string): number {
  if (text.subarray(0, beginning.length).toString('latin1') === beginning) return 0;
  const before = text.indexOf(`\n${beginning}`);
  return before < 0 ? -1 : before + 1;
}
