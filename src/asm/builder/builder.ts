/**
 * The macro assembler that tools are written in: named values instead of register numbers, typed memory
 * instead of offsets, branches with arms, helper calls that place their arguments.
 *
 * It has no hidden allocator and spills nothing. A statement emits what its comment says, or throws.
 */

import type { TSchema } from '@sinclair/typebox';
import { type BodyResult, requireSynchronous } from '../body.ts';
import type { StructRef } from '../btf.ts';
import * as insn from '../constructors.ts';
import { ProgramError } from '../error.ts';
import { userCode } from '../error-position.ts';
import {
  type Helper,
  mapDeleteElem,
  mapLookupElem,
  mapUpdateElem,
  perfEventOutput,
  tailCall,
} from '../helpers.ts';
import type { Item, SubprogramCode } from '../instruction.ts';
import { generatedLabel } from '../labels.ts';
import { type IntLayout, layoutOf, s64, u64 } from '../layout.ts';
import { BPF_ANY, type EventsSpec, type MapSpec, type ProgramArraySpec, slotNumber } from '../map.ts';
import { isMapOfMaps, type MapOfMapsSpec } from '../map-of-maps.ts';
import type { Position } from '../position.ts';
import { PROGRAM_TYPES } from '../program-types.ts';
import { r0 } from '../registers.ts';
import type { Target } from '../target.ts';
import type { Argument } from './call-arguments.ts';
import { Calls } from './calls.ts';
import type { ContextLayout } from './context-layout.ts';
import { emitCount } from './count.ts';
import { finishList } from './finish.ts';
import { Branch, LeavableBlock } from './flow.ts';
import { type Keepable, keep } from './keep.ts';
import { type KernelPointer, kernelStruct, pointerOf, pointerTo } from './kernel-pointer.ts';
import { Machine } from './machine.ts';
import { MapPointer } from './map-pointer.ts';
import { isStructMemory, type Memory, memory, placeOf, type StructMemory, view } from './memory.ts';
import { numberTypeOf } from './number-type.ts';
import type { Condition } from './operand.ts';
import { constantOf, loadInto, type Operand, Readable, requireFits } from './operand.ts';
import { type ArgumentsOf, receiveParameters, requireFilled } from './parameters.ts';
import { Place } from './place.ts';
import { ProgramContext } from './program-context.ts';
import { RawCode } from './raw.ts';
import { type Subprogram, Subprograms } from './subprograms.ts';
import { type Case, Switch } from './switch.ts';
import { Value } from './value.ts';

/** BPF_F_CURRENT_CPU: the ring of the CPU that the program runs on. */
const BPF_F_CURRENT_CPU = 0xffff_ffff;
/** The label of the end that all `exit()` without a value share. */
const EXIT = generatedLabel('exit');

/**
 * What the body of a program or subprogram is given, to write it with. Each statement carries the author's line, and what it throws names
 * it: RangeError where something doesn't fit, TypeError where it is of another kind, Error where its time or place is wrong. When the body
 * has ended, nothing that was made with it can be used.
 */
export class Builder {
  readonly target: Target;
  readonly #machine = new Machine();
  readonly #raw = new RawCode(this.#machine);
  readonly #context: ProgramContext;
  readonly #calls: Calls;
  /** The subprogram that this builds; undefined for the program itself. */
  readonly #subprogram: Subprogram | undefined;
  readonly #name: string;
  /** What is returned where nothing else is said. */
  readonly #result: number;
  /** What a subprogram was given for its parameters. */
  #received: readonly unknown[] = [];

