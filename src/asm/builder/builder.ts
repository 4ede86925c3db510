/**
 * The builder: a macro assembler for programs. It has typed values instead of register numbers, typed memory
 * instead of offsets, structured branches, and calls that place their arguments.
 *
 * It has no hidden register allocator and never spills. A statement emits what its comment documents, or
 * throws.
 */

import type { TSchema } from '@sinclair/typebox';
import { type BodyResult, requireSynchronous } from '../body.ts';
import type { StructRef } from '../btf.ts';
import * as insn from '../constructors.ts';
import { ProgramError } from '../error.ts';
import { userCode } from '../error-position.ts';
import type { EventsSpec, EventVariants, RingBufferSpec, Variant } from '../events.ts';
import {
  BPF_ANY,
  BPF_F_FAST_STACK_CMP,
  BPF_F_REUSE_STACKID,
  BPF_F_SKIP_FIELD_MASK,
  BPF_F_USER_STACK,
  BPF_LOCAL_STORAGE_GET_F_CREATE,
} from '../flags.ts';
import {
  getStackid,
  type Helper,
  mapDeleteElem,
  mapLookupElem,
  mapPeekElem,
  mapPopElem,
  mapPushElem,
  mapUpdateElem,
  ringbufDiscard,
  ringbufReserve,
  ringbufSubmit,
  tailCall,
} from '../helpers.ts';
import type { Item, SubprogramCode } from '../instruction.ts';
import { generatedLabel } from '../labels.ts';
import { type IntLayout, layoutOf, s64, u64 } from '../layout.ts';
import { type StorageSpec, storageOf } from '../local-storage.ts';
import { type MapSpec, type ProgramArraySpec, slotNumber } from '../map.ts';
import { isMapOfMaps, type MapOfMapsSpec } from '../map-of-maps.ts';
import type { Position } from '../position.ts';
import { PROGRAM_TYPES } from '../program-types.ts';
import { type BloomFilterSpec, isBloomFilter, type QueueSpec } from '../queue.ts';
import { r0 } from '../registers.ts';
import type { StackTraceSpec } from '../stack-trace.ts';
import type { Target } from '../target.ts';
import type { Argument } from './call-arguments.ts';
import { Calls } from './calls.ts';
import type { ContextLayout } from './context-layout.ts';
import { emitCount } from './count.ts';
import { emitOutput, ReservedRecord } from './events.ts';
import { finishList } from './finish.ts';
import { Branch, LeavableBlock } from './flow.ts';
import { type Keepable, keep } from './keep.ts';
import { type KernelPointer, kernelStruct, pointerOf, pointerTo } from './kernel-pointer.ts';
import { Machine } from './machine.ts';
import { MapPointer, specOf } from './map-pointer.ts';
import { type Memory, memory, view } from './memory.ts';
import { numberTypeOf } from './number-type.ts';
import type { Condition } from './operand.ts';
import { constantOf, loadInto, type Operand, Readable, requireFits } from './operand.ts';
import { type ArgumentsOf, type Input, receiveParameters, requireFilled } from './parameters.ts';
import { describeLayout, Place, placeOf, type StructMemory } from './place.ts';
import { ProgramContext } from './program-context.ts';
import { RawCode } from './raw.ts';
import { type Subprogram, Subprograms } from './subprograms.ts';
import { type Case, Switch } from './switch.ts';
import { Value } from './value.ts';

/** The label of the exit code that all `exit()` statements without a value share. */
const EXIT = generatedLabel('exit');

/**
 * Emits the statements of one program or subprogram. Its body receives it as `b`; nothing made with it can be
 * used after the body has returned.
 *
 * A value is *temporary* (r0 to r5, until the next call) or *kept* (r6 to r9, until its block ends). A place
 * is typed memory. No statement changes a value that still has a name in your code.
 *
 * An error names your source line. A number out of range is a RangeError, a wrong kind of argument a
 * TypeError. A statement that contradicts others, such as a use of an expired value, is a ProgramError.
 *
 * @example
 * ```ts
 * import { getCurrentPidTgid, hash, rawTracepoint, target, u32, u64 } from 'tsbpf';
 *
 * const calls = hash('calls', { key: u32, value: u64, maxEntries: 10_240 });
 *
 * // Counts the system calls of each process.
 * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
 *   const pid = b.call(getCurrentPidTgid).rsh(32).as(u32);
 *   b.count(calls, pid);
 * });
 * ```
 */
export class Builder {
  /** The processor architecture and kernel types that the program is assembled for. */
  readonly target: Target;
  readonly #machine = new Machine();
  readonly #raw = new RawCode(this.#machine);
  readonly #context: ProgramContext;
  readonly #calls: Calls;
  /** The subprogram being built; undefined for the program itself. */
  readonly #subprogram: Subprogram | undefined;
  readonly #name: string;
  /** The default return value. */
  readonly #result: number;
  /** The values and memory that the body of a subprogram received for its parameters. */
  #received: readonly unknown[] = [];

