/**
 * Moves the arguments of calls into r1 to r5, in an order in which no move overwrites a register that another
 * still reads.
 */
import type { TSchema } from '@sinclair/typebox';
import * as insn from '../constructors.ts';
import { ProgramError } from '../error.ts';
import type { ArgKind, Helper } from '../helpers.ts';
import type { Register, SubprogramCode } from '../instruction.ts';
import { hasFields, type Layout, layoutOf, u64 } from '../layout.ts';
import type { MapSpec } from '../map.ts';
import { requireMapHelper } from '../map-helpers.ts';
import { isBloomFilter } from '../queue.ts';
import { r1, r2, r3, r4, r5 } from '../registers.ts';
import { KernelPointer } from './kernel-pointer.ts';
import type { Machine } from './machine.ts';
import { MapPointer } from './map-pointer.ts';
import { describeOperand, loadInto, type Operand } from './operand.ts';
import { isMemory, isStructMemory, Place, placeOf, type StructMemory } from './place.ts';
import { PointerPlace } from './pointer-place.ts';
import { StackSlot } from './stack.ts';
import type { Subprogram } from './subprograms.ts';
import { Value } from './value.ts';

/**
 * An argument of a helper: a number, memory, a kernel pointer, a map or a subprogram.
 *
 * @example
 * ```ts
 * import { type Argument, type Builder, rawTracepoint, sendSignal, target } from 'tsbpf';
 *
 * const signal = (b: Builder, ...args: Argument[]) => b.call(sendSignal, ...args);
 *
 * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
 *   b.if(b.arg(1).eq(101), () => signal(b, 9)); // kills a process that calls ptrace
 * });
 * ```
 */
export type Argument = Operand | StructMemory | KernelPointer | MapSpec | MapPointer | Subprogram;

/** The calling program, as far as a call depends on it. */
export interface CallingProgram {
  /** The program's context. */
  context(): Value;
  /** The code of a subprogram in this program. */
  codeOf(subprogram: Subprogram): SubprogramCode;
}

export const ARGUMENT_REGISTERS = [r1, r2, r3, r4, r5] as const;

/** The move of one argument to its register. */
export interface Move {
  readonly to: Register;
  /** The register that it reads, if any. */
  readonly from: Register | undefined;
  readonly emit: () => void;
}

/** Memory that a helper reads: its schema, and its name in messages (`the key of map calls`). */
export interface MapPart {
  readonly name: string;
  readonly schema: TSchema;
}

/** The key or the value of a map. */
export function mapPart(part: 'key' | 'value', map: MapSpec): MapPart {
  return { name: `the ${part} of map ${map.name}`, schema: map[part] };
}

/** Parameters as the caller of `b.call` passes them. */
const PARAMETERS: Readonly<Record<Exclude<ArgKind, 'ctx'>, string>> = {
  map: 'map',
  key: 'key',
  value: 'value',
  mapOut: 'memory of a value',
  initial: 'value or 0',
  owner: 'pointer to the owner',
  memory: 'memory to read',
  out: 'memory to write',
  partial: 'memory to write',
  size: 'size',
  callback: 'subprogram',
  callbackContext: 'stack memory or 0',
  record: 'reserved record',
  scalar: 'number',
  kernelPointer: 'kernel address',
};

/**
 * Throws TypeError for too few or too many arguments. The builder adds the context and the sizes of memory
 * itself.
 */
function checkCount(helper: Helper, args: readonly Argument[]): void {
  const isSized = (kind: ArgKind | undefined) => kind === 'memory' || kind === 'out' || kind === 'partial';
  const parameters = helper.args.flatMap((kind, index) =>
    kind === 'ctx' || (kind === 'size' && isSized(helper.args[index - 1])) ? [] : [PARAMETERS[kind]],
  );
  const most = parameters.length;
  const least = most - (helper.optional ?? 0);
  if (args.length >= least && args.length <= most) return;
  const range = least === most ? `${most}` : `${least} to ${most}`;
  const list = most === 0 ? '' : ` (${parameters.join(', ')})`;
  const omitted = args.length > most ? ': the builder passes the context and the size of memory itself' : '';
  throw new TypeError(
    `bpf_${helper.name} takes ${range} ${range === '1' ? 'argument' : 'arguments'}${list}, but got ${args.length}${omitted}`,
  );
}

