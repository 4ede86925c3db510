/**
 * The functions of kprobe.multi programs: which ones their patterns match, and one link for all of them
 * (Linux 5.18, CONFIG_FPROBE). Older kernels get a kprobe for each function.
 *
 * Source: kernel/trace/bpf_trace.c (`bpf_kprobe_multi_link_attach`), kernel/trace/fprobe.c,
 * Documentation/trace/ftrace.rst (`available_filter_functions`).
 */
import { addressName, isPattern, parseFunctionName } from '../asm/function-name.ts';
import type { MultiAttachment } from '../asm/program.ts';
import { PROGRAM_TYPES } from '../asm/program-types.ts';
import { Attr, Command, cString } from './bpf.ts';
import { Errno } from './errno.ts';
import { type Failure, NoSuchSymbolError, type SymbolError } from './errors.ts';
import { functionsNamed, type KernelFunction } from './kallsyms.ts';
import type { KernelFacts } from './kernel-facts.ts';
import { loadShortest } from './load/shortest.ts';
import { symbolError } from './symbol-error.ts';
import { readKallsyms } from './symbol-table.ts';
import { readTracingFile } from './tracefs.ts';

/**
 * A function that a kprobe.multi program is attached to.
 *
 * @example
 * ```ts
 * import type { AttachedFunction, Link } from 'tsbpf';
 *
 * function names(link: Link): Map<bigint, string> {
 *   const functions: readonly AttachedFunction[] = link.multi?.functions ?? [];
 *   return new Map(functions.map(({ cookie, symbol }) => [cookie, symbol]));
 * }
 * ```
 */
export interface AttachedFunction {
  /** The name, as in /proc/kallsyms. */
  readonly symbol: string;
  /** The module. Absent for the kernel itself. */
  readonly module?: string;
  /** The address; 0 if the kernel hides addresses from this process. */
  readonly address: bigint;
  /** The result of `getAttachCookie` in a run for this function. */
  readonly cookie: bigint;
}

/**
 * A function that a pattern matched, and that the kernel does not let the program attach to.
 *
 * @example
 * ```ts
 * import type { Link, SkippedFunction } from 'tsbpf';
 *
 * function warn(link: Link): void {
 *   const skipped: readonly SkippedFunction[] = link.multi?.skipped ?? [];
 *   for (const { symbol, reason } of skipped) console.warn(`${symbol}: ${reason}`);
 * }
 * ```
 */
export interface SkippedFunction {
  /** The name, as in /proc/kallsyms. */
  readonly symbol: string;
  /** Why it was skipped. */
  readonly reason: string;
}

/**
 * What a kprobe.multi program is attached to.
 *
 * @example
 * ```ts
 * import type { Link, MultiLink } from 'tsbpf';
 *
 * function report(link: Link): void {
 *   const multi: MultiLink | undefined = link.multi;
 *   if (multi) console.log(`${multi.functions.length} functions, by ${multi.method}`);
 * }
 * ```
 */
export interface MultiLink {
  /** `kprobe.multi`, or `kprobe` if this kernel needs a kprobe for each function. */
  readonly method: 'kprobe.multi' | 'kprobe';
  /** The functions that the program runs for. */
  readonly functions: readonly AttachedFunction[];
  /** The functions that patterns matched, but that cannot be attached to. */
  readonly skipped: readonly SkippedFunction[];
}

/** A function to attach to. `isNamed`: the program names it, without a pattern. */
export interface MatchedFunction extends AttachedFunction {
  readonly isNamed: boolean;
}

/** Offsets into the attribute of BPF_LINK_CREATE for kprobe.multi, and its flag for returns. */
const At = { flags: 16, count: 20, symbols: 24, addresses: 32, cookies: 40, size: 48 } as const;
const ATTACH_TYPE = 42;
const AT_RETURN = 1;

const supported = new WeakMap<KernelFacts, boolean>();

/**
 * Whether this kernel has kprobe.multi links. Attaches a program of two instructions to a function for a
 * moment, once for each `Kernel` object.
 */
export function hasKprobeMulti(kernel: KernelFacts): boolean {
  const known = supported.get(kernel);
  if (known !== undefined) return known;
  const result = probe(kernel);
  const has = result !== -Errno.EINVAL && result !== -Errno.EOPNOTSUPP;
  // Other failures say nothing about the feature.
  if (!has || result >= 0) supported.set(kernel, has);
  if (result >= 0) kernel.syscalls.close(result);
  return has;
}

/** A function that every kernel has and can trace. */
const TRACEABLE = 'vprintk';

