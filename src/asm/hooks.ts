/**
 * What a program can be attached to: each takes the program's body and gives the program as a value.
 */
import { authors, blame, pointing } from './blame.ts';
import { Builder } from './builder/builder.ts';
import type { Context } from './builder/context.ts';
import { checkObjectName, objectNameOf } from './object-name.ts';
import { capture } from './position.ts';
import type { Attachment, ProgramSpec } from './program.ts';
import { kernelTypes, type Target, tracepointFormat } from './target.ts';
import { formatField } from './tracepoint-format.ts';

/** Emits a program. What it throws is a mistake of its author's. */
export type Body = (b: Builder) => void;

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
  const { kprobeArguments } = target.architecture;
  const context = { argument: (n: number) => kprobeArguments[n], trusted: false, name: `kprobe ${symbol}` };
  return program({ kind: 'kprobe', symbol }, target, context, body, options);
}

/**
 * The return of a kernel function, with its result and nothing else: its arguments are gone by then. The kernel follows as many calls of
 * a function at once as it has made room for, some two a CPU; the returns of further ones are missed, and counted from Linux 6.7 on.
 */
export function kretprobe(symbol: string, target: Target, body: Body, options: Options = {}): ProgramSpec {
  const context = {
    argument: () => undefined,
    returned: target.architecture.kprobeReturn,
    trusted: false,
    name: `kretprobe ${symbol}`,
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
  const context = { argument: slot, trusted: true, name: `fentry ${symbol}` };
  return program({ kind: 'fentry', symbol, btfId }, target, context, body, options);
}

/**
 * The return of a kernel function, with its result and the arguments that it was called with (Linux 5.5); otherwise as `fentry`.
 */
export function fexit(symbol: string, target: Target, body: Body, options: Options = {}): ProgramSpec {
  const types = kernelTypes(target, `the function ${symbol}`);
  const btfId = types.find('func', symbol);
  // What isn't there won't be loaded, wherever its result would lie.
  const returned = btfId === undefined ? 0 : 8 * types.argumentSlots(btfId);
  const context = { argument: slot, returned, trusted: true, name: `fexit ${symbol}` };
  return program({ kind: 'fexit', symbol, btfId }, target, context, body, options);
}

/** A raw tracepoint (Linux 4.17): its arguments as the kernel passes them. Structures are read by probe. */
export function rawTracepoint(
  tracepoint: string,
  target: Target,
  body: Body,
  options: Options = {},
): ProgramSpec {
  const context = { argument: slot, trusted: false, name: `raw tracepoint ${tracepoint}` };
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
  const context = { argument: slot, trusted: true, name: `tracepoint ${tracepoint}` };
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
  const context = {
    argument: () => undefined,
    field: (wanted: string) => formatField(format, wanted),
    result: 1,
    trusted: false,
    name: `tracepoint ${category}:${name}`,
  };
  return program({ kind: 'tracepoint', category, tracepoint: name }, target, context, body, options);
}

/** Arguments of raw tracepoints and of fentry are an array of u64, 12 at most (MAX_BPF_FUNC_ARGS, include/linux/bpf.h). */
function slot(n: number): number | undefined {
  return n >= 0 && n < 12 ? 8 * n : undefined;
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
  authors(() => body(builder));
  return {
    name,
    attachment,
    instructions: builder.finish(capture(program)),
    optional,
  };
}