/**
 * Emits the instructions that move the arguments of a helper into place. Throws TypeError for arguments of a
 * wrong kind.
 */
export function placeArguments(
  machine: Machine,
  helper: Helper,
  args: readonly Argument[],
  program: CallingProgram,
): void {
  checkCount(helper, args);
  const callee = `bpf_${helper.name}`;
  const queue = [...args];
  const written: Place[] = [];
  let sized: Place | undefined;
  let map: MapSpec | undefined;
  const next = (kind: ArgKind): Argument => {
    const argument = queue.shift();
    if (argument !== undefined) return argument;
    const wanted = kind === 'ctx' ? kind : PARAMETERS[kind];
    throw new TypeError(
      `argument ${args.length - queue.length - 1} of ${callee} is undefined: pass the ${wanted}`,
    );
  };
  const required = helper.args.length - (helper.optional ?? 0);
  const moves: Move[] = [];
  const place = (kind: ArgKind, to: Register): Move => {
    if (kind === 'ctx') return fromOperand(machine, to, program.context());
    if (kind === 'size' && sized) {
      const { size } = sized;
      sized = undefined;
      return { to, from: undefined, emit: () => machine.emit(insn.mov(to, size)) };
    }
    const argument = next(kind);
    if (kind === 'map') {
      map = argument instanceof MapPointer ? argument.spec : asMap(argument, callee);
      requireMapHelper(map, helper);
      if (argument instanceof MapPointer) return fromOperand(machine, to, argument.value);
      return fromMap(machine, to, map);
    }
    if (kind === 'callback') {
      if (!isSubprogram(argument))
        throw new TypeError(
          `${callee} needs a subprogram to call, not ${describeArgument(argument)}: make one with subprogram()`,
        );
      if (argument.context)
        throw new TypeError(
          `${argument.name} needs the context, which ${callee} does not pass: pass what it reads in memory`,
        );
      const subprogram = program.codeOf(argument);
      return { to, from: undefined, emit: () => machine.emit(insn.loadFunction(to, subprogram)) };
    }
    if (kind === 'callbackContext' && isMemory(argument)) {
      const place = placeOf(argument);
      if (!(place.base instanceof StackSlot))
        throw new TypeError(
          `${callee} passes only stack memory to the subprogram, and ${place.name} is not on the stack: copy it to a b.stack()`,
        );
      place.requireWritten();
      return fromAddress(machine, to, place);
    }
    if (kind === 'initial' && argument === 0)
      return { to, from: undefined, emit: () => machine.emit(insn.mov(to, 0)) };
    if (kind === 'owner') return fromOperand(machine, to, asOwner(argument, helper));
    const reads = kind === 'initial' || (kind === 'mapOut' && map && isBloomFilter(map)) ? 'value' : kind;
    if (reads === 'out' || reads === 'partial' || reads === 'mapOut') {
      const place = writable(argument, callee);
      if (reads === 'partial') place.set(0);
      if (reads === 'mapOut' && map) requireSize(place, mapPart('value', map));
      written.push(place);
      sized = reads === 'mapOut' ? undefined : place;
      return fromAddress(machine, to, place);
    }
    if (kind === 'record') return fromAddress(machine, to, placeOf(argument as Place | StructMemory));
    if (reads === 'key' || reads === 'value' || reads === 'memory') {
      const part = reads !== 'memory' && map ? mapPart(reads, map) : undefined;
      const place = inMemory(machine, argument, callee, part);
      if (part) requireSize(place, part);
      place.requireWritten();
      if (reads === 'memory') sized = place;
      return fromAddress(machine, to, place);
    }
    return fromOperand(machine, to, asOperand(argument, callee));
  };
  for (const [i, kind] of helper.args.entries()) {
    const to = ARGUMENT_REGISTERS[i];
    if (!to) throw new RangeError(`${callee} has more than five arguments`);
    if (i >= required && queue.length === 0 && !sized) break;
    moves.push(place(kind, to));
  }
  emitInOrder(moves, callee);
  for (const place of written) place.markWritten();
}

