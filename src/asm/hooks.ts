/**
 * The hooks: each makes a program for one kind of attach point from the program's body.
 */

import {
  argumentArray,
  argumentRegisters,
  argumentSlotCount,
  argumentsOf,
  resultOf,
  type TracedFunction,
} from './arguments.ts';
import { type BodyResult, requireSynchronous } from './body.ts';
import { Builder } from './builder/builder.ts';
import type { ContextLayout } from './builder/context-layout.ts';
import { reportAtCaller, userCode, withSourcePosition } from './error-position.ts';
import { addressName, type FunctionName, isPattern, parseFunctionName } from './function-name.ts';
import { NoSuchTracepointError } from './no-such-tracepoint.ts';
import { checkObjectName, objectNameOf } from './object-name.ts';
import { capture } from './position.ts';
import type { Attachment, ProgramSpec } from './program.ts';
import { PROGRAM_TYPES, type ProgramKind } from './program-types.ts';
import { inModule, kernelTypes, moduleTypes, type Target, tracepointFormat } from './target.ts';
import { formatField, type TracepointFormat } from './tracepoint-format.ts';

/**
 * The body of a program. The hook calls it once, and it emits the program's statements with `b`. It must not
 * be async.
 *
 * @example
 * ```ts
 * import { type Body, rawTracepoint, target } from 'tsbpf';
 *
 * const body: Body = (b) => b.exit();
 * const onCall = rawTracepoint('sys_enter', target('x64'), body);
 * ```
 */
export type Body = (b: Builder) => BodyResult;

interface Options {
  /**
   * The name that bpftool shows: 1 to 15 characters of [A-Za-z0-9_.]. By default the first 15 characters of
   * the symbol or tracepoint, with '_' for characters that a name cannot have.
   */
  readonly name?: string;
  /**
   * Whether a missing function or tracepoint skips the program instead of being an error; false by default.
   */
  readonly optional?: boolean;
}

/**
 * Makes a program that runs at the entry of a kernel function, through a breakpoint. It reads the arguments
 * in registers: the first six on x64, eight on arm64.
 *
 * `symbol` is a function's name, or `module:function`, `function+offset` or an address (a bigint, or text
 * such as `0xffffffff81234560`). A module's function has typed arguments if the target has the module's
 * types. At an offset the arguments may be gone, so the program has none; at an address they are u64.
 *
 * Throws RangeError for a bad name. What the body throws is not caught, here and in the other hooks.
 *
 * @example
 * ```ts
 * import { hash, kprobe, target, u64 } from 'tsbpf';
 *
 * const sockets = hash('sockets', { key: u64, value: u64, maxEntries: 10_240 });
 *
 * const onConnect = kprobe('tcp_v4_connect', target('x64'), (b) => b.count(sockets, b.arg(0)));
 * ```
 */
export function kprobe(
  symbol: string | bigint,
  target: Target,
  body: Body,
  options: Options = {},
): ProgramSpec {
  return atKprobe('kprobe', symbol, target, body, options);
}

/**
 * Makes a program that runs at the return of a kernel function. It reads the result (`b.retval`) but not the
 * arguments. The kernel tracks about two calls of a function per CPU at once. It misses the returns of
 * further calls, and counts them since Linux 6.7.
 *
 * `symbol` is as for `kprobe`, without an offset.
 *
 * @example
 * ```ts
 * import { hash, kretprobe, s64, target, u64 } from 'tsbpf';
 *
 * const results = hash('results', { key: s64, value: u64, maxEntries: 64 });
 *
 * const onReturn = kretprobe('tcp_v4_connect', target('x64'), (b) => b.count(results, b.retval.as(s64)));
 * ```
 */
export function kretprobe(
  symbol: string | bigint,
  target: Target,
  body: Body,
  options: Options = {},
): ProgramSpec {
  return atKprobe('kretprobe', symbol, target, body, options);
}

function atKprobe(
  kind: 'kprobe' | 'kretprobe',
  at: string | bigint,
  target: Target,
  body: Body,
  options: Options,
): ProgramSpec {
  const symbol = typeof at === 'bigint' ? addressName(at) : at;
  const name = reportAtCaller(() => {
    const parsed = parseFunctionName(symbol);
    requireOne(kind, symbol);
    if (kind === 'kretprobe') requireEntry(kind, symbol, parsed);
    return parsed;
  });
  const on = inModule(target, name.module);
  const context = contextOf(kind, functionOf(on, symbol, name), target);
  return program({ kind, symbol }, on, context, body, options);
}