  /** For a program that is given `context`, or one of its subprograms: `subprogram`. */
  constructor(
    target: Target,
    context: ContextLayout,
    subprograms = new Subprograms(),
    subprogram?: Subprogram,
  ) {
    this.target = target;
    this.#subprogram = subprogram;
    this.#name = (subprogram ?? context).name;
    this.#result = subprogram ? 0 : PROGRAM_TYPES[context.kind].result;
    this.#context = new ProgramContext(this.#machine, context, this.#name, subprogram?.context ?? true);
    this.#calls = new Calls(this.#machine, this.#context, (callee: Subprogram) => {
      const why = `${callee.name} cannot use a value of its caller (${this.#name}): pass it as an argument`;
      const build = () => new Builder(target, context, subprograms, callee).#build(callee);
      return subprograms.codeOf(callee, () => this.#machine.away(why, build));
    });
  }

  #build(subprogram: Subprogram): SubprogramCode {
    const { name, parameters, context, position } = subprogram;
    const received = receiveParameters(this.#machine, parameters, context ? 1 : 0, subprogram);
    this.#received = received;
    const result = userCode(() => subprogram.body(this as never, ...(received as never)));
    this.#machine.at(position, () => {
      requireSynchronous(result);
      if (!this.#machine.ended) requireFilled(parameters, received);
    });
    return { name, instructions: this.finish(position) };
  }

  /**
   * The pointer that the program was given: in r1, so gone after the first call. A program that reads
   * arguments or emits events later keeps it: `b.keep(b.context)`, one instruction. Throws in a subprogram that isn't given it.
   */
  get context(): Value {
    return this.#context.context;
  }

  /**
   * An argument of the function or tracepoint that the program is attached to, by its number from 0 or by its name: a number of the
   * parameter's type, or memory for a struct that is passed by value. One load at each use. `as(u64)` is all 64 bits of the argument.
   * If the kernel's types do not have the function, every argument is a u64.
   *
   * Throws RangeError if there is no such argument.
   */
  arg(argument: number | string): Place {
    return this.#machine.statement(this.arg, () => this.#context.argument(argument));
  }

  /**
   * The return value of the traced function (kretprobe, fexit): a number of its type, one load at each use. `as(u64)`
   * is all 64 bits of it. Throws RangeError in other programs.
   */
  get retval(): Place {
    return this.#context.retval;
  }

  /** A field of the record that a classic tracepoint gives the program, by its name: one load at each use. */
  field(name: string): Place {
    return this.#machine.statement(this.field, () => this.#context.field(name));
  }

  /**
   * A pointer to a kernel structure whose type is known: an argument (`b.kernel(b.arg(0))`) or a field. One load.
   *
   * Throws TypeError if the place is no pointer to a structure.
   */
  kernel(pointer: Place): KernelPointer;
  /**
   * A pointer to the kernel structure of that name: a value that holds its address, or a place that does (one load).
   *
   * Throws AmbiguousStructError if the name has several definitions: `{ name: 'dma_chan', size: 112 }` or `{ name: 'dma_chan', having: 'slave' }`
   * is one of them.
   */
  kernel(struct: StructRef, address: Value | Place): KernelPointer;
  kernel(of: StructRef | Place, address?: Value | Place): KernelPointer {
    return this.#machine.statement(this.kernel, () => {
      if (of instanceof Place) return pointerOf(this.#machine, this.target, of);
      if (address === undefined) throw new TypeError('kernel() takes the address of the structure, too');
      return pointerTo(this.#machine, this.target, kernelStruct(this.target, of), address);
    });
  }

  // --- values and memory -------------------------------------------------------------------------

  /**
   * Moves something into r6 to r9, where it outlives calls: a value (one move), a place's content (one load), a
   * pointer, or memory that a temporary points to. Free again when the block ends. Throws when all four are held.
   */
  keep<T extends Keepable>(thing: T): T extends Place ? Value : T;
  keep(thing: Keepable): Value | KernelPointer | MapPointer | StructMemory {
    return this.#machine.statement(this.keep, () => {
      const kept = keep(this.#machine, this.target, thing);
      if (kept instanceof Value) this.#context.kept(thing, kept);
      return kept;
    });
  }

  /** A constant or a place in a temporary register. A constant is a u64, or an s64 if it is negative, unless a schema says otherwise. */
  value(source: number | bigint | Place, schema?: TSchema): Value {
    return this.#machine.statement(this.value, () => {
      if (source instanceof Place) return schema === undefined ? source.get() : source.get().as(schema);
      const layout = layoutOf(schema ?? (source < 0 ? s64 : u64));
      const name = String(source);
      if (layout.kind !== 'int') throw new TypeError(`${name} is a number: value() takes an integer schema`);
      const type = numberTypeOf(layout);
      requireFits(constantOf(source), type, 'the schema');
      const holder = { name, position: this.#machine.position };
      const register = this.#machine.temporary(holder);
      loadInto(this.#machine, register, source);
      return new Value(this.#machine, register, holder, { type });
    });
  }

  /** Memory on the stack, unwritten, or (scalars) set to a value. Nothing is emitted but that store. */
  stack<T extends TSchema>(schema: T, initial?: Operand): Memory<T> {
    return this.#machine.statement(this.stack, () => {
      const { size } = layoutOf(schema);
      const slot = this.#machine.slot('stack', size);
      const made = memory(this.#machine, slot, slot.offset, schema, 'stack');
      if (initial !== undefined) placeOf(made).set(initial);
      return made;
    });
  }

  /**
   * Writes memory of any shape: a copy from memory of the same size (by the widest loads and stores that the
   * alignment allows), a register into 1, 2, 4 or 8 bytes, or 0 over everything, padding too.
   */
  set(to: Place | StructMemory, from: Operand | StructMemory): void {
    this.#machine.statement(this.set, () => placeOf(to).set(isStructMemory(from) ? placeOf(from) : from));
  }

  /** The same memory as another schema sees it, which may be shorter. Nothing is emitted. */
  as<T extends TSchema>(memory: Place | StructMemory, schema: T): Memory<T> {
    return this.#machine.statement(this.as, () => view(memory, schema));
  }

  /** The value of an array map with one entry, in place: one `lddw`, no call (Linux 5.2). */
  global<V extends TSchema>(map: MapSpec<TSchema, V>): Memory<V> {
    return this.#machine.statement(this.global, () => {
      const holder = { name: map.name, position: this.#machine.position };
      const register = this.#machine.temporary(holder);
      this.#machine.emit(insn.loadMapValue(register, map));
      return memory(this.#machine, new Value(this.#machine, register, holder), 0, map.value, map.name);
    });
  }

  // --- branches ----------------------------------------------------------------------------------

  /** Runs `then` where the condition holds, else `otherwise`: one jump, two where both arms go on. */
  if(condition: Condition, then: () => BodyResult, otherwise?: () => BodyResult): void {
    const branch = this.#branch(this.if, condition);
    try {
      branch.otherwise(then());
      branch.end(otherwise?.());
    } catch (error) {
      throw branch.fail(error);
    }
  }

  #branch(callee: (...args: never[]) => void, condition: Condition): Branch {
    return this.#machine.statement(callee, () => new Branch(this.#machine, condition));
  }

  /**
   * Runs the arm whose constant the subject is, or of whose constants it is one, else `otherwise`: `[[1, one], [[2, 3], other]]`. The
   * subject is loaded once, and compared with one constant after the other; of more than eight half are ruled out by a comparison first. An
   * arm that only leaves is gone to without a jump of its own. Throws RangeError for a constant that is there twice or that the
   * subject can't be.
   */
  switch(subject: Value | Place, cases: readonly Case[], otherwise?: () => BodyResult): void {
    const dispatch = this.#dispatch(this.switch, subject, cases);
    try {
      let result = otherwise?.();
      for (let index = 0; index < cases.length; index++) {
        dispatch.next(result);
        result = (cases[index] as Case)[1]();
      }
      dispatch.end(result);
    } catch (error) {
      throw dispatch.fail(error);
    }
  }

  #dispatch(callee: (...args: never[]) => void, subject: Value | Place, cases: readonly Case[]): Switch {
    return this.#machine.statement(callee, () => new Switch(this.#machine, subject, cases));
  }

  /**
   * A block that can be left from within: `leave()` jumps to its end, and may be an arm itself
   * (`b.if(condition, leave)` is one jump). The block costs nothing.
   */
  block(body: (leave: () => void) => BodyResult): void {
    const block = this.#block(this.block);
    try {
      block.end(body(block.leave));
    } catch (error) {
      throw block.fail(error);
    }
  }

  #block(callee: (...args: never[]) => void): LeavableBlock {
    return this.#machine.statement(callee, () => new LeavableBlock(this.#machine));
  }

  /**
   * Ends the program. Without a value it returns 0 (1 from a classic tracepoint), by a jump to the one place that does so; with
   * one it returns that (nothing but `exit` where the value is in r0 already).
   */
  exit(value: number | Value = this.#result): void {
    this.#machine.statement(this.exit, () => {
      if (this.#subprogram)
        throw new ProgramError(
          `exit() ends a program, and this is the subprogram ${this.#name}: return() ends it`,
        );
      const { mustReturn } = PROGRAM_TYPES[this.#context.kind];
      if (mustReturn !== undefined && value !== mustReturn)
        throw new RangeError(`${this.#name} returns ${mustReturn}: the verifier refuses any other result`);
      this.#leave(value);
    });
  }

  /** Goes back to who called the subprogram, with 0 or a value: as `exit` ends a program. */
  return(value: Operand = this.#result): void {
    this.#machine.statement(this.return, () => {
      if (!this.#subprogram)
        throw new ProgramError(
          `return() ends a subprogram, and this is a program, ${this.#name}: exit() ends it`,
        );
      requireFilled(this.#subprogram.parameters, this.#received);
      requireFits(
        value,
        numberTypeOf(layoutOf(this.#subprogram.returns) as IntLayout),
        `the result of ${this.#name}`,
        'declare the result by { returns: schema } in subprogram()',
      );
      this.#leave(value);
    });
  }

  #leave(value: Operand): void {
    const isCommon = value === this.#result;
    if (!isCommon) loadInto(this.#machine, r0, value);
    this.#machine.end(isCommon ? insn.ja(EXIT) : insn.exit());
  }

  // --- calls -------------------------------------------------------------------------------------

  /**
   * Calls a helper. Arguments in the helper's order, but the context and the size of memory, which are known.
   * A constant or a value goes where a pointer to memory is asked for by way of the stack (one store more).
   * Temporaries are gone afterwards; the result is one, in r0.
   */
  call(helper: Helper, ...args: Argument[]): Value;
  /**
   * Calls a subprogram (Linux 4.16), which comes into the program by its first call. A number goes into a register as it is, memory by
   * its address, and must have been written; the context goes without saying. As with helpers, temporaries are gone afterwards; the
   * result is one, in r0.
   */
  call<P extends readonly TSchema[]>(subprogram: Subprogram<P>, ...args: ArgumentsOf<P>): Value;
  call(callee: Helper | Subprogram, ...args: Argument[]): Value {
    return this.#machine.statement(this.call, () =>
      'body' in callee ? this.#calls.subprogram(callee, args) : this.#calls.helper(callee, args),
    );
  }

  /**
   * Goes on in another program: that of a slot of a program array, by its name or its number (Linux 4.2). The other is given the same
   * context and none of the registers, and returns for this one. What follows runs only where the slot is empty or out of range, or
   * after 33 such calls in a row; temporaries are gone then. Needs the context. In a subprogram the other returns to who called that.
   */
  tailCall<N extends string>(array: ProgramArraySpec<N>, slot: N | Operand): void {
    this.#machine.statement(this.tailCall, () => {
      this.#calls.helper(tailCall, [array, slot instanceof Readable ? slot : slotNumber(array, slot)]);
    });
  }

  /**
   * Looks a key up: one call, one jump. `found` gets the value's memory through a temporary (keep it if it
   * calls), or, of a map of maps, the map to look into; without `missing`, both ways go on.
   */
  lookup<I extends MapSpec>(
    map: MapOfMapsSpec<TSchema, I>,
    key: Operand | StructMemory | KernelPointer,
    arms: { found: (map: MapPointer<I>) => BodyResult; missing?: () => BodyResult },
  ): void;
  lookup<V extends TSchema>(
    map: MapSpec<TSchema, V> | MapPointer<MapSpec<TSchema, V>>,
    key: Operand | StructMemory | KernelPointer,
    arms: { found: (value: Memory<V>) => BodyResult; missing?: () => BodyResult },
  ): void;
  lookup(
    map: MapSpec | MapPointer,
    key: Operand | StructMemory | KernelPointer,
    arms: { found: (value: never) => BodyResult; missing?: () => BodyResult },
  ): void {
    const { entry, branch } = this.#lookup(this.lookup, map, key);
    try {
      branch.otherwise(arms.found(entry as never));
      branch.end(arms.missing?.());
    } catch (error) {
      throw branch.fail(error);
    }
  }

  #lookup(
    callee: (...args: never[]) => void,
    map: MapSpec | MapPointer,
    key: Operand | StructMemory | KernelPointer,
  ): { readonly entry: unknown; readonly branch: Branch } {
    return this.#machine.statement(callee, () => {
      const spec = map instanceof MapPointer ? map.spec : map;
      const pointer = this.#calls.helper(mapLookupElem, [map, key]);
      const entry = isMapOfMaps(spec)
        ? new MapPointer(spec.inner, pointer)
        : memory(this.#machine, pointer, 0, spec.value, spec.name);
      return { entry, branch: new Branch(this.#machine, pointer.ne(0)) };
    });
  }

  /**
   * Writes an entry: one call. The result is 0, or a negative errno (`-E2BIG` where a hash table is full), of which the low
   * 32 bits count: up to Linux 6.3 the upper ones aren't set.
   */
  update(
    map: MapSpec | MapPointer,
    key: Operand | StructMemory | KernelPointer,
    value: Operand | StructMemory,
    flags = BPF_ANY,
  ): Value {
    return this.#machine.statement(this.update, () =>
      this.#calls.helper(mapUpdateElem, [map, key, value, flags]),
    );
  }

  /** Deletes an entry: one call. The result is 0, or `-ENOENT`. */
  delete(map: MapSpec | MapPointer, key: Operand | StructMemory | KernelPointer): Value {
    return this.#machine.statement(this.delete, () => this.#calls.helper(mapDeleteElem, [map, key]));
  }

  /**
   * Adds to the number under a key of a map, which begins at 0: one call where there is an entry, three where a hash table gets one. Nothing
   * is lost where another CPU does the same: the addition is atomic, but for a per-CPU map, where it needn't be. A hash table that is
   * full counts nothing. Temporaries are gone afterwards.
   *
   * Throws if the map's values are no numbers of 4 or 8 bytes.
   */
  count(map: MapSpec | MapPointer, key: Operand | StructMemory | KernelPointer, amount: Operand = 1): void {
    this.#machine.statement(this.count, () => emitCount(this.#machine, this.#calls, map, key, amount));
  }

  /**
   * Sends an event to the perf ring of this CPU: one call. Needs the context. The result is 0, or `-ENOSPC` if the ring
   * is full.
   *
   * Throws TypeError if the layout of the event is not that of the map's schema.
   */
  output<E extends TSchema>(events: EventsSpec<E>, event: Memory<E>): Value {
    return this.#machine.statement(this.output, () =>
      this.#calls.helper(perfEventOutput, [events, BPF_F_CURRENT_CPU, event as StructMemory | Place]),
    );
  }

  // --- the floor below ---------------------------------------------------------------------------

  /**
   * Drops raw instructions and labels in. A jump is to a label. A register that they set is theirs as a
   * value's is the value's: r6 to r9 to the end of the program, r0 to r5 until the next call. They read
   * registers that hold a value or were set by others like them. Loads from the stack by r10 need bytes that
   * are written; `assumeWritten` says what stores by other registers write.
   *
   * Throws Error for a register that is kept, for one that nothing has set, for a label that is there twice,
   * and for instructions that nothing reaches; TypeError for a jump by a distance.
   */
  emit(...items: Item[]): void {
    this.#machine.statement(this.emit, () => this.#raw.emit(items), true);
  }

  /** Says that raw instructions have written this memory. */
  assumeWritten(memory: Place | StructMemory): void {
    this.#machine.statement(this.assumeWritten, () => placeOf(memory).markWritten());
  }

  /** Ends the program if it hasn't ended, and gives its instructions. The end that all share is of the line `position`. */
  finish(position?: Position): readonly Item[] {
    const { items } = this.#machine;
    this.#machine.close(`${this.#name} is finished: what it holds can't be used elsewhere`);
    const end = [insn.mov(r0, this.#result), insn.exit()].map((made) => ({ ...made, position }));
    const { labels, isUsed: hasRaw } = this.#raw;
    const isProgram = this.#subprogram === undefined;
    return finishList({ items, end, exit: EXIT, labels, hasRaw, isProgram });
  }
}