  /** Builds a program whose context has the layout `context`, or `subprogram`, which that program calls. */
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
      return subprograms.codeOf(callee, () => this.#machine.suspend(why, build));
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
   * The pointer to the program context, a temporary in r1. `arg`, `retval`, `field`, `output` and `tailCall`
   * need it. To use them after a call, keep the context first: `b.keep(b.context)` emits one `mov`.
   *
   * Throws ProgramError in a subprogram that was not made with `{ context: true }`.
   *
   * @example
   * ```ts
   * import { ktimeGetNs, perfEventArray, rawTracepoint, struct, target, u64 } from 'tsbpf';
   *
   * const Call = struct({ timeNs: u64, number: u64 });
   * const calls = perfEventArray('calls', Call);
   *
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
   *   b.keep(b.context); // outlives the call of ktimeGetNs
   *   const call = b.stack(Call);
   *   call.timeNs.set(b.call(ktimeGetNs));
   *   call.number.set(b.arg(1));
   *   b.output(calls, call);
   * });
   * ```
   */
  get context(): Value {
    return this.#context.context;
  }

  /**
   * An argument of the traced function or tracepoint, by number (from 0) or by name. Each use emits one load.
   *
   * Its type comes from the target's BTF: a number, or memory for a struct passed by value. Without BTF for
   * the function every argument is a u64. `as(u64)` reads all 64 bits of a shorter one.
   *
   * Throws RangeError if there is no such argument, or if the program cannot read it.
   *
   * @example
   * ```ts
   * import { rawTracepoint, target } from 'tsbpf';
   *
   * // sys_enter(struct pt_regs *regs, long id)
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
   *   b.if(b.arg(1).eq(59), () => b.exit(1)); // 59: execve on x86-64
   * });
   * ```
   */
  arg(argument: number | string): Place {
    return this.#machine.statement(this.arg, () => this.#context.argument(argument));
  }

  /**
   * The return value of the traced function, in kretprobe and fexit programs: a number of its type. Each use
   * emits one load. `as(u64)` reads all 64 bits of a shorter one.
   *
   * Throws RangeError in other programs, and if the function returns nothing.
   *
   * @example
   * ```ts
   * import { array, kretprobe, s64, target, u64 } from 'tsbpf';
   *
   * const failures = array('failures', { value: u64 });
   *
   * const onReturn = kretprobe('tcp_v4_connect', target('x64'), (b) => {
   *   b.if(b.retval.as(s64).lt(0), () => b.count(failures, 0));
   * });
   * ```
   */
  get retval(): Place {
    return this.#context.retval;
  }

  /**
   * A field of a classic tracepoint's record, by name. Each use emits one load.
   *
   * Throws RangeError in other programs, and if the record has no such field.
   *
   * @example
   * ```ts
   * import { hash, target, tracepoint, u64 } from 'tsbpf';
   * import { parseTracepointFormat } from 'tsbpf/btf';
   *
   * const requested = hash('requested', { key: u64, value: u64, maxEntries: 64 });
   * // On a running system: readTracepointFormat('kmem', 'kmalloc')
   * const format = parseTracepointFormat('kmem', 'kmalloc', `name: kmalloc
   * ID: 400
   * format:
   * \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
   * \tfield:size_t bytes_req;\toffset:24;\tsize:8;\tsigned:0;
   * `);
   *
   * const onAllocation = tracepoint('kmem', 'kmalloc', { ...target('x64'), formats: [format] }, (b) => {
   *   b.count(requested, b.field('bytes_req').get().log2());
   * });
   * ```
   */
  field(name: string): Place {
    return this.#machine.statement(this.field, () => this.#context.field(name));
  }

  /**
   * A pointer to a kernel structure, read from a place whose type the target's BTF knows: an argument or a
   * field. Emits one load.
   *
   * Throws TypeError if BTF does not say that the place points to a structure. Then name the structure.
   *
   * @example
   * ```ts
   * import { fentry, Kernel, lruHash, target, u16, u64 } from 'tsbpf';
   *
   * const ports = lruHash('ports', { key: u16, value: u64, maxEntries: 1_024 });
   *
   * // tcp_v4_connect(struct sock *sk, ...): BTF knows the type of argument 0.
   * const onConnect = fentry('tcp_v4_connect', target(process.arch, new Kernel().btf), (b) => {
   *   const { port } = b.kernel(b.arg(0)).fields({ port: '__sk_common.skc_num' });
   *   b.count(ports, port);
   * });
   * ```
   */
  kernel(pointer: Place): KernelPointer;
  /**
   * A pointer to the kernel structure `struct`, whose address is a value (nothing is emitted) or a place (one
   * load). Use it if BTF does not know the type of the pointer.
   *
   * Throws AmbiguousStructError if the name has several definitions. `{ name: 'dma_chan', size: 112 }` or
   * `{ name: 'dma_chan', having: 'slave' }` selects one of them.
   */
  kernel(struct: StructRef, address: Value | Place): KernelPointer;
  kernel(of: StructRef | Place, address?: Value | Place): KernelPointer {
    return this.#machine.statement(this.kernel, () => {
      if (of instanceof Place) return pointerOf(this.#machine, this.target, of);
      if (address === undefined)
        throw new TypeError('kernel() lacks the address of the structure: b.kernel(struct, address)');
      return pointerTo(this.#machine, this.target, kernelStruct(this.target, of), address);
    });
  }

  // --- values and memory -------------------------------------------------------------------------

  /**
   * Copies a value or pointer into one of r6 to r9, which survive calls, until the block ends. A place is
   * read (one load); of memory behind a pointer, the pointer is kept. Emits one `mov` otherwise.
   *
   * Throws RangeError if all four registers are in use, and TypeError for memory on the stack, which needs no
   * register.
   *
   * @example
   * ```ts
   * import { getCurrentPidTgid, hash, ktimeGetNs, rawTracepoint, target, u64 } from 'tsbpf';
   *
   * const lastNs = hash('last_ns', { key: u64, value: u64, maxEntries: 10_240 });
   *
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
   *   const task = b.keep(b.call(getCurrentPidTgid));
   *   b.update(lastNs, task, b.call(ktimeGetNs));
   * });
   * ```
   */
  keep<T extends Keepable>(thing: T): T extends Place ? Value : T;
  keep(thing: Keepable): Value | KernelPointer | MapPointer | StructMemory {
    return this.#machine.statement(this.keep, () => {
      const kept = keep(this.#machine, this.target, thing);
      if (kept instanceof Value) this.#context.kept(thing, kept);
      return kept;
    });
  }

