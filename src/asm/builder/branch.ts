/**
 * Conditions into jumps, and arms into a straight line of instructions.
 */
import * as insn from '../constructors.ts';
import type { Instruction, Item, Register } from '../instruction.ts';
import { isLabel } from '../instruction.ts';
import { GOTOL, JA } from '../opcodes.ts';
import type { Machine } from './machine.ts';
import {
  type Comparison,
  type Condition,
  immediateOrRegister,
  type Operand,
  type Readable,
} from './operand.ts';
import { bigEndian, inMemoryOrder, Place } from './place.ts';
import { Value } from './value.ts';

type Jump = (left: Register, right: Register | number, target: string) => Instruction;
interface JumpRow {
  readonly unsigned: Jump;
  readonly signed: Jump;
  /** The same on the low 32 bits. */
  readonly signed32: Jump;
  /** The comparison that is true where this one is false, if there is one. */
  readonly inverse?: Comparison;
}

const JUMPS: Record<Comparison, JumpRow> = {
  eq: { unsigned: insn.jeq, signed: insn.jeq, signed32: insn.jeq32, inverse: 'ne' },
  ne: { unsigned: insn.jne, signed: insn.jne, signed32: insn.jne32, inverse: 'eq' },
  gt: { unsigned: insn.jgt, signed: insn.jsgt, signed32: insn.jsgt32, inverse: 'le' },
  ge: { unsigned: insn.jge, signed: insn.jsge, signed32: insn.jsge32, inverse: 'lt' },
  lt: { unsigned: insn.jlt, signed: insn.jslt, signed32: insn.jslt32, inverse: 'ge' },
  le: { unsigned: insn.jle, signed: insn.jsle, signed32: insn.jsle32, inverse: 'gt' },
  bits: { unsigned: insn.jset, signed: insn.jset, signed32: insn.jset32 },
};

/** A condition whose operands are loaded: what is left is the jump, either way round. */
export interface Question {
  jumpIf(target: string): Instruction;
  /** Undefined where the jump has no opposite. */
  jumpUnless(target: string): Instruction | undefined;
}

/** Loads a condition's operands. */
export function ask(machine: Machine, { left, comparison, right }: Condition): Question {
  const { position } = machine;
  const operands = loadOperands(machine, left, comparison, right);
  const jump = (which: Comparison, target: string): Instruction => ({
    ...JUMPS[which][operands.kind](operands.left, operands.right, target),
    position,
  });
  const { inverse } = JUMPS[comparison];
  return {
    jumpIf: (target) => jump(comparison, target),
    jumpUnless: (target) => (inverse ? jump(inverse, target) : undefined),
  };
}

function loadOperands(machine: Machine, left: Readable, comparison: Comparison, right: Operand) {
  if (left instanceof Value)
    return {
      kind:
        left.signed === 32
          ? ('signed32' as const)
          : left.signed
            ? ('signed' as const)
            : ('unsigned' as const),
      left: left.read(),
      right: immediateOrRegister(machine, right),
    };
  if (!(left instanceof Place)) throw new TypeError('a condition compares a value or a place');
  const constant = typeof right === 'number' || typeof right === 'bigint';
  // Swapping the constant instead of the field, and comparing the low half instead of widening a sign.
  if (constant && bigEndian(left) && (comparison === 'eq' || comparison === 'ne')) {
    const register = machine.scratch();
    left.loadRaw(register);
    const bytes = inMemoryOrder(left, BigInt(right)) ?? right;
    return { kind: 'unsigned' as const, left: register, right: immediateOrRegister(machine, bytes) };
  }
  if (constant && left.signed && left.size === 4) {
    const register = machine.scratch();
    left.loadRaw(register);
    return { kind: 'signed32' as const, left: register, right: Number(right) };
  }
  return {
    kind: left.signed ? ('signed' as const) : ('unsigned' as const),
    left: left.toRegister(),
    right: immediateOrRegister(machine, right),
  };
}

/** An arm that has been built: its items, and whether its end is reached. */
export interface Arm {
  readonly items: readonly Item[];
  readonly ended: boolean;
}

/**
 * Lays two arms out in a line. An arm that only jumps becomes the target of the question's own jump; an empty
 * one costs nothing.
 */
export function layOut(machine: Machine, question: Question, then: Arm, otherwise: Arm): Item[] {
  const end = machine.freshLabel('end');
  const thenTarget = soleJump(then);
  if (thenTarget) return [question.jumpIf(thenTarget), ...otherwise.items];
  const otherTarget = soleJump(otherwise);
  const skip = question.jumpUnless(otherTarget ?? end);
  if (otherTarget && skip) return [skip, ...then.items];
  if (then.items.length === 0) return [question.jumpIf(end), ...otherwise.items, insn.label(end)];
  if (otherwise.items.length === 0 && skip) return [skip, ...then.items, insn.label(end)];

  const second = machine.freshLabel(skip ? 'else' : 'then');
  const over = { ...insn.ja(end), position: machine.position };
  const inverted = question.jumpUnless(second);
  const [first, last] = inverted ? [then, otherwise] : [otherwise, then];
  return [
    inverted ?? question.jumpIf(second),
    ...first.items,
    ...(first.ended ? [] : [over]),
    insn.label(second),
    ...last.items,
    insn.label(end),
  ];
}

function soleJump({ items }: Arm): string | undefined {
  const [only] = items;
  if (items.length !== 1 || !only || isLabel(only) || !isJump(only)) return undefined;
  return only.reference?.kind === 'label' ? only.reference.label : undefined;
}

/** `ja` and `gotol`: nothing but a jump. */
export function isJump({ opcode }: Instruction): boolean {
  return opcode === JA || opcode === GOTOL;
}
