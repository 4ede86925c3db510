/**
 * The layout of a branch: its arms in one sequence of instructions.
 */

import { isUnconditionalJump } from '../cfg/optimize-jumps.ts';
import * as insn from '../constructors.ts';
import { isLabel } from '../instruction.ts';
import type { Position } from '../position.ts';
import type { LoadedComparison } from './compare.ts';
import type { Machine, Sequence } from './machine.ts';

/** A complete arm: its instructions, and whether it has ended by an exit or a jump. */
export interface Arm {
  readonly items: Sequence;
  readonly ended: boolean;
}

/**
 * Lays two arms out in a line. An arm that only jumps becomes the target of the question's own jump; an empty
 * one costs nothing.
 */
export function layOut(
  machine: Machine,
  {
    comparison,
    position,
  }: { readonly comparison: LoadedComparison; readonly position: Position | undefined },
  then: Arm,
  otherwise: Arm,
): Sequence {
  const end = machine.freshLabel('end');
  const thenTarget = soleJump(then);
  if (thenTarget) return [comparison.jumpIf(thenTarget), otherwise.items];
  const otherTarget = soleJump(otherwise);
  const skip = comparison.jumpUnless(otherTarget ?? end);
  if (otherTarget && skip) return [skip, then.items];
  if (then.items.length === 0) return [comparison.jumpIf(end), otherwise.items, insn.label(end)];
  if (otherwise.items.length === 0 && skip) return [skip, then.items, insn.label(end)];

  const second = machine.freshLabel(skip ? 'else' : 'then');
  const over = { ...insn.ja(end), position };
  const inverted = comparison.jumpUnless(second);
  const [first, last] = inverted ? [then, otherwise] : [otherwise, then];
  return [
    inverted ?? comparison.jumpIf(second),
    first.items,
    ...(first.ended ? [] : [over]),
    insn.label(second),
    last.items,
    insn.label(end),
  ];
}

function soleJump({ items }: Arm): string | undefined {
  const [only] = items;
  if (items.length !== 1 || !only || Array.isArray(only) || isLabel(only) || !isUnconditionalJump(only))
    return undefined;
  return only.reference?.kind === 'label' ? only.reference.label : undefined;
}