/**
 * Emits moves to different registers in an order in which none overwrites a register that another still
 * reads. Throws ProgramError if there is no such order.
 */
export function emitInOrder(moves: readonly Move[], callee: string): void {
  let pending = [...moves];
  while (pending.length > 0) {
    const free = pending.find(({ to }) => !pending.some((other) => other.to !== to && other.from === to));
    if (!free)
      throw new ProgramError(
        `the arguments of ${callee} are in each other's registers: keep() one of them before`,
      );
    free.emit();
    pending = pending.filter((move) => move !== free);
  }
}

function requireSize(place: Place, { name, schema }: MapPart): void {
  const { size } = layoutOf(schema);
  if (place.size !== size)
    throw new TypeError(`${name} has ${size} bytes, but ${place.name} has ${place.size}`);
}

/** A pointer to the owner of a storage map's values. Throws TypeError unless the verifier knows its type. */
function asOwner(argument: Argument, { name, owner = '' }: Helper): Operand {
  const [pointer, struct] =
    argument instanceof KernelPointer
      ? [argument.value, argument.struct]
      : [argument, argument instanceof PointerPlace ? argument.pointsTo.name : undefined];
  const isReadable = pointer instanceof Value || pointer instanceof Place;
  const isOwner = struct === undefined || struct === owner || (owner === 'sock' && /sock/.test(struct));
  if (isReadable && pointer.trusted && isOwner) return pointer;
  const got = !isReadable ? describeArgument(argument) : isOwner ? pointer.name : `a ${struct}`;
  const why = isReadable && isOwner ? ', whose type the verifier does not know' : '';
  const remedy = owner === 'task_struct' ? 'b.call(getCurrentTaskBtf), or an argument' : 'an argument';
  throw new TypeError(
    `bpf_${name} needs a pointer to a ${owner}, not ${got}${why}: pass ${remedy} of a tp_btf, fentry or lsm program`,
  );
}

function asMap(argument: Argument, callee: string): MapSpec {
  if (!isMap(argument)) throw new TypeError(`${callee} needs a map, not ${describeArgument(argument)}`);
  return argument;
}

function fromMap(machine: Machine, to: Register, map: MapSpec): Move {
  return { to, from: undefined, emit: () => machine.emit(insn.loadMap(to, map)) };
}

export function fromOperand(machine: Machine, to: Register, operand: Operand): Move {
  if (operand instanceof Place && operand.layout.kind === 'int' && operand.takesScratch) {
    // Loaded before any argument is in its register, because the scratch register may be one of those.
    const from = operand.toRegister();
    return {
      to,
      from,
      emit: () => {
        if (from.register !== to.register) machine.emit(insn.mov(to, from));
      },
    };
  }
  const from =
    operand instanceof Value ? operand.read() : operand instanceof Place ? operand.baseRegister() : undefined;
  return { to, from, emit: () => loadInto(machine, to, operand) };
}

export function fromAddress(machine: Machine, to: Register, place: Place): Move {
  const from = place.baseRegister();
  return {
    to,
    from,
    emit: () => {
      if (from !== to) machine.emit(insn.mov(to, from));
      if (place.offset !== 0) machine.emit(insn.add(to, place.offset));
    },
  };
}

/**
 * The memory of an argument that a helper writes. Throws TypeError unless the program can read the result
 * from it.
 */