function probe(kernel: KernelFacts): number {
  const program = loadShortest(kernel, PROGRAM_TYPES.kprobe.number, ATTACH_TYPE);
  if (program < 0) return program;
  const result = createMultiLink(kernel, program, 'kprobe_multi', [
    { symbol: TRACEABLE, address: 0n, cookie: 0n },
  ]);
  kernel.syscalls.close(program);
  return result;
}

/**
 * Creates one link of a program to functions. Returns its descriptor, or minus the errno. Passes addresses,
 * which are never ambiguous, if they are known.
 */
export function createMultiLink(
  kernel: KernelFacts,
  program: number,
  kind: MultiAttachment['kind'],
  functions: readonly AttachedFunction[],
): number {
  const words = (value: (each: AttachedFunction) => bigint) =>
    new Uint8Array(BigUint64Array.from(functions, value).buffer);
  const attr = new Attr(kernel.syscalls, At.size)
    .u32(0, program)
    .u32(8, ATTACH_TYPE)
    .u32(At.flags, kind === 'kretprobe_multi' ? AT_RETURN : 0)
    .u32(At.count, functions.length);
  if (functions.some(({ cookie }) => cookie !== 0n))
    attr.pointer(
      At.cookies,
      words(({ cookie }) => cookie),
    );
  if (functions.every(({ address }) => address !== 0n))
    attr.pointer(
      At.addresses,
      words(({ address }) => address),
    );
  else
    attr.pointer(
      At.symbols,
      words(({ symbol }) => attr.addressOf(cString(symbol))),
    );
  return attr.send(Command.linkCreate);
}

/** The links of a program, the functions that they attach it to, and those that cannot be attached to. */
export interface Attached<T> {
  readonly links: readonly T[];
  readonly functions: readonly MatchedFunction[];
  readonly skipped: readonly SkippedFunction[];
}

/** Refusals of single functions after which attaching ends: the cause is then not the functions. */
const MOST_REFUSALS = 64;

/**
 * Attaches to all functions that can be attached to, with as few calls of `attach` as possible: if it returns
 * an error, to one half and then the other. Throws the error of a function that the program names, and that
 * of the first function if none can be attached to.
 */
export function attachAll<T>(
  functions: readonly MatchedFunction[],
  attach: (part: readonly MatchedFunction[]) => T | Error,
): Attached<T> {
  const links: T[] = [];
  const attached: MatchedFunction[] = [];
  const skipped: SkippedFunction[] = [];
  let refusal: Error | undefined;
  const pending: (readonly MatchedFunction[])[] = [functions];
  for (let part = pending.pop(); part !== undefined; part = pending.pop()) {
    const [only] = part;
    const link = attach(part);
    if (!(link instanceof Error)) {
      links.push(link);
      attached.push(...part);
    } else if (part.length > 1) {
      const half = part.length >> 1;
      pending.push(part.slice(half), part.slice(0, half));
    } else if (only) {
      if (only.isNamed) throw link;
      skipped.push({ symbol: only.symbol, reason: link.message });
      refusal ??= link;
      if (links.length === 0 && skipped.length >= MOST_REFUSALS) break;
    }
  }
  if (refusal && links.length === 0) throw refusal;
  return { links, functions: attached, skipped };
}

/**
 * Finds the functions that the patterns of a program match, in the order of /proc/kallsyms: of those that
 * ftrace can trace, if tracefs is mounted. A name without wildcards matches every function of that name.
 * @throws {SymbolError} if a pattern matches no function.
 */
export function matchFunctions(
  kernel: KernelFacts,
  { functions: patterns, cookies }: MultiAttachment,
  failure: Failure,
): { readonly matched: readonly MatchedFunction[]; readonly skipped: readonly SkippedFunction[] } {
  const content = readKallsyms(kernel.syscalls);
  if (content.length === 0)
    throw new NoSuchSymbolError(patterns.join(', '), {
      ...failure,
      hint: 'the names of functions are in /proc/kallsyms, which cannot be read: mount /proc (mount -t proc proc /proc)',
    });
  const text = patterns.some(isPattern) ? content.toString('latin1') : '';
  const traceable = text === '' ? undefined : readTraceable(kernel);
  const matched = new Map<string, MatchedFunction>();
  const skipped = new Map<string, SkippedFunction>();
  for (const [n, pattern] of patterns.entries()) {
    const isNamed = !isPattern(pattern);
    const matches = isNamed ? [] : matching(text, pattern);
    const usable = isNamed ? named(content, pattern) : withoutUntraceable(matches, text, traceable, skipped);
    if (usable.length === 0) throw noMatch(kernel, pattern, isNamed, matches.length, failure);
    for (const { name, address, module } of usable) {
      const key = address === 0n ? `${module} ${name}` : addressName(address);
      if (matched.has(key)) continue;
      const cookie = cookies?.[n] ?? BigInt(matched.size);
      matched.set(key, { symbol: name, address, cookie, isNamed, ...(module !== undefined && { module }) });
    }
  }
  return { matched: [...matched.values()], skipped: [...skipped.values()] };
}

