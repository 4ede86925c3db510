/**
 * Why a program cannot attach to a kernel function: the kernel does not have it, has several, or does not
 * allow it. The kernel answers all of these with the same few errnos, so /proc/kallsyms decides.
 *
 * Source: kernel/kprobes.c (`check_kprobe_address_safe`), kernel/trace/trace_kprobe.c
 * (`validate_probe_symbol`), kernel/bpf/verifier.c (`bpf_check_attach_target`).
 */
import { addressName, type FunctionName, parseFunctionName } from '../asm/function-name.ts';
import { Errno } from './errno.ts';
import {
  AmbiguousSymbolError,
  type Failure,
  NoSuchSymbolError,
  type SymbolError,
  UntraceableSymbolError,
} from './errors.ts';
import { addressOf, functionsNamed, type KernelFunction, renamedBy } from './kallsyms.ts';
import type { KernelFacts } from './kernel-facts.ts';
import { mountsOf } from './mounts.ts';
import { readKallsyms } from './symbol-table.ts';
import { readText } from './text.ts';
import { readTracingFile } from './tracefs.ts';

/** How a program attaches: through a breakpoint, or called by the function (fentry, fexit, kprobe.multi). */
export type Method = 'kprobe' | 'ftrace';

/** The errnos for a function that the kernel does not have, or does not trace. */
const ABOUT_SYMBOL: ReadonlySet<number> = new Set([
  ...[Errno.ENOENT, Errno.EINVAL, Errno.EADDRNOTAVAIL],
  ...[Errno.EILSEQ, Errno.ERANGE, Errno.EOPNOTSUPP],
]);

/** Whether an errno of creating a kprobe can be about its function. */
export function isAboutSymbol(errno: number): boolean {
  return ABOUT_SYMBOL.has(errno);
}

/** The most functions that a message lists. */
const MOST_LISTED = 4;

/**
 * Creates the error for a function that a program cannot attach to. Reads /proc/kallsyms. Without it the
 * error is a `NoSuchSymbolError` with the hint of `failure`, unless the errno says more.
 */
export function symbolError(
  kernel: KernelFacts,
  symbol: string,
  method: Method,
  failure: Failure,
): SymbolError {
  const name = parseFunctionName(symbol);
  const text = readKallsyms(kernel.syscalls);
  if (name.symbol === undefined || name.offset !== 0) return instructionError(symbol, name, text, failure);
  const found = functionsNamed(text, name.symbol, name.module);
  if (found.length > 1) return ambiguous(symbol, found, failure);
  if (failure.errno === Errno.EADDRNOTAVAIL)
    return new AmbiguousSymbolError(symbol, [], { ...failure, hint: `${SEVERAL}; ${HIDDEN_SYMBOLS}` });
  const [only] = found;
  if (only === undefined) return missing(kernel, symbol, name, text, failure);
  const hint = `the function exists, but ${reasonNotTraced(kernel, only, text, method, name)}`;
  return new UntraceableSymbolError(symbol, { ...failure, hint });
}

const SEVERAL = 'several functions of this kernel have this name';
const HIDDEN_SYMBOLS = '/proc/kallsyms lists them; choose one by its address';

function ambiguous(symbol: string, found: readonly KernelFunction[], failure: Failure): SymbolError {
  const name = ({ address, module }: KernelFunction) =>
    `${address === 0n ? 'a hidden address' : addressName(address)}${module === undefined ? '' : ` in ${module}`}`;
  const listed = found.slice(0, MOST_LISTED).map(name);
  const more = found.length > MOST_LISTED ? ` and ${found.length - MOST_LISTED} more` : '';
  const [example] = found.filter(({ address }) => address !== 0n);
  const byAddress = example
    ? `choose one by its address: kprobe('${addressName(example.address)}', ...)`
    : 'choose one by its address, which the kernel shows to root (kernel.kptr_restrict)';
  const inModule = found.find(({ module }) => module !== undefined);
  const isAlone = inModule && found.filter(({ module }) => module === inModule.module).length === 1;
  const byModule = isAlone ? `, or by its module: '${inModule.module}:${inModule.name}'` : '';
  const hint = `this kernel has ${found.length} functions with this name, at ${listed.join(', ')}${more}; ${byAddress}${byModule}`;
  return new AmbiguousSymbolError(symbol, found, { ...failure, hint });
}