/**
 * The functions of a kprobe.multi program: a name or pattern, a list of them, or an object that maps each to
 * its cookie.
 *
 * @example
 * ```ts
 * import type { Functions } from 'tsbpf';
 *
 * const functions: Functions = { 'tcp_*': 6, 'udp_*': 17 };
 * ```
 */
export type Functions = string | readonly string[] | Readonly<Record<string, bigint | number>>;

/**
 * Makes a program that runs at the entries of many kernel functions, attached by one link (Linux 5.18). On
 * older kernels, and without CONFIG_FPROBE, it is attached by a kprobe for each function.
 *
 * `functions` are names and patterns: `*` stands for any characters, `?` for one, `[a-z]` for one of a set.
 * `module:pattern` matches functions of a module. Each must match at least one function. The program reads
 * the arguments as u64, by number. `getAttachCookie` returns the number of the function, which is that of
 * its pattern if `functions` is an object; `link.multi` of `session.links` has the functions by these
 * numbers, and those that the kernel does not allow.
 *
 * Throws RangeError for a bad name, no function, or a cookie that is no 64-bit number.
 *
 * @example
 * ```ts
 * import { getAttachCookie, hash, Kernel, kprobeMulti, Session, target, u64 } from 'tsbpf';
 *
 * const calls = hash('calls', { key: u64, value: u64, maxEntries: 10_240 });
 * const onCall = kprobeMulti('tcp_*', target(process.arch), (b) => b.count(calls, b.call(getAttachCookie)));
 *
 * function watch(kernel: Kernel): void {
 *   const session = Session.open({ name: 'calls', programs: [onCall] }, { kernel });
 *   for (const { symbol, cookie } of session.links[0]?.multi?.functions ?? []) console.log(cookie, symbol);
 *   session.close();
 * }
 * ```
 */
export function kprobeMulti(
  functions: Functions,
  target: Target,
  body: Body,
  options: Options = {},
): ProgramSpec {
  return atFunctions('kprobe_multi', functions, target, body, options);
}

/**
 * Makes a program that runs at the returns of many kernel functions. It reads the result (`b.retval`).
 * Otherwise like `kprobeMulti`.
 *
 * @example
 * ```ts
 * import { hash, kretprobeMulti, s32, target, u64 } from 'tsbpf';
 *
 * const results = hash('results', { key: s32, value: u64, maxEntries: 1024 });
 *
 * const onReturn = kretprobeMulti(['tcp_v4_connect', 'tcp_v6_connect'], target('x64'), (b) =>
 *   b.count(results, b.retval.as(s32)),
 * );
 * ```
 */
export function kretprobeMulti(
  functions: Functions,
  target: Target,
  body: Body,
  options: Options = {},
): ProgramSpec {
  return atFunctions('kretprobe_multi', functions, target, body, options);
}

function atFunctions(
  kind: 'kprobe_multi' | 'kretprobe_multi',
  functions: Functions,
  target: Target,
  body: Body,
  options: Options,
): ProgramSpec {
  const listed = typeof functions === 'string' ? [functions] : functions;
  const patterns = isList(listed) ? listed : Object.keys(listed);
  const cookies = reportAtCaller(() => {
    if (patterns.length === 0)
      throw new RangeError(`${PROGRAM_TYPES[kind].title} has no function; name at least one`);
    for (const pattern of patterns) requirePattern(kind, pattern);
    return isList(listed) ? undefined : Object.values(listed).map(cookieOf);
  });
  const name =
    patterns.length === 1 ? (patterns[0] as string) : `${patterns[0]} and ${patterns.length - 1} more`;
  const context = contextOf(kind, { name, prototype: undefined }, target);
  const attachment = { kind, functions: patterns, ...(cookies && { cookies }) };
  return program(attachment, target, context, body, options);
}

function isList(functions: Exclude<Functions, string>): functions is readonly string[] {
  return Array.isArray(functions);
}