  /**
   * Loads a constant or a place into a temporary register. A constant has the type of `schema`; without one
   * it is a u64, or an s64 if negative. A place is cast to `schema`. Emits one instruction for a constant,
   * and for a place one load and what its type needs.
   *
   * Throws RangeError for a constant out of range, and if no register is free.
   *
   * @example
   * ```ts
   * import { rawTracepoint, target } from 'tsbpf';
   *
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
   *   const mask = b.value(0xff);
   *   b.exit(mask.and(b.arg(1)));
   * });
   * ```
   */
  value(source: number | bigint | Place, schema?: TSchema): Value {
    return this.#machine.statement(this.value, () => {
      if (source instanceof Place) return schema === undefined ? source.get() : source.get().as(schema);
      const layout = layoutOf(schema ?? (source < 0 ? s64 : u64));
      const name = String(source);
      if (layout.kind !== 'int')
        throw new TypeError(`value(${name}, schema): the schema must be an integer schema, such as u64`);
      const type = numberTypeOf(layout);
      requireFits(constantOf(source), type, 'the schema');
      const holder = { name, position: this.#machine.position };
      const register = this.#machine.temporary(holder);
      loadInto(this.#machine, register, source);
      return new Value(this.#machine, register, holder, { type });
    });
  }

  /**
   * Reserves memory on the stack until the block ends. Reading it before it is written is an error. Emits
   * nothing, or the store of `initial`.
   *
   * Throws RangeError if the 512 bytes of the stack do not suffice.
   *
   * @example
   * ```ts
   * import { chars, getCurrentComm, hash, rawTracepoint, struct, target, u64 } from 'tsbpf';
   *
   * const Key = struct({ comm: chars(16), number: u64 });
   * const calls = hash('calls', { key: Key, value: u64, maxEntries: 1_024 });
   *
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
   *   const key = b.stack(Key);
   *   key.number.set(b.arg(1));
   *   b.call(getCurrentComm, key.comm);
   *   b.count(calls, key);
   * });
   * ```
   */
  stack<T extends TSchema>(schema: T, initial?: Operand): Memory<T> {
    return this.#machine.statement(this.stack, () => {
      const layout = layoutOf(schema);
      const slot = this.#machine.slot({ name: 'stack', content: describeLayout(layout) }, layout.size);
      const made = memory(this.#machine, slot, slot.offset, schema, 'stack');
      if (initial !== undefined) placeOf(made).set(initial);
      return made;
    });
  }

  /**
   * The same memory under another schema, of at most its size. Emits nothing.
   *
   * Throws TypeError if the memory is too short for the schema, or not aligned for it.
   *
   * @example
   * ```ts
   * import { bytes, rawTracepoint, struct, target, u32, u64 } from 'tsbpf';
   *
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
   *   const raw = b.stack(bytes(16));
   *   raw.set(0);
   *   const { low } = b.as(raw, struct({ low: u32, high: u32, rest: u64 }));
   *   b.if(low.eq(0), () => b.exit());
   * });
   * ```
   */
  as<T extends TSchema>(memory: Place | StructMemory, schema: T): Memory<T> {
    return this.#machine.statement(this.as, () => view(memory, schema));
  }

  /**
   * The value of an array map with one entry (`globals`, `constants`), accessed in place (Linux 5.2). Emits
   * one `lddw` and no call; the address is a temporary.
   *
   * @example
   * ```ts
   * import { globals, rawTracepoint, struct, target, u64 } from 'tsbpf';
   *
   * const counters = globals('counters', struct({ calls: u64 }));
   *
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
   *   b.global(counters).calls.atomicAdd(1);
   * });
   * ```
   */
  global<V extends TSchema>(map: MapSpec<TSchema, V>): Memory<V> {
    return this.#machine.statement(this.global, () => {
      const holder = { name: map.name, position: this.#machine.position };
      const register = this.#machine.temporary(holder);
      this.#machine.emit(insn.loadMapValue(register, map));
      return memory(this.#machine, new Value(this.#machine, register, holder), 0, map.value, map.name);
    });
  }

  // --- branches ----------------------------------------------------------------------------------

  /**
   * Branches: runs `then` if the condition is true, else `otherwise`. Emits one conditional jump for a
   * comparison, and a second jump if both arms continue. After it, a value or memory counts as set only if it
   * is set on every path.
   *
   * Throws TypeError for a comparison without a common 64-bit type, and RangeError for one that has the same
   * result for every value.
   *
   * @example
   * ```ts
   * import { array, rawTracepoint, target, u64 } from 'tsbpf';
   *
   * const counts = array('counts', { value: u64, maxEntries: 2 });
   *
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
   *   const number = b.arg(1);
   *   b.if(number.eq(0).or(number.eq(1)), () => b.count(counts, 0), () => b.count(counts, 1));
   * });
   * ```
   */
  if(condition: Condition, then: () => BodyResult, otherwise?: () => BodyResult): void {
    this.#branch(this.if, condition).run(then, otherwise);
  }