function writable(argument: Argument, callee: string): Place {
  const place = isMemory(argument) ? placeOf(argument) : undefined;
  if (place?.kind === 'memory' && place.isWhole) return place;
  const got = place ? `${place.name}, which is read-only` : describeArgument(argument);
  throw new TypeError(`${callee} writes to memory, but got ${got}: pass a b.stack() or memory of a map`);
}

function describeArgument(argument: Argument): string {
  if (argument instanceof KernelPointer) return `a pointer to the kernel's ${argument.struct}`;
  if (argument instanceof MapPointer) return `map ${argument.spec.name}`;
  if (isMap(argument)) return `map ${argument.name}`;
  if (isSubprogram(argument)) return `subprogram ${argument.name}`;
  if (isStructMemory(argument)) return placeOf(argument).name;
  return argument instanceof Place && argument.layout.kind !== 'int'
    ? argument.name
    : `the number ${describeOperand(argument)}`;
}

/**
 * The memory of an argument that a helper reads through a pointer: the argument's own, or a new stack slot
 * with a copy. A number is converted to the schema of `part`, if it fits. Throws TypeError for a number if
 * the schema is a struct or union.
 */
export function inMemory(machine: Machine, argument: Argument, callee: string, part?: MapPart): Place {
  const wanted = part && layoutOf(part.schema);
  const place = isMemory(argument) ? placeOf(argument) : undefined;
  // Keys and values in a record of a ring buffer are copied, because only Linux 6.2 accepts them there.
  const isTaken = place?.kind === 'memory' && !(part && place.provenance.record);
  if (isTaken && place.isWhole && hasLayout(place.layout, wanted)) return place;
  // Helpers do not accept addresses in the context or in kernel structures: they get a copy.
  const operand = place ?? asOperand(argument, callee);
  const layout = wanted ?? (operand instanceof Place ? operand.layout : layoutOf(u64));
  const isNumber = !(operand instanceof Place) || operand.layout.kind === 'int';
  if (isNumber && hasFields(layout))
    throw new TypeError(
      `${part?.name ?? callee} is a ${layout.kind} of ${layout.size} bytes (${layout.fields.map((field) => field.name).join(', ')}), but got the number ${describeOperand(operand)}: fill a b.stack() of its schema`,
    );
  const name = operand instanceof Place ? operand.name : 'argument';
  const slot = machine.slot({ name, content: `copy of ${name}, ${layout.size} bytes` }, layout.size);
  const copy = new Place(machine, slot, slot.offset, layout, name);
  copy.set(operand);
  return copy;
}

/** Whether memory has the layout that a helper needs. Two numbers must have the same type. */
function hasLayout(layout: Layout, wanted: Layout | undefined): boolean {
  // The caller reports a wrong size.
  if (wanted && hasFields(wanted) && layout.kind === 'int') return layout.size !== wanted.size;
  if (wanted?.kind !== 'int' || layout.kind !== 'int') return true;
  const { size, signed, bigEndian } = layout;
  return size === wanted.size && signed === wanted.signed && bigEndian === wanted.bigEndian;
}

/** An argument that is a number or an address. Throws TypeError for others. */
export function asOperand(argument: Argument, callee: string): Operand {
  if (argument instanceof KernelPointer) return argument.value;
  if (argument instanceof MapPointer) return asOperand(argument.spec, callee);
  if (isMap(argument) || isStructMemory(argument) || isSubprogram(argument))
    throw new TypeError(`${callee} needs a number here, not ${describeArgument(argument)}`);
  return argument;
}

/** Whether the argument is a map. */
export function isMap(argument: Argument | undefined): argument is MapSpec {
  return typeof argument === 'object' && 'kind' in argument && argument.kind === 'map';
}

function isSubprogram(argument: Argument): argument is Subprogram {
  return typeof argument === 'object' && 'body' in argument;
}
