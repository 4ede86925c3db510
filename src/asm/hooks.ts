/**
 * What a program can be attached to: each takes the program's body and gives the program as a value.
 */
import { argumentsOf, type Called, inArray, inRegisters, resultOf, slotCount } from './arguments.ts';
import { authors, blame, pointing } from './blame.ts';
import { type Emission, requireSynchronous } from './body.ts';
import { Builder } from './builder/builder.ts';
import type { Context } from './builder/context.ts';
import { checkObjectName, objectNameOf } from './object-name.ts';
import { capture } from './position.ts';
import type { Attachment, ProgramSpec } from './program.ts';
import { kernelTypes, type Target, tracepointFormat } from './target.ts';
import { formatField } from './tracepoint-format.ts';

/** Emits a program. What it throws is a mistake of its author's. */
export type Body = (b: Builder) => Emission;

interface Options {
  /**
   * The name that bpftool shows: 1 to 15 characters of [A-Za-z0-9_.]. Default: the first 15 characters of the
   * symbol or tracepoint, '_' for those that a name cannot have.
   */
  readonly name?: string;
  /** Left out, not an error, where the kernel has nothing of that name. */
  readonly optional?: boolean;
}

/** The entry of a kernel function, with its arguments (x64: the first six, arm64: eight) in the saved registers. */
export function kprobe(symbol: string, target: Target, body: Body, options: Options = {}): ProgramSpec {
  const name = `kprobe ${symbol}`;
  const argument = argumentsOf(functionOf(target, symbol, name), inRegisters(target.architecture));
  const context = { kind: 'kprobe' as const, argument, name };
  return program({ kind: 'kprobe', symbol }, target, context, body, options);
}

/**
 * The return of a kernel function, with its result and nothing else: its arguments are gone by then. The kernel follows as many calls of
 * a function at once as it has made room for, some two a CPU; the returns of further ones are missed, and counted from Linux 6.7 on.
 */
export function kretprobe(symbol: string, target: Target, body: Body, options: Options = {}): ProgramSpec {
  const name = `kretprobe ${symbol}`;
  const context = {
    kind: 'kretprobe' as const,
    argument: noArguments(name, 'the arguments are gone at the return'),
    returned: () => resultOf(functionOf(target, symbol, name), target.architecture.kprobeReturn),
    name,
  };
  return program({ kind: 'kretprobe', symbol }, target, context, body, options);
}

/**
 * The entry of a kernel function, with all its arguments (Linux 5.5): called by the function itself, without a trap. Structures
 * are read by plain loads. Where the kernel's types have no such function the program is made nevertheless, and loading it
 * throws NoSuchSymbolError.
 */
export function fentry(symbol: string, target: Target, body: Body, options: Options = {}): ProgramSpec {
  const btfId = pointing(() => kernelTypes(target, `the function ${symbol}`)).find('func', symbol);
  const name = `fentry ${symbol}`;
  const argument = argumentsOf(functionOf(target, symbol, name), inArray(true));
  const context = { kind: 'fentry' as const, argument, name };
  return program({ kind: 'fentry', symbol, btfId }, target, context, body, options);
}

/**
 * The return of a kernel function, with its result and the arguments that it was called with (Linux 5.5); otherwise as `fentry`.
 */
export function fexit(symbol: string, target: Target, body: Body, options: Options = {}): ProgramSpec {
  const btfId = pointing(() => kernelTypes(target, `the function ${symbol}`)).find('func', symbol);
  const name = `fexit ${symbol}`;
  const called = functionOf(target, symbol, name);
  // A program for a missing function cannot be loaded, so the offset of its result does not matter.
  const offset = 8 * slotCount(called.prototype?.parameters ?? []);
  const argument = argumentsOf(called, inArray(true));
  const context = { kind: 'fexit' as const, argument, returned: () => resultOf(called, offset), name };
  return program({ kind: 'fexit', symbol, btfId }, target, context, body, options);
}

