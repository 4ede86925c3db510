/**
 * Linking puts the subprograms that a list of instructions reaches behind it, each of them once, however many
 * instructions refer to it. The result is one list, in which each function's labels stay its own.
 */
import { type Instruction, type Item, isLabel, type SubprogramCode } from './instruction.ts';
import { isJumpTable } from './jump-table.ts';
import { isReserved, labelOfSubprogram, labelWithin } from './labels.ts';

/** Throws an error about `instruction`, or about the list as a whole. */
type Refuse = (message: string, instruction?: Instruction) => never;

/**
 * The list with its subprograms behind it, in the order of the first references to them. A subprogram begins
 * at a label of its name; a label `end` within it is shown as `NAME.end`. A list without references to
 * subprograms stays the same list.
 */
export function appendSubprograms(items: readonly Item[], refuse: Refuse): readonly Item[] {
  if (!hasSubprograms(items)) return items;
  const names = new Names(items, refuse);
  const appended: Item[] = items.map((item) => withLabel(item, names));
  // A subprogram that this one calls joins `names.linked`, and gets its turn.
  for (const [{ instructions }, name] of names.appended) {
    appended.push({ label: labelOfSubprogram(name) });
    for (const item of instructions) appended.push(withLabel(inside(item, name), names));
  }
  return appended;
}

/** Whether an instruction of the list calls a subprogram that is to be linked, or takes its address. */
export function hasSubprograms(items: readonly Item[]): boolean {
  return items.some((item) => subprogramOf(item) !== undefined);
}

function subprogramOf(item: Item): SubprogramCode | undefined {
  return !isLabel(item) && item.reference?.kind === 'subprogram' ? item.reference.subprogram : undefined;
}

/** The item, which refers to a subprogram by its label now. */
function withLabel(item: Item, names: Names): Item {
  const subprogram = subprogramOf(item);
  if (subprogram === undefined) return item;
  const label = labelOfSubprogram(names.of(subprogram, item as Instruction));
  return { ...(item as Instruction), reference: { kind: 'label', label } };
}

/** An item of a subprogram, with the subprogram's own labels. */
function inside(item: Item, name: string): Item {
  if (isLabel(item)) return { label: labelWithin(name, item.label) };
  const { reference } = item;
  if (reference?.kind === 'label')
    return { ...item, reference: { kind: 'label', label: labelWithin(name, reference.label) } };
  if (reference?.kind === 'mapValue' && isJumpTable(reference.map))
    return { ...item, reference: { ...reference, within: labelWithin(name) } };
  return item;
}

/** A C identifier, as BTF asks for. */
const IDENTIFIER = /^[A-Za-z_]\w*$/;

/**
 * The names of linked subprograms: their own, unless a label of the list or another subprogram has the name.
 */
class Names {
  /** In the order in which they are linked. */
  readonly appended = new Map<SubprogramCode, string>();
  readonly #taken = new Set<string>();
  readonly #refuse: Refuse;

  constructor(items: readonly Item[], refuse: Refuse) {
    this.#refuse = refuse;
    // A label `mix.end` of the program's own would look like one inside of `mix`.
    for (const item of items) {
      if (isLabel(item)) this.#taken.add(item.label.replace(/[.%].*$/s, ''));
      else if (item.reference?.kind === 'label' && isReserved(item.reference.label))
        this.#taken.add(item.reference.label.replace(/%.*$/s, ''));
    }
  }

  of(subprogram: SubprogramCode, caller: Instruction): string {
    const known = this.appended.get(subprogram);
    if (known !== undefined) return known;
    const name = this.#nameFor(subprogram, caller);
    this.#taken.add(name);
    this.appended.set(subprogram, name);
    return name;
  }

  #nameFor({ name, instructions }: SubprogramCode, caller: Instruction): string {
    if (!IDENTIFIER.test(name)) this.#refuse(`the subprogram '${name}': a name is a C identifier`, caller);
    if (!instructions.some((item) => !isLabel(item)))
      this.#refuse(`the subprogram '${name}' has no instructions`, caller);
    let free = name;
    for (let next = 2; this.#taken.has(free); next++) free = `${name}_${next}`;
    return free;
  }
}
