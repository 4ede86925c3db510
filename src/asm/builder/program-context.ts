/**
 * The program context: the registers that hold its address, and its arguments, return value and fields.
 */
import { ProgramError } from '../error.ts';
import { withSourcePosition } from '../error-position.ts';
import type { Helper } from '../helpers.ts';
import type { ProgramKind } from '../program-types.ts';
import { r1 } from '../registers.ts';
import type { ContextLayout } from './context-layout.ts';
import { contextSlotPlace } from './context-slot.ts';
import { layoutOfPart } from './kernel-pointer.ts';
import type { Machine } from './machine.ts';
import { Place } from './place.ts';
import { Value } from './value.ts';

/**
 * The context of one program or subprogram. Its arguments, return value and fields are typed places. Each use
 * of one loads it through the register that holds the context.
 */
export class ProgramContext {
  readonly #machine: Machine;
  readonly #of: ContextLayout;
  readonly #name: string;
  /** The copies of the context's address, oldest first. Empty in a subprogram that does not receive it. */
  readonly #contexts: Value[] = [];

  /**
   * The context of the program or subprogram `name`. If it `receives` the context, r1 holds its address at
   * the start.
   */
  constructor(machine: Machine, of: ContextLayout, name: string, receives: boolean) {
    this.#machine = machine;
    this.#of = of;
    this.#name = name;
    if (!receives) return;
    const holder = { name: 'the context', position: undefined };
    machine.hold(r1, holder);
    this.#contexts.push(new Value(machine, r1, holder));
  }

  /**
   * The newest copy of the context's address that is still in its register. Throws ProgramError if the
   * subprogram does not receive the context.
   */
  get context(): Value {
    const context = this.#current();
    if (context === undefined)
      throw withSourcePosition(
        new ProgramError(
          `${this.#name} does not receive the context: pass { context: true } to subprogram()`,
        ),
      );
    return context;
  }

  #current(): Value | undefined {
    const held = this.#contexts.findLast(({ register, holder }) => this.#machine.isHeldBy(register, holder));
    // If all copies are lost, the error of reading the first one names the cause.
    return held ?? this.#contexts[0];
  }

  /** Notes that `kept` is a copy of `thing`. If `thing` is the context, later accesses use the copy. */
  kept(thing: unknown, kept: Value): void {
    if (thing === this.#current()) this.#contexts.push(kept);
  }

  /**
   * Finds an argument by number, from 0, or name. Throws RangeError if it does not exist or cannot be read.
   */
  argument(wanted: number | string): Place {
    return contextSlotPlace(this.#machine, this.context, this.#of.argument(wanted));
  }

  /** The return value of the traced function. Throws RangeError unless the program runs at its return. */
  get retval(): Place {
    const { retval, name } = this.#of;
    if (retval === undefined)
      throw withSourcePosition(
        new RangeError(`${name} has no return value: b.retval needs kretprobe or fexit`),
      );
    return contextSlotPlace(this.#machine, this.context, retval());
  }

  /** The program kind. */
  get kind(): ProgramKind {
    return this.#of.kind;
  }

  /** Throws TypeError if programs of this kind cannot call the helper. */
  requireHelper({ name, only }: Helper): void {
    const { kind, name: hook } = this.#of;
    if (only === undefined || only.includes(kind)) return;
    const may = only.length === 0 ? 'only sleepable programs' : `only ${only.join(', ')} programs`;
    throw new TypeError(`${hook} cannot call bpf_${name}: ${may} can`);
  }

  /** Finds a field of a tracepoint record by name. Throws RangeError if the context is not a record. */
  field(wanted: string): Place {
    const { field, name } = this.#of;
    const found = field?.(wanted);
    if (!found)
      throw new RangeError(`the context of ${name} is not a record: b.field() needs a tracepoint program`);
    return new Place(this.#machine, this.context, found.offset, layoutOfPart(found), wanted, 'kernel');
  }
}