/** @throws {RangeError} unless a cookie is an unsigned 64-bit number. */
function cookieOf(cookie: bigint | number): bigint {
  const number = typeof cookie === 'bigint' || Number.isInteger(cookie) ? BigInt(cookie) : undefined;
  if (number === undefined || BigInt.asUintN(64, number) !== number)
    throw new RangeError(`the cookie ${cookie} is no unsigned 64-bit number`);
  return number;
}

/** Throws RangeError unless a text is a function's name or a pattern of names. */
function requirePattern(kind: ProgramKind, pattern: string): void {
  const parsed = parseFunctionName(pattern);
  requireEntry(kind, pattern, parsed);
  if (parsed.symbol === undefined)
    throw new RangeError(`${kind} ${pattern}: it takes names and patterns; for an address use kprobe`);
}

/** Throws RangeError for a pattern of names. */
function requireOne(kind: ProgramKind, symbol: string): void {
  if (isPattern(symbol))
    throw new RangeError(
      `${kind} ${symbol}: only kprobeMulti and kretprobeMulti take patterns; name one function`,
    );
}

/** Throws RangeError unless a name refers to the entry of a function. */
function requireEntry(kind: ProgramKind, symbol: string, { offset }: FunctionName): void {
  if (offset !== 0)
    throw new RangeError(`${kind} ${symbol}: only a kprobe has an offset; remove it, or use kprobe`);
}

/**
 * Makes a program that the entry of a kernel function calls, without a breakpoint (Linux 5.5). It
 * reads all arguments, and kernel structures by plain loads.
 *
 * `symbol` is a function's name, or `module:function` (Linux 5.11), for which the target needs the module's
 * types: `{ ...target(process.arch, kernel.btf), modules: { nf_nat: kernel.moduleBtf('nf_nat') } }`.
 *
 * Throws NoBtfError if the target has no kernel types, or not those of the module. If they do not have the
 * function, loading the program throws NoSuchSymbolError.
 *
 * @example
 * ```ts
 * import { fentry, hash, Kernel, target, u64 } from 'tsbpf';
 *
 * const sockets = hash('sockets', { key: u64, value: u64, maxEntries: 10_240 });
 *
 * const on = target(process.arch, new Kernel().btf);
 * const onConnect = fentry('tcp_v4_connect', on, (b) => b.count(sockets, b.arg('sk')));
 * ```
 */
export function fentry(symbol: string, target: Target, body: Body, options: Options = {}): ProgramSpec {
  return atFunction('fentry', symbol, target, body, options);
}

/**
 * Makes a program that the return of a kernel function calls, with its result and its arguments (Linux 5.5).
 * Otherwise like `fentry`.
 *
 * @example
 * ```ts
 * import { fexit, hash, Kernel, s32, target, u64 } from 'tsbpf';
 *
 * const results = hash('results', { key: s32, value: u64, maxEntries: 64 });
 *
 * const on = target(process.arch, new Kernel().btf);
 * const onReturn = fexit('tcp_v4_connect', on, (b) => b.count(results, b.retval.as(s32)));
 * ```
 */
export function fexit(symbol: string, target: Target, body: Body, options: Options = {}): ProgramSpec {
  return atFunction('fexit', symbol, target, body, options);
}

/**
 * Makes a program for a hook of the Linux Security Modules, such as `file_open` (Linux 5.7, CONFIG_BPF_LSM,
 * and `bpf` among the modules of `/sys/kernel/security/lsm`). It reads all arguments, and kernel structures
 * by plain loads. Only such a program may use an `inodeStorage`.
 *
 * The program returns 0, which allows the operation, unless it exits with a negative errno, which denies it:
 * `b.exit(-1)`. `b.retval` is the decision of the programs before it. Otherwise like `fentry`.
 *
 * @example
 * ```ts
 * import { hash, Kernel, lsm, target, u32, u64 } from 'tsbpf';
 *
 * const opened = hash('opened', { key: u32, value: u64, maxEntries: 10_240 });
 *
 * const on = target(process.arch, new Kernel().btf);
 * const onOpen = lsm('file_open', on, (b) => {
 *   const { flags } = b.kernel(b.arg('file')).fields({ flags: 'f_flags' });
 *   b.count(opened, flags);
 * });
 * ```
 */
export function lsm(hook: string, target: Target, body: Body, options: Options = {}): ProgramSpec {
  return atFunction('lsm', `bpf_lsm_${hook}`, target, body, { name: objectNameOf(hook), ...options });
}

