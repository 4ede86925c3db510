/**
 * Names of the kernel's addresses, for what a loaded program calls.
 *
 * Source: man 5 proc_kallsyms; tools/bpf/bpftool/xlated_dumper.c.
 */
import type { Symbols } from '../asm/xlated.ts';
import type { Kernel } from './kernel.ts';

/** The names of addresses, looked up as they are asked for; none where the kernel hides them (`kernel.kptr_restrict`). */
export function kernelSymbols(kernel: Kernel, functions: readonly bigint[]): Symbols {
  const bytes = kernel.syscalls.readFile('/proc/kallsyms');
  const text =
    typeof bytes === 'number' ? Buffer.alloc(0) : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const at = text.indexOf(' __bpf_call_base\n');
  const base =
    at < 0
      ? 0n
      : BigInt(`0x${/([0-9a-f]+) \S$/.exec(text.toString('latin1', Math.max(0, at - 24), at))?.[1] ?? '0'}`);
  return {
    base,
    functions: base === 0n ? [] : functions,
    nameAt(address) {
      const hex = address.toString(16).padStart(16, '0');
      const line = base === 0n ? -1 : startOf(text, `${hex} `);
      if (line < 0) return undefined;
      const end = text.indexOf('\n', line);
      return text.toString('latin1', line + hex.length + 3, end).split(/\s/, 1)[0];
    },
  };
}

function startOf(text: Buffer, beginning: string): number {
  if (text.subarray(0, beginning.length).toString('latin1') === beginning) return 0;
  const before = text.indexOf(`\n${beginning}`);
  return before < 0 ? -1 : before + 1;
}