function named(content: Buffer, pattern: string): readonly KernelFunction[] {
  const { module, symbol = '' } = parseFunctionName(pattern);
  return functionsNamed(content, symbol, module);
}

/** A function that a pattern matches, and the position of its line in /proc/kallsyms. */
interface Match extends KernelFunction {
  readonly line: number;
}

/** The functions in the text of /proc/kallsyms whose names match a pattern, `[module:]name`. */
function matching(text: string, pattern: string): readonly Match[] {
  const [name = '', module] = pattern.split(':', 2).reverse();
  const inModule = module === undefined ? '(?:\\t\\[(\\S+)\\])?' : `\\t\\[(${regularExpression(module)})\\]`;
  const line = new RegExp(`^([0-9a-f]+) [tTwW] (${regularExpression(name)})${inModule}$`, 'gm');
  return Array.from(text.matchAll(line), ({ index, 1: hex = '0', 2: symbol = '', 3: module }) => ({
    ...{ name: symbol, address: BigInt(`0x${hex}`), line: index },
    ...(module !== undefined && { module }),
  }));
}

/** The names of the function at a line: its own, and those of the lines around it with the same address. */
function aliases(text: string, { line, address, name }: Match): readonly string[] {
  if (address === 0n) return [name];
  const hex = text.slice(line, text.indexOf(' ', line) + 1);
  const names: string[] = [];
  const before = (start: number) => text.lastIndexOf('\n', start - 2) + 1;
  let start = line;
  while (start > 0 && text.startsWith(hex, before(start))) start = before(start);
  for (let end = 0; end >= 0 && text.startsWith(hex, start); start = end + 1) {
    end = text.indexOf('\n', start);
    const name = text.slice(start + hex.length + 2, end < 0 ? undefined : end);
    names.push(name.split('\t', 1)[0] ?? '');
  }
  return names;
}

/** A shell pattern as a regular expression: `*`, `?` and `[a-z]`. */
function regularExpression(pattern: string): string {
  return pattern.replaceAll(/\*|\?|\[!?[^\]]+\]|[\\^$.|+()[\]{}]/g, (part) => {
    if (part === '*') return '\\S*';
    if (part === '?') return '\\S';
    return part.length > 1 ? part.replace('[!', '[^') : `\\${part}`;
  });
}

/** How many functions of a name ftrace can trace, by name, or name and module: `nf_hook [nf_tables]`. */
type Traceable = ReadonlyMap<string, number>;

function readTraceable(kernel: KernelFacts): Traceable | undefined {
  const list = readTracingFile(kernel, 'available_filter_functions');
  if (typeof list === 'number') return undefined;
  const counts = new Map<string, number>();
  for (const line of list.split('\n')) counts.set(line, (counts.get(line) ?? 0) + 1);
  return counts;
}

/**
 * Drops the functions that ftrace cannot trace. It lists a function by one of its names. If it can trace only
 * some of several functions with a name, it does not say which, and all of them are skipped.
 */
function withoutUntraceable(
  found: readonly Match[],
  text: string,
  traceable: Traceable | undefined,
  skipped: Map<string, SkippedFunction>,
): readonly KernelFunction[] {
  if (traceable === undefined) return found;
  const lineOf = (name: string, module?: string) => (module === undefined ? name : `${name} [${module}]`);
  const counts = new Map<string, number>();
  for (const { name, module } of found)
    counts.set(lineOf(name, module), (counts.get(lineOf(name, module)) ?? 0) + 1);
  return found.filter((each) => {
    const { name, module } = each;
    const line = lineOf(name, module);
    const can = traceable.get(line);
    if (can === undefined) return aliases(text, each).some((alias) => traceable.has(lineOf(alias, module)));
    const all = counts.get(line) ?? 0;
    if (can < all)
      skipped.set(line, {
        symbol: name,
        reason: `the kernel can trace ${can} of the ${all} functions with this name, and does not say which`,
      });
    return can >= all;
  });
}

function noMatch(
  kernel: KernelFacts,
  pattern: string,
  isNamed: boolean,
  untraceable: number,
  failure: Failure,
): SymbolError {
  if (isNamed) return symbolError(kernel, pattern, 'kprobe', failure);
  const hint =
    untraceable > 0
      ? `the pattern matches ${untraceable} functions, and none of them can be traced; see available_filter_functions in tracefs`
      : 'no function of this kernel matches the pattern (* and ? stand for any characters, module:pattern for functions of a module); see available_filter_functions in tracefs, and load the module';
  return new NoSuchSymbolError(pattern, { ...failure, hint });
}
