/**
 * The program context: the registers that hold its address, and the arguments, results and fields in it.
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
 * What one program or subprogram was given. Places are typed, and each use of one is a load by way of the
 * context's register.
 */
export class ProgramContext {
  readonly #machine: Machine;
  readonly #of: ContextLayout;
  readonly #name: string;
  /**
   * The context's registers, in the order in which it came into them; empty in a subprogram that isn't given
   * it.
   */
  readonly #contexts: Value[] = [];

  /**
   * Of what is built under that name: the context is in r1 where it is `handed` over, as it is not to every
   * subprogram.
   */
  constructor(machine: Machine, of: ContextLayout, name: string, handed: boolean) {
    this.#machine = machine;
    this.#of = of;
    this.#name = name;
    if (!handed) return;
    const holder = { name: 'the context', position: undefined };
    machine.hold(r1, holder);
    this.#contexts.push(new Value(machine, r1, holder));
  }

  /**
   * The context in the register that it came into last, of those that hold it still. Throws where it wasn't
   * given.
   */
  get context(): Value {
    const context = this.#current();
    if (context === undefined)
      throw withSourcePosition(
        new ProgramError(
          `${this.#name} is not given the context: ask for it, by { context: true } in subprogram()`,
        ),
      );
    return context;
  }

  #current(): Value | undefined {
    const held = this.#contexts.findLast(({ register, holder }) => this.#machine.isHeldBy(register, holder));
    // Reading one that is gone says what took it.
    return held ?? this.#contexts[0];
  }

  /** `kept` has been made of `thing`: if that is the context, it is there from now on. */
  kept(thing: unknown, kept: Value): void {
    if (thing === this.#current()) this.#contexts.push(kept);
  }

  /**
   * An argument by its number, from 0, or its name. @throws {RangeError} if there is none, or it can't be
   * read.
   */
  argument(wanted: number | string): Place {
    return contextSlotPlace(this.#machine, this.context, this.#of.argument(wanted));
  }

  /** The return value of the traced function. @throws {RangeError} unless the program runs at its return. */
  get retval(): Place {
    const { retval, name } = this.#of;
    if (retval === undefined)
      throw new RangeError(`${name} has no return value: b.retval needs kretprobe or fexit`);
    return contextSlotPlace(this.#machine, this.context, retval());
  }

  /** The kind of the program. */
  get kind(): ProgramKind {
    return this.#of.kind;
  }

  /** Throws TypeError if programs of this kind may not call the helper. */
  requireHelper({ name, only }: Helper): void {
    const { kind, name: hook } = this.#of;
    if (only === undefined || only.includes(kind)) return;
    const may = only.length === 0 ? 'only programs that may sleep' : `only ${only.join(', ')} programs`;
    throw new TypeError(`${hook} cannot call bpf_${name}: ${may} can`);
  }

  /** A field of a record, by its name. @throws {RangeError} where the program is given none. */
  field(wanted: string): Place {
    const { field, name } = this.#of;
    const found = field?.(wanted);
    if (!found) throw new RangeError(`${name} gives its program no record with fields`);
    return new Place(this.#machine, this.context, found.offset, layoutOfPart(found), wanted, 'kernel');
  }
}