function atFunction(
  kind: 'fentry' | 'fexit' | 'lsm',
  symbol: string,
  target: Target,
  body: Body,
  options: Options,
): ProgramSpec {
  const { name, on, btfId } = reportAtCaller(() => {
    const parsed = parseFunctionName(symbol);
    requireOne(kind, symbol);
    requireEntry(kind, symbol, parsed);
    if (parsed.symbol === undefined)
      throw new RangeError(
        `${kind} ${symbol}: only a kprobe has an address; name the function, or use kprobe`,
      );
    const kernel = kernelTypes(target, `the function ${symbol}`);
    const types = parsed.module === undefined ? kernel : moduleTypes(target, parsed.module, symbol);
    const id = types.find('func', parsed.symbol);
    // A module's types extend the kernel's, whose functions are not in the module.
    const isElsewhere = types !== kernel && id !== undefined && id <= kernel.count;
    return { name: parsed, on: { ...target, kernel: types }, btfId: isElsewhere ? undefined : id };
  });
  const context = contextOf(kind, functionOf(on, symbol, name), target);
  return program({ kind, symbol, btfId }, on, context, body, options);
}

/**
 * Makes a program for a raw tracepoint (Linux 4.17). It reads the arguments that the kernel passes to the
 * tracepoint, and kernel structures by `bpf_probe_read_kernel`.
 *
 * @example
 * ```ts
 * import { hash, rawTracepoint, target, u64 } from 'tsbpf';
 *
 * const calls = hash('calls', { key: u64, value: u64, maxEntries: 512 });
 *
 * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => b.count(calls, b.arg(1)));
 * ```
 */
export function rawTracepoint(
  tracepoint: string,
  target: Target,
  body: Body,
  options: Options = {},
): ProgramSpec {
  const context = contextOf('raw_tracepoint', tracepointOf(target, tracepoint), target);
  return program({ kind: 'raw_tracepoint', tracepoint }, target, context, body, options);
}

/**
 * Makes a program for a raw tracepoint whose arguments the verifier knows by BTF (Linux 5.5). It reads kernel
 * structures by plain loads.
 *
 * Throws NoBtfError if the target has no kernel types, and NoSuchTracepointError if they do not have the
 * tracepoint.
 *
 * @example
 * ```ts
 * import { hash, Kernel, target, tpBtf, u64 } from 'tsbpf';
 *
 * const calls = hash('calls', { key: u64, value: u64, maxEntries: 512 });
 *
 * const on = target(process.arch, new Kernel().btf);
 * const onCall = tpBtf('sys_enter', on, (b) => b.count(calls, b.arg(1).as(u64)));
 * ```
 */
export function tpBtf(tracepoint: string, target: Target, body: Body, options: Options = {}): ProgramSpec {
  const btfId = reportAtCaller(() => kernelTypes(target)).find('typedef', `btf_trace_${tracepoint}`);
  if (btfId === undefined) throw withSourcePosition(new NoSuchTracepointError(tracepoint));
  const context = contextOf('tp_btf', tracepointOf(target, tracepoint), target);
  return program({ kind: 'tp_btf', tracepoint, btfId }, target, context, body, options);
}

/**
 * Makes a program for a classic tracepoint, which reads the fields of its record (`b.field`). It needs no
 * kernel types, only the record's format among the target's `formats`. The program returns 1 by default,
 * because 0 would keep the record from other readers, such as `perf record`.
 *
 * Throws RangeError if the target does not have the format.
 *
 * @example
 * ```ts
 * import { array, target, tracepoint, u64 } from 'tsbpf';
 * import { parseTracepointFormat } from 'tsbpf/btf';
 *
 * const allocated = array('allocated', { value: u64 });
 * // On a running system: readTracepointFormat('kmem', 'kmalloc')
 * const format = parseTracepointFormat('kmem', 'kmalloc', `name: kmalloc
 * ID: 400
 * format:
 * \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
 * \tfield:size_t bytes_alloc;\toffset:32;\tsize:8;\tsigned:0;
 * `);
 *
 * const onAllocation = tracepoint('kmem', 'kmalloc', { ...target('x64'), formats: [format] }, (b) => {
 *   const bytes = b.keep(b.field('bytes_alloc'));
 *   b.count(allocated, 0, bytes);
 * });
 * ```
 */
