/**
 * Extends jumps past 16 bits with `gotol` (Linux 6.6): a `ja` becomes a `gotol`, and a conditional jump
 * becomes an inverted one over a `gotol`.
 */
import { gotol, ja, label } from '../constructors.ts';
import { slotsOf } from '../encode.ts';
import { type Instruction, type Item, isLabel } from '../instruction.ts';
import { distanceField, type Form, formOf } from '../isa.ts';
import { generatedLabel } from '../labels.ts';
import { JA } from '../opcodes.ts';
import { limitsOf } from '../operands.ts';
import { labelNamed } from './labeled.ts';

/** The maximum number of slots of an extended jump: the jump, a jump over the third, and the `gotol`. */
const MAX_SLOTS = 3;
const { min: MIN, max: MAX } = limitsOf('target');
/**
 * The number of rounds that search for jumps which extending others moved out of reach. After them, every
 * jump that might be out of reach is extended.
 */
const ROUNDS = 8;

/** Returns the same list if every jump reaches its label, otherwise a list in which every jump does. */
export function extendFarJumps(items: readonly Item[]): readonly Item[] {
  const jumps = shortJumps(items);
  if (jumps.length === 0) return items;
  const far = new Set<number>();
  for (let round = 0; round <= ROUNDS; round++) {
    const isLast = round === ROUNDS;
    const slots = slotsBefore(items, isLast ? new Set() : far);
    const share = isLast ? MAX_SLOTS : 1;
    const before = far.size;
    for (const { index, to } of jumps) {
      const distance = ((slots[to] as number) - (slots[index] as number) - 1) * share;
      if (distance < MIN || distance > MAX) far.add(index);
    }
    if (far.size === before) break;
  }
  return far.size === 0 ? items : extended(items, far);
}

/** The 16-bit jumps to labels of the list, and those labels, by their indexes in the list. */
function shortJumps(items: readonly Item[]): { readonly index: number; readonly to: number }[] {
  const labels = new Map<string, number>();
  const named: { index: number; label: string }[] = [];
  for (const [index, item] of items.entries())
    if (isLabel(item)) labels.set(item.label, index);
    else {
      const label = labelNamed(item);
      const form = label === undefined ? undefined : formOf(item);
      if (label !== undefined && form !== undefined && distanceField(form) === 'off')
        named.push({ index, label });
    }
  return named.flatMap(({ index, label }) => {
    const to = labels.get(label);
    return to === undefined ? [] : [{ index, to }];
  });
}

/** The slot of each item if the jumps in `far` are extended. */
function slotsBefore(items: readonly Item[], far: ReadonlySet<number>): Int32Array {
  const slots = new Int32Array(items.length);
  let slot = 0;
  for (const [index, item] of items.entries()) {
    slots[index] = slot;
    if (!isLabel(item)) slot += far.has(index) ? slotsExtended(item) : slotsOf(item);
  }
  return slots;
}

function slotsExtended(jump: Instruction): number {
  if (jump.opcode === JA) return 1;
  return (formOf(jump) as Form).inverse === undefined ? MAX_SLOTS : 2;
}

function extended(items: readonly Item[], far: ReadonlySet<number>): Item[] {
  const made: Item[] = [];
  let count = 0;
  for (const [index, item] of items.entries()) {
    if (isLabel(item) || !far.has(index)) {
      made.push(item);
      continue;
    }
    count += 1;
    const { position } = item;
    const to = labelNamed(item) as string;
    const placed = (instruction: Instruction): Instruction =>
      position === undefined ? instruction : { ...instruction, position };
    const leadingTo = (name: string, opcode = item.opcode): Instruction => ({
      ...item,
      opcode,
      reference: { kind: 'label', label: name },
    });
    const { inverse } = formOf(item) as Form;
    const near = generatedLabel(`near_${count}`);
    const onward = generatedLabel(`far_${count}`);
    if (item.opcode === JA) made.push(placed(gotol(to)));
    else if (inverse !== undefined) made.push(leadingTo(near, inverse), placed(gotol(to)), label(near));
    else made.push(leadingTo(onward), placed(ja(near)), label(onward), placed(gotol(to)), label(near));
  }
  return made;
}
