/**
 * The last step of building: jumps to jumps go where they end up, jumps to the next instruction go away, and
 * so do labels that nothing jumps to and instructions that nothing reaches (which the verifier would refuse).
 */
import { type Instruction, type Item, isLabel } from '../instruction.ts';
import { isJumpTable } from '../jump-table.ts';
import { EXIT } from '../opcodes.ts';
import { isJump } from './branch.ts';

/** The same program, with no more instructions; those that are left keep their order and lines. */
export function straighten(items: readonly Item[]): Item[] {
  let before = [...items];
  for (;;) {
    const after = dropJumpsToNext(dropUnreached(threadJumps(before)));
    if (after.length === before.length) return after;
    before = after;
  }
}

function target(item: Item | undefined): string | undefined {
  if (!item || isLabel(item) || item.reference?.kind !== 'label') return undefined;
  return item.reference.label;
}

/** The labels that an instruction may lead to by way of the jump table that it loads. */
function tableTargets(item: Item): readonly string[] {
  if (isLabel(item) || item.reference === undefined || !('map' in item.reference)) return [];
  return isJumpTable(item.reference.map) ? item.reference.map.labels : [];
}

function threadJumps(items: readonly Item[]): Item[] {
  const following = followers(items);
  const destination = (name: string, seen = new Set<string>()): string => {
    const next = following.get(name);
    const onward = next && isJump(next) ? target(next) : undefined;
    if (onward === undefined || seen.has(onward)) return name;
    return destination(onward, seen.add(name));
  };
  return items.map((item) => {
    const name = target(item);
    if (name === undefined || isLabel(item)) return item;
    const label = destination(name);
    return label === name ? item : { ...item, reference: { kind: 'label', label } };
  });
}

/** The instruction that each label stands before. */
function followers(items: readonly Item[]): ReadonlyMap<string, Instruction> {
  const following = new Map<string, Instruction>();
  let next: Instruction | undefined;
  for (const item of items.toReversed()) {
    if (!isLabel(item)) next = item;
    else if (next) following.set(item.label, next);
  }
  return following;
}

function dropUnreached(items: readonly Item[]): Item[] {
  const targets = new Set([...items.map(target), ...items.flatMap(tableTargets)]);
  let reached = true;
  return items.filter((item) => {
    if (isLabel(item)) {
      if (targets.has(item.label)) reached = true;
      return targets.has(item.label);
    }
    const kept = reached;
    if (isJump(item) || item.opcode === EXIT) reached = false;
    return kept;
  });
}

function dropJumpsToNext(items: readonly Item[]): Item[] {
  return items.filter((item, i) => {
    const name = target(item);
    if (name === undefined || isLabel(item) || !isJump(item)) return true;
    for (let next = i + 1; next < items.length; next++) {
      const follower = items[next];
      if (!follower || !isLabel(follower)) return true;
      if (follower.label === name) return false;
    }
    return true;
  });
}
