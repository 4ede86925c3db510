/**
 * The layout of a branch: places its jump and arms one after the other.
 */

import { isUnconditionalJump } from '../cfg/optimize-jumps.ts';
import * as insn from '../constructors.ts';
import { isLabel } from '../instruction.ts';
import type { Position } from '../position.ts';
import type { LoadedComparison } from './compare.ts';
import type { Machine, Sequence } from './machine.ts';

/** A complete arm: its instructions, and whether it ends in an exit or a jump. */
export interface Arm {
  readonly items: Sequence;
  readonly ended: boolean;
}

/**
 * Lays out a branch. If an arm is only a jump, the conditional jump goes directly to its target. An empty arm
 * needs no instructions.
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

/** The target of an arm that is only a jump; undefined for other arms. */
function soleJump({ items }: Arm): string | undefined {
  const [only] = items;
  if (items.length !== 1 || !only || Array.isArray(only) || isLabel(only) || !isUnconditionalJump(only))
    return undefined;
  return only.reference?.kind === 'label' ? only.reference.label : undefined;
}
