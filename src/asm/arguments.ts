/**
 * The arguments and the result of a traced function or tracepoint, and their offsets in the program context.
 *
 * Sources: include/linux/bpf.h (`MAX_BPF_FUNC_ARGS`), kernel/bpf/btf.c (`btf_ctx_access`); calling
 * conventions: System V AMD64 ABI, section 3.2.3; AAPCS64, section 6.8.2.
 */
import type { Architecture } from './architecture.ts';
import type { Parameter, Prototype } from './btf.ts';
import type { ContextSlot } from './builder/context-layout.ts';
import { layoutOfPart } from './builder/kernel-pointer.ts';
import { layoutOf, u64 } from './layout.ts';

/** A function or tracepoint whose arguments a program reads. */
export interface TracedFunction {
  /** The name for messages: `tcp_v4_connect`. */
  readonly name: string;
  /** The hook's name for messages: `kprobe tcp_v4_connect`. */
  readonly hook: string;
  /** The prototype; absent if the kernel's types do not have it: then every argument is a u64. */
  readonly prototype: Prototype | undefined;
  /** The names of the parameters if the prototype has none; called only when they are needed. */
  readonly names?: () => readonly string[];
}

/** The position of arguments in the program context. */
export interface CallingConvention {
  /** Returns the offset of each argument of a prototype, or the reason why a program cannot read it. */
  readonly place: (parameters: readonly Parameter[]) => readonly (number | string)[];
  /** The offsets of 64-bit arguments, for functions without a prototype. */
  readonly slots: readonly number[];
  /** Whether the verifier knows from BTF what arguments point to. */
  readonly trusted: boolean;
}

const SLOT = 8;
const MOST_ARGUMENTS = 12;

function argumentSlots({ size }: { readonly size: number }): number {
  return Math.max(1, Math.ceil(size / SLOT));
}

/** The number of 8-byte slots that the parameters take. */
export function argumentSlotCount(parameters: readonly Parameter[]): number {
  return parameters.reduce((sum, parameter) => sum + argumentSlots(parameter), 0);
}

/**
 * Arguments in consecutive 8-byte slots, two for a struct of more than 8 bytes: raw tracepoints, tp_btf,
 * fentry, fexit.
 */
export function argumentArray(trusted: boolean): CallingConvention {
  return {
    place: (parameters) => parameters.map((_, n) => SLOT * argumentSlotCount(parameters.slice(0, n))),
    slots: Array.from({ length: MOST_ARGUMENTS }, (_, n) => SLOT * n),
    trusted,
  };
}

/** Arguments in processor registers, which a kprobe has saved. */
export function argumentRegisters({ name, kprobeArguments }: Architecture): CallingConvention {
  return {
    place: (parameters) => {
      let used = 0;
      return parameters.map((parameter) => {
        // A large struct is passed by address on arm64, and on the stack on x64.
        const large = parameter.size > 2 * SLOT;
        const wanted = large && name === 'arm64' ? 1 : argumentSlots(parameter);
        // On arm64 a 128-bit number begins in an even register.
        if (name === 'arm64' && parameter.kind === 'int' && wanted === 2) used += used % 2;
        const first = kprobeArguments[used];
        const fits = used + wanted <= kprobeArguments.length && !(large && name === 'x64');
        if (!fits || first === undefined) {
          if (name === 'arm64') used = kprobeArguments.length;
          return `is on the stack at a kprobe (${name} passes ${kprobeArguments.length} in registers); use fentry`;
        }
        used += wanted;
        if (large) return 'is a struct passed by address; use fentry';
        return wanted === 1 ? first : 'is in two registers at a kprobe; use fentry';
      });
    },
    slots: kprobeArguments,
    trusted: false,
  };
}

/** Returns a function that finds an argument by number or name. */
export function argumentsOf(called: TracedFunction, { place, slots, trusted }: CallingConvention) {
  return (wanted: number | string): ContextSlot => {
    const { name, hook, prototype } = called;
    if (prototype === undefined) return untyped(called, slots, trusted, wanted);
    const { parameters } = prototype;
    const index = typeof wanted === 'number' ? wanted : namesOf(called).indexOf(wanted);
    const parameter = parameters[index];
    if (parameter === undefined)
      throw new RangeError(`${hook} has no argument ${wanted}: ${describe(called, parameters)}`);
    const offset = place(parameters)[index] as number | string;
    if (typeof offset === 'string') throw new RangeError(`argument ${wanted} of ${name} ${offset}`);
    return slotOf(`argument ${wanted}`, offset, parameter, trusted);
  };
}

/** Returns the result by its type. @throws {RangeError} if the function returns nothing. */
export function resultOf({ name, prototype }: TracedFunction, offset: number): ContextSlot {
  if (prototype === undefined) return { name: 'the result', offset, layout: layoutOf(u64), trusted: false };
  const { returns } = prototype;
  if (returns === undefined) throw new RangeError(`${name} returns nothing`);
  // The context has only the first 8 bytes of a struct.
  return slotOf('the result', offset, { ...returns, size: Math.min(returns.size, SLOT) }, false);
}

function slotOf(
  name: string,
  offset: number,
  { kind, size, signed, bigEndian = false, pointsTo }: Omit<Parameter, 'name' | 'type'>,
  trusted: boolean,
): ContextSlot {
  const isNumber = kind === 'int' || kind === 'enum' || kind === 'pointer';
  const layout = layoutOfPart({ size, signed, array: !isNumber, bigEndian });
  // The verifier treats pointers to anything but structs as numbers.
  return { name, offset, layout, trusted: trusted && pointsTo !== undefined, ...(pointsTo && { pointsTo }) };
}

function untyped(
  { name, hook }: TracedFunction,
  slots: readonly number[],
  trusted: boolean,
  wanted: number | string,
): ContextSlot {
  if (typeof wanted === 'string')
    throw new RangeError(
      `${hook} has no argument '${wanted}': the kernel's types do not have ${name}; use the argument's number`,
    );
  const offset = slots[wanted];
  if (offset === undefined)
    throw new RangeError(`${hook}: argument ${wanted} cannot be read; only 0 to ${slots.length - 1} can`);
  return { name: `argument ${wanted}`, offset, layout: layoutOf(u64), trusted };
}

/** For messages: `tcp_v4_connect has 3 arguments: sk, uaddr, addr_len`. */
function describe(called: TracedFunction, parameters: readonly Parameter[]): string {
  const count = parameters.length;
  if (count === 0) return `${called.name} has no arguments`;
  const names = namesOf(called);
  const shown = names.map((name, n) => name || describeType(parameters[n]) || String(n)).join(', ');
  const hint = names.some(Boolean) ? '' : '; the types of this kernel do not name them: use numbers';
  return `${called.name} has ${count === 1 ? 'one argument' : `${count} arguments`}: ${shown}${hint}`;
}

function describeType(parameter: Parameter | undefined): string | undefined {
  return parameter?.pointsTo && `struct ${parameter.pointsTo.name} *`;
}

function namesOf({ prototype, names }: TracedFunction): readonly string[] {
  const own = prototype?.parameters.map(({ name }) => name) ?? [];
  const others = own.some((name) => name === '') ? names?.() : undefined;
  return others?.length === own.length ? others : own;
}
