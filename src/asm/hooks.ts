/**
 * What a program can be attached to: each takes the program's body and gives the program as a value.
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
import { TsbpfError } from './error.ts';
import { reportAtCaller, userCode, withSourcePosition } from './error-position.ts';
import { checkObjectName, objectNameOf } from './object-name.ts';
import { capture } from './position.ts';
import type { Attachment, ProgramSpec } from './program.ts';
import { PROGRAM_TYPES, type ProgramKind } from './program-types.ts';
import { kernelTypes, type Target, tracepointFormat } from './target.ts';
import { formatField, type TracepointFormat } from './tracepoint-format.ts';

/** Emits a program. What it throws is a mistake of its author's. */
export type Body = (b: Builder) => BodyResult;

interface Options {
  /**
   * The name that bpftool shows: 1 to 15 characters of [A-Za-z0-9_.]. Default: the first 15 characters of the
   * symbol or tracepoint, '_' for those that a name cannot have.
   */
  readonly name?: string;
  /** Left out, not an error, where the kernel has nothing of that name. */
  readonly optional?: boolean;
}

/**
 * The entry of a kernel function. Its arguments are in the saved registers: the first six on x64, eight on
 * arm64.
 */
export function kprobe(symbol: string, target: Target, body: Body, options: Options = {}): ProgramSpec {
  const context = contextOf('kprobe', functionOf(target, symbol), target);
  return program({ kind: 'kprobe', symbol }, target, context, body, options);
}

/**
 * The return of a kernel function, with its result. Its arguments are gone by then. The kernel follows a
 * limited number of calls of a function at once, about two for each CPU. It misses the returns of further
 * calls, and counts them from Linux 6.7 on.
 */
export function kretprobe(symbol: string, target: Target, body: Body, options: Options = {}): ProgramSpec {
  const context = contextOf('kretprobe', functionOf(target, symbol), target);
  return program({ kind: 'kretprobe', symbol }, target, context, body, options);
}

/**
 * The entry of a kernel function, with all its arguments (Linux 5.5). The function itself calls the program,
 * without a trap. Structures are read by plain loads. If the kernel's types have no such function, loading the
 * program throws NoSuchSymbolError.
 */
export function fentry(symbol: string, target: Target, body: Body, options: Options = {}): ProgramSpec {
  return atFunction('fentry', symbol, target, body, options);
}

/**
 * The return of a kernel function, with its result and the arguments that it was called with (Linux 5.5);
 * otherwise like `fentry`.
 */
export function fexit(symbol: string, target: Target, body: Body, options: Options = {}): ProgramSpec {
  return atFunction('fexit', symbol, target, body, options);
}

function atFunction(
  kind: 'fentry' | 'fexit',
  symbol: string,
  target: Target,
  body: Body,
  options: Options,
): ProgramSpec {
  const btfId = reportAtCaller(() => kernelTypes(target, `the function ${symbol}`)).find('func', symbol);
  const context = contextOf(kind, functionOf(target, symbol), target);
  return program({ kind, symbol, btfId }, target, context, body, options);
}

/** A raw tracepoint (Linux 4.17), with its arguments as the kernel passes them. Structures are read by probe. */
export function rawTracepoint(
  tracepoint: string,
  target: Target,
  body: Body,
  options: Options = {},
): ProgramSpec {
  const context = contextOf('raw_tracepoint', tracepointOf(target, tracepoint), target);
  return program({ kind: 'raw_tracepoint', tracepoint }, target, context, body, options);
}

/** The target's kernel types have no such tracepoint. */
export class NoSuchTracepointError extends TsbpfError {
  override readonly name = 'NoSuchTracepointError';
  override readonly code = 'ERR_BTF_NO_TRACEPOINT';
  readonly tracepoint: string;

  constructor(tracepoint: string) {
    super(`this kernel's types have no tracepoint ${tracepoint} (no typedef btf_trace_${tracepoint})`);
    this.tracepoint = tracepoint;
  }
}

/**
 * A raw tracepoint whose arguments the verifier knows by BTF (Linux 5.5). Structures are read by plain loads.
 * Throws NoSuchTracepointError if the target's types do not have it.
 */
export function tpBtf(tracepoint: string, target: Target, body: Body, options: Options = {}): ProgramSpec {
  const btfId = reportAtCaller(() => kernelTypes(target)).find('typedef', `btf_trace_${tracepoint}`);
  if (btfId === undefined) throw withSourcePosition(new NoSuchTracepointError(tracepoint));
  const context = contextOf('tp_btf', tracepointOf(target, tracepoint), target);
  return program({ kind: 'tp_btf', tracepoint, btfId }, target, context, body, options);
}

/**
 * A tracepoint by its record, whose fields `b.field(name)` reads. It needs no types of the kernel, only the
 * record's format, which the target has. The program returns 1 by default: 0 would keep the record from other
 * readers, such as `perf record`.
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

/** The context of a program at a function or tracepoint, by the row of its type. */
function contextOf(
  kind: ProgramKind,
  on: Omit<TracedFunction, 'hook'>,
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
      return { kind, name, argument: argumentsOf(called, argumentRegisters(architecture)) };
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

/** A function and, if the target's types have it, its prototype. */
function functionOf({ kernel }: Target, symbol: string): Omit<TracedFunction, 'hook'> {
  const id = kernel?.find('func', symbol);
  return { name: symbol, prototype: id === undefined ? undefined : kernel?.prototypeOf(id) };
}

/** A raw tracepoint and, if the target's types have it, its prototype, without the first parameter, which is the kernel's own. */
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

function program(
  attachment: Attachment,
  target: Target,
  context: ContextLayout,
  body: Body,
  { name: chosen, optional = false }: Options,
): ProgramSpec {
  const name = chosen ?? objectNameOf('symbol' in attachment ? attachment.symbol : attachment.tracepoint);
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
