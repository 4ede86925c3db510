/**
 * Values in registers. Their operators change the register in place: one call, one instruction.
 */
import * as insn from '../constructors.ts';
import type { Instruction, Register } from '../instruction.ts';
import { describePosition } from '../position.ts';
import type { Holder, Machine } from './machine.ts';
import { immediateOrRegister, type Operand, Readable } from './operand.ts';

/**
 * A 64-bit value in a register: kept (r6 to r9, until its block ends) or temporary (until the next call).
 * Reading one that is gone throws, and names the line that took it.
 */
export class Value extends Readable {
  readonly machine: Machine;
  readonly register: Register;
  readonly holder: Holder;
  /** Whether comparisons are signed; 32 where only the low half counts, as in what a helper returns as an `int`. */
  readonly signed: boolean | 32;
  /** Whether the verifier knows by BTF what it points to. */
  readonly trusted: boolean;

  constructor(
    machine: Machine,
    register: Register,
    holder: Holder,
    traits: { readonly signed?: boolean | 32; readonly trusted?: boolean } = {},
  ) {
    super();
    this.machine = machine;
    this.register = register;
    this.holder = holder;
    this.signed = traits.signed ?? false;
    this.trusted = traits.trusted ?? false;
  }

  /** The register, if it still holds this value. */
  read(): Register {
    if (!this.machine.isHeldBy(this.register, this.holder)) {
      const { name, position, lost } = this.holder;
      const what = `${name} of ${describePosition(position)}`;
      throw new Error(
        lost
          ? `${what} was a temporary in r${this.register.register} and is gone since ${lost.by} at ${describePosition(lost.position)}: keep() it before`
          : `${what} was made in a block that has ended`,
      );
    }
    return this.register;
  }

  toRegister(): Register {
    return this.read();
  }

  loadInto(register: Register): void {
    if (this.read() !== register) this.machine.emit(insn.mov(register, this.read()));
  }

  /** The same register, compared as a signed number of 64 bits, or of its low 32. */
  asSigned(bits: 32 | 64 = 64): Value {
    return new Value(this.machine, this.register, this.holder, { signed: bits === 32 ? 32 : true });
  }

  add(right: Operand): this {
    return this.#change(this.add, right, insn.add);
  }
  sub(right: Operand): this {
    return this.#change(this.sub, right, insn.sub);
  }
  mul(right: Operand): this {
    return this.#change(this.mul, right, insn.mul);
  }
  /** Unsigned; by zero gives zero. */
  div(right: Operand): this {
    return this.#change(this.div, right, insn.div);
  }
  /** Unsigned; by zero leaves the value. */
  mod(right: Operand): this {
    return this.#change(this.mod, right, insn.mod);
  }
  and(right: Operand): this {
    return this.#change(this.and, right, insn.and);
  }
  or(right: Operand): this {
    return this.#change(this.or, right, insn.or);
  }
  xor(right: Operand): this {
    return this.#change(this.xor, right, insn.xor);
  }
  lsh(right: Operand): this {
    return this.#change(this.lsh, right, insn.lsh);
  }
  rsh(right: Operand): this {
    return this.#change(this.rsh, right, insn.rsh);
  }
  arsh(right: Operand): this {
    return this.#change(this.arsh, right, insn.arsh);
  }

  /** Swaps the low 16, 32 or 64 bits between the host's byte order and the network's, and clears the rest. */
  toBe(bits: 16 | 32 | 64): this {
    return this.machine.statement(this.toBe, () => {
      this.machine.emit(insn.toBe(bits, this.read()));
      return this;
    });
  }

  /** The number of its highest bit: 0 for 1, 3 for 8 to 15, 63 at most; 0 for 0, too. 22 instructions, one register more meanwhile. */
  log2(): this {
    return this.machine.statement(this.log2, () => {
      const value = this.read();
      const result = this.machine.scratch();
      this.machine.emit(insn.mov(result, 0));
      for (const bits of [32, 16, 8, 4, 2, 1]) {
        const below = this.machine.freshLabel('below');
        const bound = immediateOrRegister(this.machine, 2 ** bits);
        this.machine.emit(insn.jlt(value, bound, below), insn.rsh(value, bits), insn.add(result, bits));
        this.machine.emit(insn.label(below));
      }
      this.machine.emit(insn.mov(value, result));
      return this;
    });
  }

  #change(
    callee: (right: Operand) => this,
    right: Operand,
    make: (dst: Register, src: Register | number) => Instruction,
  ): this {
    return this.machine.statement(callee, () => {
      const source = immediateOrRegister(this.machine, right);
      this.machine.emit(make(this.read(), source));
      return this;
    });
  }
}
