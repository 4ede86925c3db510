/**
 * Kernel symbols: the names of addresses, and suggestions for misspelled names.
 *
 * Source: man 5 proc_kallsyms; tools/bpf/bpftool/xlated_dumper.c.
 */
import { parseFunctionName } from '../asm/function-name.ts';
import { nearest } from '../asm/nearest.ts';
import type { Attachment } from '../asm/program.ts';
import type { Symbols } from '../asm/xlated.ts';
import type { KernelFacts } from './kernel-facts.ts';
import { readKallsyms } from './symbol-table.ts';

/**
 * Returns the kernel's symbols for a loaded program's listing. Looks up a name when it is first needed. Has
 * no names if the kernel hides addresses from this process (`kernel.kptr_restrict`).
 */
export function kernelSymbols(kernel: KernelFacts, functions: readonly bigint[]): Symbols {
  const text = readKallsyms(kernel.syscalls);
  const base = addressOf(text, '__bpf_call_base') ?? 0n;
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
export function similarSymbols(kernel: KernelFacts, attachment: Attachment): string[] {
  const { symbol: misspelled = '', module: wanted } =
    'tracepoint' in attachment
      ? { symbol: attachment.tracepoint }
      : parseFunctionName('symbol' in attachment ? attachment.symbol : (attachment.functions[0] ?? ''));
  // The kernel has a function with this prefix for each tracepoint (include/linux/tracepoint.h, Linux 5.10).
  const prefix = 'tracepoint' in attachment ? '__traceiter_' : '';
  const symbols = readKallsyms(kernel.syscalls).toString('latin1');
  const whole = new Map<string, string>();
  for (const [, name = '', module] of symbols.matchAll(/^[0-9a-f]+ [tT] (\S+)(?:\t\[(.+)\])?$/gm)) {
    const [base = ''] = name.split('.', 1);
    if (module === wanted && name.startsWith(prefix) && !whole.has(base.slice(prefix.length)))
      whole.set(base.slice(prefix.length), name.slice(prefix.length));
  }
  return nearest(misspelled, whole.keys()).map((base) => whole.get(base) as string);
}

/** A function of the kernel or of a module. */
export interface KernelFunction {
  readonly name: string;
  /** 0 if the kernel hides addresses from this process. */
  readonly address: bigint;
  /** Absent for the kernel itself. */
  readonly module?: string;
}

/** A line of /proc/kallsyms: address, type, name, and the module. */
const LINE = /([0-9a-f]+) (\S) (\S+)(?:\t\[(.+)\])?$/;
/** Types of symbols that are functions. */
const IN_TEXT = 'tTwW';

/**
 * Returns the functions with a name in the content of /proc/kallsyms, of one module if it is named. An alias
 * of a function, which has the same address, counts once.
 */
export function functionsNamed(content: Buffer, name: string, module?: string): KernelFunction[] {
  const found: KernelFunction[] = [];
  for (const end of ['\n', '\t']) {
    const wanted = ` ${name}${end}`;
    for (let at = content.indexOf(wanted); at >= 0; at = content.indexOf(wanted, at + 1)) {
      const each = functionAt(content, at);
      if (each === undefined || (module !== undefined && each.module !== module)) continue;
      if (each.address === 0n || !found.some(({ address }) => address === each.address)) found.push(each);
    }
  }
  return found;
}

/** The function whose line contains a position. Undefined for other symbols. */
function functionAt(content: Buffer, at: number): KernelFunction | undefined {
  const start = content.lastIndexOf('\n', at) + 1;
  const end = content.indexOf('\n', at + 1);
  const line = content.toString('latin1', start, end < 0 ? undefined : end);
  const [, hex, type = '', name = '', module] = LINE.exec(line) ?? [];
  if (!IN_TEXT.includes(type) || hex === undefined) return undefined;
  return { name, address: BigInt(`0x${hex}`), ...(module !== undefined && { module }) };
}

/** Returns the address of a symbol, or undefined if there is none, or the kernel hides it. */
export function addressOf(content: Buffer, name: string): bigint | undefined {
  const [, hex] = /([0-9a-f]+) \S $/.exec(before(content, ` ${name}\n`)) ?? [];
  const address = hex === undefined ? 0n : BigInt(`0x${hex}`);
  return address === 0n ? undefined : address;
}

/** The part of a line before `end`, with the space; empty if no line has it. */
function before(content: Buffer, end: string): string {
  const at = content.indexOf(end);
  return at < 0 ? '' : content.toString('latin1', Math.max(0, at - 24), at + 1);
}

/**
 * Returns the names of a function's parts and variants, which end with a suffix of the compiler:
 * `do_unlinkat.isra.0`, `copy_page.constprop.0`.
 */
export function renamedBy(content: Buffer, name: string): string[] {
  const found = new Set<string>();
  const wanted = ` ${name}.`;
  for (let at = content.indexOf(wanted); at >= 0; at = content.indexOf(wanted, at + 1)) {
    const each = functionAt(content, at);
    if (each) found.add(each.name);
  }
  return [...found];
}

function startOf(text: Buffer, beginning: string): number {
  if (text.subarray(0, beginning.length).toString('latin1') === beginning) return 0;
  const before = text.indexOf(`\n${beginning}`);
  return before < 0 ? -1 : before + 1;
}