function missing(
  kernel: KernelFacts,
  symbol: string,
  { module, symbol: name = '' }: FunctionName,
  text: Buffer,
  failure: Failure,
): SymbolError {
  const because = (hint: string) => new NoSuchSymbolError(symbol, { ...failure, hint });
  if (text.length === 0)
    return because(
      failure.hint ??
        'this kernel has no such function, or it cannot be probed; it may be renamed or inlined: see /proc/kallsyms',
    );
  const inFile = module === undefined ? 'this kernel has' : `the module ${module} has`;
  if (module !== undefined && !text.includes(`\t[${module}]\n`))
    return because(`the module ${module} is not loaded; load it first: modprobe ${module}`);
  const renamed = renamedBy(text, name);
  if (renamed.length > 0)
    return new UntraceableSymbolError(symbol, {
      ...failure,
      hint:
        `${inFile} no function ${name}, only parts that the compiler renamed: ${renamed.slice(0, MOST_LISTED).join(', ')}; ` +
        'a kprobe can probe these, but their arguments may differ',
    });
  const elsewhere = functionsNamed(text, name).find((each) => each.module !== module);
  if (elsewhere)
    return because(
      elsewhere.module === undefined
        ? `${inFile} no such function, but the kernel itself has: remove '${module}:'`
        : `${inFile} no such function, but the module ${elsewhere.module} has: use '${elsewhere.module}:${name}'`,
    );
  if (module === undefined && kernel.btf?.find('func', name) !== undefined)
    return new UntraceableSymbolError(symbol, {
      ...failure,
      hint: `${inFile} the function in its types (BTF), but not in /proc/kallsyms: the compiler inlined it everywhere; probe a caller`,
    });
  return because(`${inFile} no such function; it may be renamed or inlined: see /proc/kallsyms`);
}

/** Why a kernel does not trace a function that it has. Completes "the function exists, but". */
function reasonNotTraced(
  kernel: KernelFacts,
  { address, name, module }: KernelFunction,
  text: Buffer,
  method: Method,
  wanted: FunctionName,
): string {
  const [start, end] = [addressOf(text, '_sinittext'), addressOf(text, '_einittext')];
  if (address !== 0n && start !== undefined && end !== undefined && address >= start && address < end)
    return 'it ran at boot, and the kernel has freed it (__init); probe another function';
  if (method === 'kprobe')
    return isBlacklisted(kernel, name)
      ? 'it is in the list of functions that kprobes must not use (kprobes/blacklist in debugfs); probe a caller'
      : 'it cannot be probed: it is part of the probing or entry code (noinstr, __kprobes; see kprobes/blacklist in debugfs); probe a caller';
  if (module !== undefined && wanted.module === undefined)
    return `it is in the module ${module}: write '${module}:${name}', with the module's types in the target (modules), or use a kprobe`;
  if (module === undefined && kernel.btf?.find('func', name) === undefined)
    return 'its arguments are not in the types (BTF): the compiler changed them, or its name has several meanings; use a kprobe';
  if (!isListedByFtrace(kernel, name))
    return 'it cannot be traced by fentry and fexit (notrace: available_filter_functions does not list it); use a kprobe, or trace a caller';
  return 'the kernel does not allow fentry and fexit there (it may be part of tracing itself); use a kprobe, or trace a caller';
}

/** Whether ftrace can trace a function. True if its list cannot be read. */
function isListedByFtrace(kernel: KernelFacts, name: string): boolean {
  const list = readTracingFile(kernel, 'available_filter_functions');
  return (
    typeof list === 'number' || [`${name}\n`, `${name} [`].some((line) => `\n${list}`.includes(`\n${line}`))
  );
}

function isBlacklisted(kernel: KernelFacts, name: string): boolean {
  const debugfs = mountsOf(kernel).find(({ type }) => type === 'debugfs');
  const list = debugfs && readText(kernel.syscalls, `${debugfs.path}/kprobes/blacklist`);
  return typeof list === 'string' && list.includes(`\t${name}\n`);
}

/** The error for a probe at an address, or at an offset of a function. */
function instructionError(symbol: string, name: FunctionName, text: Buffer, failure: Failure): SymbolError {
  const { errno } = failure;
  if (
    name.symbol !== undefined &&
    text.length > 0 &&
    functionsNamed(text, name.symbol, name.module).length === 0
  )
    return new NoSuchSymbolError(symbol, {
      ...failure,
      hint: `this kernel has no function ${name.symbol}; it may be renamed or inlined: see /proc/kallsyms`,
    });
  const hint =
    errno === Errno.EILSEQ
      ? 'no instruction begins there; see the offsets of instructions in a disassembly (objdump -d vmlinux)'
      : 'no instruction of the kernel that can be probed begins there: the address or offset is outside of the function, ' +
        'not the start of an instruction, or in code that kprobes must not use';
  return new UntraceableSymbolError(symbol, { ...failure, hint });
}