export function tracepoint(
  category: string,
  name: string,
  target: Target,
  body: Body,
  options: Options = {},
): ProgramSpec {
  const format = reportAtCaller(() => tracepointFormat(target, category, name));
  const context = contextOf(
    'tracepoint',
    { name: `${category}:${name}`, prototype: undefined },
    target,
    format,
  );
  return program({ kind: 'tracepoint', category, tracepoint: name }, target, context, body, options);
}

/** A traced function or tracepoint; `isInside` if it is an instruction after the entry of a function. */
type Traced = Omit<TracedFunction, 'hook'> & { readonly isInside?: boolean };

/** The context layout of a program at a function or tracepoint, by the row of its program type. */
function contextOf(
  kind: ProgramKind,
  on: Traced,
  { architecture }: Target,
  format?: TracepointFormat,
): ContextLayout {
  const { title, context, trusted } = PROGRAM_TYPES[kind];
  const name = `${title} ${on.name}`;
  const called = { ...on, hook: name };
  const none = (why: string) => (wanted: number | string) => {
    throw new RangeError(`${name} has no argument ${wanted}: ${why}`);
  };
  switch (context) {
    case 'pt_regs':
      return {
        ...{ kind, name },
        argument: on.isInside
          ? none('registers may have changed before this instruction; probe the entry of the function')
          : argumentsOf(called, argumentRegisters(architecture)),
      };
    case 'pt_regs_at_return':
      return {
        ...{ kind, name, argument: none('the arguments are gone at the return') },
        retval: () => resultOf(called, architecture.kprobeReturn),
      };
    case 'array':
      return { kind, name, argument: argumentsOf(called, argumentArray(trusted)) };
    case 'array_with_result': {
      // A program for a missing function cannot be loaded, so the offset of its result does not matter.
      const offset = 8 * argumentSlotCount(called.prototype?.parameters ?? []);
      return {
        ...{ kind, name, argument: argumentsOf(called, argumentArray(trusted)) },
        retval: () => resultOf(called, offset),
      };
    }
    case 'record':
      return {
        ...{ kind, name, argument: none('it has a record, whose fields b.field(name) reads') },
        field: (wanted: string) => formatField(format as TracepointFormat, wanted),
      };
  }
}

/** A function and, if the target's types have it, its prototype. `text` names it in messages. */
function functionOf({ kernel }: Target, text: string, { symbol, offset }: FunctionName): Traced {
  const id = symbol === undefined ? undefined : kernel?.find('func', symbol);
  const prototype = id === undefined ? undefined : kernel?.prototypeOf(id);
  return { name: text, prototype, ...(offset !== 0 && { isInside: true }) };
}

/**
 * A raw tracepoint and, if the target's types have it, its prototype, without the first parameter, which is
 * the kernel's own.
 */
function tracepointOf({ kernel }: Target, tracepoint: string): Omit<TracedFunction, 'hook'> {
  const id = kernel?.find('typedef', `btf_trace_${tracepoint}`);
  if (kernel === undefined || id === undefined) return { name: tracepoint, prototype: undefined };
  const { parameters, ...others } = kernel.prototypeOf(id);
  // Types of function pointers have no names of parameters; the function that calls the programs has.
  const names = () => {
    const caller = kernel.find('func', `__bpf_trace_${tracepoint}`);
    return caller === undefined
      ? []
      : kernel
          .prototypeOf(caller)
          .parameters.slice(1)
          .map(({ name }) => name);
  };
  return { name: tracepoint, prototype: { ...others, parameters: parameters.slice(1) }, names };
}

/** What the default name of a program is made from: a function without its module, or a tracepoint. */
function nameOf(attachment: Attachment): string {
  if ('functions' in attachment) return attachment.functions[0] ?? '';
  return 'symbol' in attachment ? attachment.symbol.replace(/^.*:/, '') : attachment.tracepoint;
}

function program(
  attachment: Attachment,
  target: Target,
  context: ContextLayout,
  body: Body,
  { name: chosen, optional = false }: Options,
): ProgramSpec {
  const name = chosen ?? objectNameOf(nameOf(attachment));
  checkObjectName('program', name);
  const builder = new Builder(target, context);
  const result = userCode(() => body(builder));
  reportAtCaller(() => requireSynchronous(result));
  return {
    name,
    attachment,
    instructions: builder.finish(capture(program)),
    optional,
  };
}