  #branch(callee: (...args: never[]) => void, condition: Condition): Branch {
    return this.#machine.statement(callee, () => new Branch(this.#machine, condition));
  }

  /**
   * Branches by constants: runs the arm of the case that lists the number, or else `otherwise`. Emits one
   * load, then a jump for each constant; more than eight constants are searched as a binary tree. If an arm
   * only exits or leaves a block, the jump goes there directly.
   *
   * Throws RangeError for a constant that occurs twice or that the subject cannot be, and TypeError for a
   * case without constants.
   *
   * @example
   * ```ts
   * import { array, rawTracepoint, target, u64 } from 'tsbpf';
   *
   * const counts = array('counts', { value: u64, maxEntries: 3 });
   *
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
   *   b.switch(
   *     b.arg(1),
   *     [
   *       [0, () => b.count(counts, 0)], // read
   *       [[1, 20], () => b.count(counts, 1)], // write, writev
   *     ],
   *     () => b.count(counts, 2),
   *   );
   * });
   * ```
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
   * Runs `body` as a block. Kept values and stack memory made in it are freed at its end, to which `leave`
   * jumps. The block itself emits nothing, and `b.if(condition, leave)` emits one jump.
   *
   * Throws ProgramError if `leave` is called after the block has ended.
   *
   * @example
   * ```ts
   * import { array, getCurrentUidGid, rawTracepoint, target, u32, u64 } from 'tsbpf';
   *
   * const counts = array('counts', { value: u64 });
   *
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
   *   b.block((leave) => {
   *     b.if(b.arg(1).ne(59), leave);
   *     b.if(b.call(getCurrentUidGid).as(u32).eq(0), leave);
   *     b.count(counts, 0);
   *   });
   * });
   * ```
   */
  block(body: (leave: () => void) => BodyResult): void {
    this.#block(this.block).run(body);
  }

  #block(callee: (...args: never[]) => void): LeavableBlock {
    return this.#machine.statement(callee, () => new LeavableBlock(this.#machine));
  }

  /**
   * Ends the program with a result. Without a value the result is 0 (1 for a classic tracepoint), and a jump
   * to the shared exit code is emitted. With a value: `exit`, after a `mov` unless the value is in r0.
   *
   * Throws ProgramError in a subprogram (use `return`), and RangeError for a result that the program type
   * must not return.
   *
   * @example
   * ```ts
   * import { rawTracepoint, target } from 'tsbpf';
   *
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
   *   b.if(b.arg(1).gt(400), () => b.exit());
   *   b.exit(1);
   * });
   * ```
   */
  exit(value: number | Value = this.#result): void {
    this.#machine.statement(this.exit, () => {
      if (this.#subprogram)
        throw new ProgramError(
          `exit() ends a program, but ${this.#name} is a subprogram: end it with return()`,
        );
      const { mustReturn } = PROGRAM_TYPES[this.#context.kind];
      if (mustReturn !== undefined && value !== mustReturn)
        throw new RangeError(
          `${this.#name} must return ${mustReturn}: the verifier rejects any other result`,
        );
      this.#leave(value);
    });
  }

  /**
   * Returns from a subprogram to its caller, with 0 or a value. Emits what `exit` emits for a program.
   *
   * Throws ProgramError in a program (use `exit`), and if memory that the subprogram must fill (`out`) is not
   * written yet. Throws RangeError for a result that the declared type does not include.
   */
  return(value: Operand = this.#result): void {
    this.#machine.statement(this.return, () => {
      if (!this.#subprogram)
        throw new ProgramError(
          `return() ends a subprogram, but ${this.#name} is a program: end it with exit()`,
        );
      requireFilled(this.#subprogram.parameters, this.#received);
      requireFits(
        value,
        numberTypeOf(layoutOf(this.#subprogram.returns) as IntLayout),
        `the result of ${this.#name}`,
        'declare its type with { returns: schema } in subprogram()',
      );
      this.#leave(value);
    });
  }

  #leave(value: Operand): void {
    this.#machine.requireReleased(this.#subprogram ? 'return()' : 'exit()');
    const isCommon = value === this.#result;
    if (!isCommon) loadInto(this.#machine, r0, value);
    this.#machine.end(isCommon ? insn.ja(EXIT) : insn.exit());
  }

  // --- calls -------------------------------------------------------------------------------------

  /**
   * Calls a kernel helper. Pass its arguments in order, without the context and without the size of memory:
   * the builder adds both. A number for a parameter that is a pointer to memory is stored on the stack first
   * (one store). Emits a `mov` for each argument that is not in its register yet, and the call. Temporaries
   * end; the result is one, in r0.
   *
   * Throws TypeError for missing or wrong arguments, and if the program type may not call the helper.
   *
   * @example
   * ```ts
   * import { bytes, probeReadUser, rawTracepoint, target } from 'tsbpf';
   *
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
   *   const first = b.stack(bytes(8));
   *   // The kernel's signature is (dst, size, address): the size is that of `first`.
   *   b.call(probeReadUser, first, b.arg(0));
   * });
   * ```
   */
  call(helper: Helper, ...args: Argument[]): Value;
  /**
   * Calls a subprogram (Linux 4.16). Its first call in a program appends its code to the program. A number is
   * passed in a register, memory by its address; the builder passes the context itself. Temporaries end; the
   * result is one, in r0.
   *
   * Throws TypeError for a wrong number or kind of arguments, and ProgramError for recursion and for memory
   * not yet written.
   */
  call<P extends readonly TSchema[]>(subprogram: Subprogram<P>, ...args: ArgumentsOf<P>): Value;
  call(callee: Helper | Subprogram, ...args: Argument[]): Value {
    return this.#machine.statement(this.call, () => {
      requireCallable(callee);
      if (callee === ringbufReserve)
        throw new TypeError('b.call() cannot reserve a record, which every path must release: use b.reserve');
      return 'body' in callee ? this.#calls.subprogram(callee, args) : this.#calls.helper(callee, args);
    });
  }

  /**
   * Tail-calls the program in a slot of a program array, by the slot's name or number (Linux 4.2). That
   * program gets the same context and no other register, and its result replaces this program's. In a
   * subprogram it returns to the subprogram's caller. Emits the arguments and one call.
   *
   * The statements after it run only if the slot is empty or out of range, or after 33 tail calls in a row.
   * Temporaries have ended by then.
   *
   * Throws RangeError if the array has no such slot, and ProgramError if the context is gone.
   *
   * @example
   * ```ts
   * import { programArray, rawTracepoint, target } from 'tsbpf';
   *
   * const stages = programArray('stages', { slots: ['parse', 'send'] });
   *
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
   *   b.tailCall(stages, 'parse');
   *   b.exit(); // no program in the slot
   * });
   * ```
   */
  tailCall<N extends string>(array: ProgramArraySpec<N>, slot: N | Operand): void {
    this.#machine.statement(this.tailCall, () => {
      this.#calls.helper(tailCall, [array, slot instanceof Readable ? slot : slotNumber(array, slot)]);
    });
  }

  /**
   * Looks up a key in a map of maps: one call and one jump. `found` receives the inner map; its address is a
   * temporary. Without `missing` the program continues after both cases.
   */
  lookup<K extends TSchema, I extends MapSpec>(
    map: MapOfMapsSpec<K, I>,
    key: Input<K>,
    arms: { found: (map: MapPointer<I>) => BodyResult; missing?: () => BodyResult },
  ): void;
  /**
   * Looks up the value of an owner in a storage map: one call and one jump. The owner is a pointer to a task,
   * inode, cgroup or socket whose type the verifier knows: an argument of a tp_btf, fentry or lsm program, or
   * `b.call(getCurrentTaskBtf)`. With `create` a missing value is created, with zeros (`true`) or a copy of a
   * value; `missing` then runs if the kernel cannot create it.
   *
   * Throws TypeError for another pointer.
   *
   * @example
   * ```ts
   * import { getCurrentTaskBtf, Kernel, ktimeGetNs, target, taskStorage, tpBtf, u64 } from 'tsbpf';
   *
   * const enteredNs = taskStorage('entered_ns', { value: u64 });
   *
   * const onCall = tpBtf('sys_enter', target(process.arch, new Kernel().btf), (b) => {
   *   const now = b.keep(b.call(ktimeGetNs));
   *   b.lookup(enteredNs, b.call(getCurrentTaskBtf), { create: true, found: (ns) => ns.set(now) });
   * });
   * ```
   */
  lookup<V extends TSchema>(
    map: StorageSpec<V>,
    owner: KernelPointer | Place | Value,
    arms: {
      create?: true | Input<V>;
      found: (value: Memory<V>) => BodyResult;
      missing?: () => BodyResult;
    },
  ): void;
  /**
   * Looks up a key in a map: one call and one jump. `found` receives the value's memory, in the map itself;
   * its address is a temporary, so keep it if `found` calls anything. Without `missing` the program continues
   * after both cases.
   *
   * Throws TypeError for a key of another size than the map's.
   *
   * @example
   * ```ts
   * import { getCurrentPidTgid, hash, rawTracepoint, target, u64 } from 'tsbpf';
   *
   * const calls = hash('calls', { key: u64, value: u64, maxEntries: 10_240 });
   *
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
   *   const task = b.keep(b.call(getCurrentPidTgid));
   *   b.lookup(calls, task, {
   *     found: (count) => count.atomicAdd(1),
   *     missing: () => b.update(calls, task, 1),
   *   });
   * });
   * ```
   */
  lookup<K extends TSchema, V extends TSchema>(
    map: MapSpec<K, V> | MapPointer<MapSpec<K, V>>,
    key: Input<K>,
    arms: { found: (value: Memory<V>) => BodyResult; missing?: () => BodyResult },
  ): void;
  lookup(
    map: MapSpec | MapPointer,
    key: Operand | StructMemory | KernelPointer,
    arms: { create?: unknown; found: (value: never) => BodyResult; missing?: () => BodyResult },
  ): void {
    const { entry, branch } = this.#lookup(this.lookup, map, key, arms.create as true | Argument | undefined);
    branch.run(
      () => arms.found(entry as never),
      () => arms.missing?.(),
    );
  }

  #lookup(
    callee: (...args: never[]) => void,
    map: MapSpec | MapPointer,
    key: Operand | StructMemory | KernelPointer,
    create: true | Argument | undefined,
  ): { readonly entry: unknown; readonly branch: Branch } {
    return this.#machine.statement(callee, () => {
      const spec = specOf(map);
      const storage = storageOf(spec);
      if (!storage && create !== undefined)
        throw new TypeError(`map ${spec.name} is no storage map: create its entries with b.update`);
      const [initial, flags] =
        create === undefined ? [0, 0] : [create === true ? 0 : create, BPF_LOCAL_STORAGE_GET_F_CREATE];
      const pointer = storage
        ? this.#calls.helper(storage.get, [map, key, initial, flags])
        : this.#calls.helper(mapLookupElem, [map, key]);
      const entry = isMapOfMaps(spec)
        ? new MapPointer(spec.inner, pointer)
        : memory(this.#machine, pointer, 0, spec.value, spec.name);
      return { entry, branch: new Branch(this.#machine, pointer.ne(0)) };
    });
  }

  /**
   * Writes an entry of a map: one call. `flags` is 0 (create or replace), 1 (`BPF_NOEXIST`: only create) or 2
   * (`BPF_EXIST`: only replace).
   *
   * The result is 0 or a negative errno, such as `-E2BIG` if a hash table is full. It has 32 bits: before
   * Linux 6.4 the upper half of the register is undefined.
   *
   * Throws TypeError for a key or value of another size than the map's, and RangeError for a number that does
   * not fit.
   *
   * @example
   * ```ts
   * import { getCurrentPidTgid, hash, rawTracepoint, target, u64 } from 'tsbpf';
   *
   * const calls = hash('calls', { key: u64, value: u64, maxEntries: 10_240 });
   *
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
   *   const number = b.keep(b.arg(1));
   *   const failed = b.update(calls, b.call(getCurrentPidTgid), number);
   *   b.if(failed.ne(0), () => b.exit());
   * });
   * ```
   */
  update<K extends TSchema, V extends TSchema>(
    map: MapSpec<K, V> | MapPointer<MapSpec<K, V>>,
    key: Input<K>,
    value: Input<V>,
    flags = BPF_ANY,
  ): Value {
    return this.#machine.statement(this.update, () =>
      this.#calls.helper(mapUpdateElem, [map, key as Argument, value as Argument, flags]),
    );
  }

  /**
   * Deletes an entry of a map: one call. The result is 0, or `-ENOENT` if the map has no such key. For a
   * storage map the key is a pointer to the owner, as for `lookup`.
   *
   * Throws TypeError for a key of another size than the map's, and RangeError for a number that does not fit.
   *
   * @example
   * ```ts
   * import { getCurrentPidTgid, hash, rawTracepoint, target, u64 } from 'tsbpf';
   *
   * const started = hash('started', { key: u64, value: u64, maxEntries: 10_240 });
   *
   * const onExit = rawTracepoint('sched_process_exit', target('x64'), (b) => {
   *   b.delete(started, b.call(getCurrentPidTgid));
   * });
   * ```
   */
  delete<K extends TSchema>(map: MapSpec<K> | MapPointer<MapSpec<K>>, key: Input<K>): Value {
    return this.#machine.statement(this.delete, () =>
      this.#calls.helper(storageOf(specOf(map))?.delete ?? mapDeleteElem, [map, key as Argument]),
    );
  }

  /**
   * Adds a value to a queue, a stack or a bloom filter: one call. With the flag `BPF_EXIST` a full queue or
   * stack drops its oldest value.
   *
   * The result is 0, or `-E2BIG` if the queue or stack is full. Throws TypeError for a value of another size
   * than the map's, and RangeError for a number that does not fit.
   *
   * @example
   * ```ts
   * import { BPF_EXIST, queue, rawTracepoint, target, u64 } from 'tsbpf';
   *
   * const recent = queue('recent', { value: u64, maxEntries: 256 });
   *
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => b.push(recent, b.arg(1), BPF_EXIST));
   * ```
   */
  push<V extends TSchema>(
    map: QueueSpec<V> | BloomFilterSpec<V> | MapPointer<QueueSpec<V> | BloomFilterSpec<V>>,
    value: Input<V>,
    flags = BPF_ANY,
  ): Value {
    return this.#machine.statement(this.push, () =>
      this.#calls.helper(mapPushElem, [map, value as Argument, flags]),
    );
  }

  /**
   * Removes the oldest value of a queue, or the newest of a stack: one call and one jump. `found` receives
   * the value in memory on the stack, which is free again after the statement. Without `missing` the program
   * continues after both cases.
   *
   * @example
   * ```ts
   * import { perfEventArray, queue, rawTracepoint, struct, target, u64 } from 'tsbpf';
   *
   * const Job = struct({ id: u64 });
   * const jobs = queue('jobs', { value: Job, maxEntries: 64 });
   * const started = perfEventArray('started', Job);
   *
   * const onExec = rawTracepoint('sched_process_exec', target('x64'), (b) => {
   *   b.keep(b.context);
   *   b.pop(jobs, { found: (job) => b.output(started, job) });
   * });
   * ```
   */
  pop<V extends TSchema>(
    map: QueueSpec<V> | MapPointer<QueueSpec<V>>,
    arms: { found: (value: Memory<V>) => BodyResult; missing?: () => BodyResult },
  ): void {
    this.#take(this.pop, mapPopElem, map, arms);
  }

  /**
   * Tests whether a value was added to a bloom filter (Linux 5.16): one call and one jump. `found` runs for
   * every value that was added, and for a few others; `missing` only for values that were not.
   */
  peek<V extends TSchema>(
    map: BloomFilterSpec<V>,
    value: Input<V>,
    arms: { found?: () => BodyResult; missing?: () => BodyResult },
  ): void;
  /**
   * Copies the value that `pop` would remove, and leaves it in the map.
   *
   * @example
   * ```ts
   * import { queue, rawTracepoint, target, u64 } from 'tsbpf';
   *
   * const waiting = queue('waiting', { value: u64, maxEntries: 64 });
   *
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
   *   b.peek(waiting, { found: (first) => b.if(first.eq(0), () => b.exit(1)) });
   * });
   * ```
   */
  peek<V extends TSchema>(
    map: QueueSpec<V> | MapPointer<QueueSpec<V>>,
    arms: { found: (value: Memory<V>) => BodyResult; missing?: () => BodyResult },
  ): void;
  peek(map: MapSpec | MapPointer, ...args: readonly unknown[]): void {
    this.#take(this.peek, mapPeekElem, map, args.at(-1) as TakeArms, args[args.length - 2]);
  }

  /** Calls a helper with the memory of a value, in a block of its own, and branches on its result. */
  #take(
    callee: (...args: never[]) => void,
    helper: Helper,
    map: MapSpec | MapPointer,
    arms: TakeArms,
    value?: unknown,
  ): void {
    this.#block(callee).run(() => {
      const { entry, branch } = this.#machine.statement(callee, () => {
        const spec = specOf(map);
        if (helper === mapPeekElem && isBloomFilter(spec) !== (value !== undefined))
          throw new TypeError('peek() takes a value for a bloom filter, and none for a queue or stack');
        const entry = value === undefined ? this.stack(spec.value) : undefined;
        const found = this.#calls.helper(helper, [map, (value ?? entry) as Argument]);
        return { entry, branch: new Branch(this.#machine, found.eq(0)) };
      });
      branch.run(
        () => arms.found?.(entry as never),
        () => arms.missing?.(),
      );
    });
  }

  /**
   * Stores the current stack in a stack trace map, and gives its number: one call. It needs the context. The
   * number is negative if the stack could not be stored: `-EFAULT` without a user stack, `-EEXIST` if another
   * stack is in its slot.
   *
   * - `user`: the stack of the process instead of the kernel's.
   * - `skip`: the number of innermost frames to leave out, up to 255.
   * - `replace`: replaces another stack in the slot.
   * - `fast`: compares stacks by their hash only. Two stacks can then have one number.
   *
   * @example
   * ```ts
   * import { hash, rawTracepoint, s32, stackTrace, struct, target, u64 } from 'tsbpf';
   *
   * const stacks = stackTrace('stacks', { maxEntries: 4_096 });
   * const Stacks = struct({ kernel: s32, user: s32 });
   * const counts = hash('counts', { key: Stacks, value: u64, maxEntries: 4_096 });
   *
   * const onSwitch = rawTracepoint('sched_switch', target('x64'), (b) => {
   *   b.keep(b.context);
   *   const key = b.stack(Stacks);
   *   key.kernel.set(b.stackId(stacks));
   *   key.user.set(b.stackId(stacks, { user: true }));
   *   b.count(counts, key);
   * });
   * ```
   */
  stackId(
    map: StackTraceSpec | MapPointer<StackTraceSpec>,
    {
      user = false,
      skip = 0,
      replace = false,
      fast = false,
    }: {
      readonly user?: boolean;
      readonly skip?: number;
      readonly replace?: boolean;
      readonly fast?: boolean;
    } = {},
  ): Value {
    return this.#machine.statement(this.stackId, () => {
      if (!Number.isInteger(skip) || skip < 0 || skip > BPF_F_SKIP_FIELD_MASK)
        throw new RangeError(`stackId() can skip 0 to ${BPF_F_SKIP_FIELD_MASK} frames, not ${skip}`);
      const flags =
        skip |
        (user ? BPF_F_USER_STACK : 0) |
        (replace ? BPF_F_REUSE_STACKID : 0) |
        (fast ? BPF_F_FAST_STACK_CMP : 0);
      return this.#calls.helper(getStackid, [map, flags]);
    });
  }

  /**
   * Adds `amount` to the number that a map holds for a key, starting at 0. One call runs if the entry exists,
   * three if a hash table must create it. The addition is atomic, so CPUs do not lose each other's counts; in
   * a per-CPU map it need not be. If a hash table is full, nothing is counted. Temporaries end.
   *
   * Throws TypeError unless the map's values are numbers of 4 or 8 bytes in the host's byte order.
   *
   * @example
   * ```ts
   * import { perCpuArray, rawTracepoint, target, u32, u64 } from 'tsbpf';
   *
   * const calls = perCpuArray('calls', { value: u64, maxEntries: 512 });
   *
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
   *   const number = b.arg(1).as(u32);
   *   b.if(number.lt(512), () => b.count(calls, number));
   * });
   * ```
   */
  count<K extends TSchema>(
    map: MapSpec<K> | MapPointer<MapSpec<K>>,
    key: Input<K>,
    amount: Operand = 1,
  ): void {
    this.#machine.statement(this.count, () =>
      emitCount(this.#machine, this.#calls, map, key as Argument, amount),
    );
  }

  /**
   * Sends an event: one call. A perf event array needs the context, and puts the event into the ring of the
   * current CPU. For a ring buffer, `flags` are 0, `BPF_RB_NO_WAKEUP` or `BPF_RB_FORCE_WAKEUP`. The
   * result is 0 or a negative errno: `-ENOSPC` if the perf ring is full, `-EAGAIN` if the ring buffer has no
   * space.
   *
   * The kernel counts the events that a perf ring loses. For a ring buffer, a jump and three instructions
   * follow the call, which count a failure in the map `lost` of the ring buffer.
   *
   * Throws TypeError if the layout of the event is not that of the map's schema, and ProgramError if a byte
   * of the event was never written.
   *
   * @example
   * ```ts
   * import { perfEventArray, rawTracepoint, struct, target, u64 } from 'tsbpf';
   *
   * const Call = struct({ number: u64 });
   * const calls = perfEventArray('calls', Call);
   *
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
   *   const call = b.stack(Call);
   *   call.number.set(b.arg(1));
   *   b.output(calls, call);
   * });
   * ```
   */
  output<E extends TSchema>(events: EventsSpec<E>, event: Memory<E>, flags?: number): Value;
  /**
   * Sends an event of one of several types, as above. The memory has the struct `events.variants[type]`; its
   * `type` is written before the call (one store).
   *
   * @example
   * ```ts
   * import { rawTracepoint, ringBuffer, struct, target, u64 } from 'tsbpf';
   *
   * const variants = { enter: struct({ number: u64 }), leave: struct({ result: u64 }) };
   * const calls = ringBuffer('calls', variants, { bytes: 65_536 });
   *
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
   *   const call = b.stack(calls.variants.enter);
   *   call.number.set(b.arg(1));
   *   b.output(calls, 'enter', call);
   * });
   * ```
   */
  output<V extends EventVariants, K extends keyof V & string>(
    events: EventsSpec<V>,
    type: K,
    event: Memory<Variant<V[K]>>,
    flags?: number,
  ): Value;
  output(events: EventsSpec, ...args: unknown[]): Value {
    return this.#machine.statement(this.output, () => emitOutput(this.#machine, this.#calls, events, args));
  }

  /**
   * Reserves a record in a ring buffer, to be filled in place: one call and one jump (Linux 5.8). `reserved`
   * receives its memory; the address is a temporary, so keep it if `reserved` calls anything. Every path of
   * `reserved` must end the record with `b.submit` or `b.discard`. `full` runs if there is no space; three
   * instructions before it count the lost event in the map `lost` of the ring buffer.
   *
   * Later events of all CPUs wait in the ring buffer until the record is released, so reserve it late.
   *
   * Throws ProgramError if a path does not release the record: at the end of the arm, or at the statement
   * that leaves it.
   *
   * @example
   * ```ts
   * import { chars, getCurrentComm, rawTracepoint, ringBuffer, struct, target } from 'tsbpf';
   *
   * const execs = ringBuffer('execs', struct({ comm: chars(16) }), { bytes: 65_536 });
   *
   * const onExec = rawTracepoint('sched_process_exec', target('x64'), (b) => {
   *   b.reserve(execs, {
   *     reserved: (memory) => {
   *       const exec = b.keep(memory); // outlives the call of getCurrentComm
   *       b.call(getCurrentComm, exec.comm);
   *       b.submit(exec);
   *     },
   *   });
   * });
   * ```
   */
  reserve<E extends TSchema>(
    events: RingBufferSpec<E>,
    arms: { reserved: (event: Memory<E>) => BodyResult; full?: () => BodyResult },
  ): void;
  /** Reserves a record for an event of one of several types, as above. `b.submit` writes its `type`. */
  reserve<V extends EventVariants, K extends keyof V & string>(
    events: RingBufferSpec<V>,
    type: K,
    arms: { reserved: (event: Memory<Variant<V[K]>>) => BodyResult; full?: () => BodyResult },
  ): void;
  reserve(events: RingBufferSpec, ...args: unknown[]): void {
    const arms = args.at(-1) as { reserved: (event: never) => BodyResult; full?: () => BodyResult };
    const record = this.#machine.statement(
      this.reserve,
      () => new ReservedRecord(this.#machine, this.#calls, events, args[0]),
    );
    record.branch.run(
      () => arms.reserved(record.reserved() as never),
      () => {
        record.full();
        return arms.full?.();
      },
    );
  }

  /**
   * Publishes a record that `b.reserve` has reserved: one call, after a store of the `type` if the map has
   * several event types. `flags` are 0, `BPF_RB_NO_WAKEUP` or `BPF_RB_FORCE_WAKEUP`. The record cannot be
   * used after it.
   *
   * Throws ProgramError if a byte of the record was never written, and if the record was released before.
   */
  submit(event: Place | StructMemory, flags = 0): void {
    this.#machine.statement(this.submit, () => void this.#calls.helper(ringbufSubmit, [event, flags]));
  }

  /**
   * Drops a record that `b.reserve` has reserved, so that no reader sees it: one call. `flags` as for
   * `submit`. The record cannot be used after it.
   *
   * Throws ProgramError if the record was released before.
   */
  discard(event: Place | StructMemory, flags = 0): void {
    this.#machine.statement(this.discard, () => void this.#calls.helper(ringbufDiscard, [event, flags]));
  }

  // --- raw instructions --------------------------------------------------------------------------

  /**
   * Emits raw instructions and labels of `tsbpf/asm`. A register that they set belongs to them: r0 to r5
   * until the next call, r6 to r9 to the end of the program. They may read registers that hold values. Stores
   * by r10 mark stack bytes as written; after stores by other registers use `assumeWritten`.
   *
   * Throws ProgramError for a write to a kept register, a read of a register that is not set, a load of
   * unwritten stack bytes, a duplicate label and unreachable instructions. Throws TypeError for a jump by a
   * distance: jump to a label.
   *
   * @example
   * ```ts
   * import { rawTracepoint, target } from 'tsbpf';
   * import { exit, ja, label, mov, r0 } from 'tsbpf/asm';
   *
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
   *   b.emit(mov(r0, 1), ja('end'), label('end'), exit());
   * });
   * ```
   */
  emit(...items: Item[]): void {
    this.#machine.statement(this.emit, () => this.#raw.emit(items), true);
  }

  /**
   * Marks memory as written, after raw instructions have written it by a register other than r10. Emits
   * nothing.
   *
   * Throws ProgramError if the memory is on the stack of a block that has ended.
   */
  assumeWritten(memory: Place | StructMemory): void {
    this.#machine.statement(this.assumeWritten, () => placeOf(memory).markWritten());
  }

  /**
   * Ends the program, unless it has ended, and returns its instructions. Only the library calls it: the hooks
   * and `subprogram`. `position` is the source line of the shared exit code.
   */
  finish(position?: Position): readonly Item[] {
    const { items } = this.#machine;
    this.#raw.finish();
    if (!this.#machine.ended) this.#machine.requireReleasedAtEnd('the end');
    this.#machine.close(`${this.#name} is complete: its values and memory cannot be used any more`);
    const end = [insn.mov(r0, this.#result), insn.exit()].map((made) => ({ ...made, position }));
    const { labels, isUsed: hasRaw } = this.#raw;
    const isProgram = this.#subprogram === undefined;
    return finishList({ items, end, exit: EXIT, labels, hasRaw, isProgram });
  }
}

/** The arms of `pop` and `peek`: `found` gets the value, unless it was an argument. */
interface TakeArms {
  readonly found?: (value: never) => BodyResult;
  readonly missing?: () => BodyResult;
}

/** @throws {TypeError} unless the callee is a helper or a subprogram. */
function requireCallable(callee: unknown): void {
  if (typeof callee === 'object' && callee !== null && ('body' in callee || 'args' in callee)) return;
  const got = typeof callee === 'string' ? `'${callee}'` : callee === null ? 'null' : typeof callee;
  throw new TypeError(
    `b.call() got ${got} instead of a helper or a subprogram: check the name and the import ` +
      "(helpers are exports of 'tsbpf', such as ktimeGetNs; subprogram() makes functions of your own)",
  );
}
