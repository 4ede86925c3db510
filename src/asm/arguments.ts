/**
 * Arguments and results of functions and tracepoints in a program's context.
 *
 * Sources: include/linux/bpf.h (`MAX_BPF_FUNC_ARGS`), kernel/bpf/btf.c (`btf_ctx_access`), and the calling conventions of the
 * processors: System V AMD64 ABI, section 3.2.3; AAPCS64, section 6.8.2.
 */
import type { Architecture } from './architecture.ts';
import type { Parameter, Prototype } from './btf.ts';
import type { ContextSlot } from './builder/context-layout.ts';
import { layoutOfPart } from './builder/kernel-pointer.ts';
import { layoutOf, u64 } from './layout.ts';

/** A function or tracepoint whose arguments a program reads. */
export interface TracedFunction {
  /** For messages: `tcp_v4_connect`. */
  readonly name: string;
  /** What messages call the program's hook: `kprobe tcp_v4_connect`. */
  readonly hook: string;
  /** Absent if the kernel's types do not have it: every argument is a u64 then. */
  readonly prototype: Prototype | undefined;
  /** The names of its parameters, asked for only if something names one. */
  readonly names?: () => readonly string[];
}

/** Where arguments lie. */
export interface CallingConvention {
  /** The offset of each argument of a prototype, or the reason why a program can't read it. */
  readonly place: (parameters: readonly Parameter[]) => readonly (number | string)[];
  /** Offsets of arguments of 64 bits each, for functions without a prototype. */
  readonly slots: readonly number[];
  /** Whether the verifier knows by BTF what arguments point to. */
  readonly trusted: boolean;
}

const SLOT = 8;
const MOST_ARGUMENTS = 12;

function argumentSlots({ size }: { readonly size: number }): number {
  return Math.max(1, Math.ceil(size / SLOT));
}

/** How many slots of 8 bytes the parameters take. */
export function argumentSlotCount(parameters: readonly Parameter[]): number {
  return parameters.reduce((sum, parameter) => sum + argumentSlots(parameter), 0);
}

/** One slot of 8 bytes after the other, and two for a struct of more than 8 bytes: raw tracepoints, tp_btf, fentry, fexit. */
export function argumentArray(trusted: boolean): CallingConvention {
  return {
    place: (parameters) => parameters.map((_, n) => SLOT * argumentSlotCount(parameters.slice(0, n))),
    slots: Array.from({ length: MOST_ARGUMENTS }, (_, n) => SLOT * n),
    trusted,
  };
}

/** In the registers of the processor, which a kprobe has saved. */
export function argumentRegisters({ name, kprobeArguments }: Architecture): CallingConvention {
  return {
    place: (parameters) => {
      let used = 0;
      return parameters.map((parameter) => {
        // A large struct is passed by its address on arm64, and on the stack on x64.
        const large = parameter.size > 2 * SLOT;
        const wanted = large && name === 'arm64' ? 1 : argumentSlots(parameter);
        // On arm64 a number of 128 bits begins in an even register.
        if (name === 'arm64' && parameter.kind === 'int' && wanted === 2) used += used % 2;
        const first = kprobeArguments[used];
        const fits = used + wanted <= kprobeArguments.length && !(large && name === 'x64');
        if (!fits || first === undefined) {
          if (name === 'arm64') used = kprobeArguments.length;
          return `is on the stack at a kprobe (${name} passes ${kprobeArguments.length} in registers); use fentry`;
        }
        used += wanted;
        if (large) return 'is a struct that is passed by its address; use fentry';
        return wanted === 1 ? first : 'is in two registers at a kprobe; use fentry';
      });
    },
    slots: kprobeArguments,
    trusted: false,
  };
}

/** The look-up of arguments by number or name, for a context. */
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

/** The result, by its type. @throws {RangeError} if the function returns nothing. */
export function resultOf({ name, prototype }: TracedFunction, offset: number): ContextSlot {
  if (prototype === undefined) return { name: 'the result', offset, layout: layoutOf(u64), trusted: false };
  const { returns } = prototype;
  if (returns === undefined) throw new RangeError(`${name} returns nothing`);
  // The context has the first 8 bytes of a struct.
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
  // The verifier takes pointers to anything but structs for numbers.
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
      `${hook} has no argument '${wanted}' by name: the kernel's types do not have ${name}; use its number`,
    );
  const offset = slots[wanted];
  if (offset === undefined)
    throw new RangeError(
      `${hook} has no argument ${wanted} that can be read: those are 0 to ${slots.length - 1}`,
    );
  return { name: `argument ${wanted}`, offset, layout: layoutOf(u64), trusted };
}

/** `tcp_v4_connect has 3 arguments: sk, uaddr, addr_len`. */
function describe(called: TracedFunction, parameters: readonly Parameter[]): string {
  const count = parameters.length;
  if (count === 0) return `${called.name} has no arguments`;
  const names = namesOf(called).map((name, n) => name || describeType(parameters[n]) || String(n));
  return `${called.name} has ${count === 1 ? 'one argument' : `${count} arguments`}: ${names.join(', ')}`;
}

function describeType(parameter: Parameter | undefined): string | undefined {
  return parameter?.pointsTo && `struct ${parameter.pointsTo.name} *`;
}

function namesOf({ prototype, names }: TracedFunction): readonly string[] {
  const own = prototype?.parameters.map(({ name }) => name) ?? [];
  const others = own.some((name) => name === '') ? names?.() : undefined;
  return others?.length === own.length ? others : own;
}