/** A raw tracepoint (Linux 4.17): its arguments as the kernel passes them. Structures are read by probe. */
export function rawTracepoint(
  tracepoint: string,
  target: Target,
  body: Body,
  options: Options = {},
): ProgramSpec {
  const name = `raw tracepoint ${tracepoint}`;
  const argument = argumentsOf(tracepointOf(target, tracepoint, name), inArray(false));
  const context = { kind: 'raw_tracepoint' as const, argument, name };
  return program({ kind: 'raw_tracepoint', tracepoint }, target, context, body, options);
}

/** The target's kernel types have no such tracepoint. */
export class NoSuchTracepoint extends Error {
  override readonly name = 'NoSuchTracepoint';
  readonly tracepoint: string;

  constructor(tracepoint: string) {
    super(`this kernel's types have no tracepoint ${tracepoint} (no typedef btf_trace_${tracepoint})`);
    this.tracepoint = tracepoint;
  }
}

/**
 * A raw tracepoint whose arguments the verifier knows by BTF (Linux 5.5). Structures are read by plain loads. Throws
 * NoSuchTracepoint where the target's types don't have it.
 */
export function tpBtf(tracepoint: string, target: Target, body: Body, options: Options = {}): ProgramSpec {
  const btfId = pointing(() => kernelTypes(target)).find('typedef', `btf_trace_${tracepoint}`);
  if (btfId === undefined) throw blame(new NoSuchTracepoint(tracepoint));
  const name = `tracepoint ${tracepoint}`;
  const argument = argumentsOf(tracepointOf(target, tracepoint, name), inArray(true));
  const context = { kind: 'tp_btf' as const, argument, name };
  return program({ kind: 'tp_btf', tracepoint, btfId }, target, context, body, options);
}

/**
 * A tracepoint by its record, whose fields `b.field(name)` reads. Needs no types of the kernel, only the record's format, which the
 * target has. The program returns 1 where it says nothing else: 0 would keep the record from others, as from `perf record`.
 */
export function tracepoint(
  category: string,
  name: string,
  target: Target,
  body: Body,
  options: Options = {},
): ProgramSpec {
  const format = pointing(() => tracepointFormat(target, category, name));
  const of = `tracepoint ${category}:${name}`;
  const context = {
    argument: noArguments(of, 'it has a record, whose fields b.field(name) reads'),
    field: (wanted: string) => formatField(format, wanted),
    kind: 'tracepoint' as const,
    name: of,
  };
  return program({ kind: 'tracepoint', category, tracepoint: name }, target, context, body, options);
}

/** A function and, if the target's types have it, its prototype. */
function functionOf({ kernel }: Target, symbol: string, hook: string): Called {
  const id = kernel?.find('func', symbol);
  return { name: symbol, hook, prototype: id === undefined ? undefined : kernel?.prototypeOf(id) };
}

/** A raw tracepoint and, if the target's types have it, its prototype, without the first parameter, which is the kernel's own. */
function tracepointOf({ kernel }: Target, tracepoint: string, hook: string): Called {
  const id = kernel?.find('typedef', `btf_trace_${tracepoint}`);
  if (kernel === undefined || id === undefined) return { name: tracepoint, hook, prototype: undefined };
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
  return { name: tracepoint, hook, prototype: { ...others, parameters: parameters.slice(1) }, names };
}

function noArguments(name: string, why: string): (wanted: number | string) => never {
  return (wanted) => {
    throw new RangeError(`${name} has no argument ${wanted}: ${why}`);
  };
}

function program(
  attachment: Attachment,
  target: Target,
  context: Context,
  body: Body,
  { name: chosen, optional = false }: Options,
): ProgramSpec {
  const name = chosen ?? objectNameOf('symbol' in attachment ? attachment.symbol : attachment.tracepoint);
  checkObjectName('program', name);
  const builder = new Builder(target, context);
  const result = authors(() => body(builder));
  pointing(() => requireSynchronous(result));
  return {
    name,
    attachment,
    instructions: builder.finish(capture(program)),
    optional,
  };
}
