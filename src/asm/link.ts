/**
 * Linking: the subprograms that a list of instructions reaches are put behind it, each of them once, however often and from wherever it
 * is called. What is left are labels of one list.
 */
import { type Instruction, type Item, isLabel, type Subprogram } from './instruction.ts';
import { isJumpTable } from './jump-table.ts';

/** Throws; the instruction is the one that refers to what is wrong, where it is one. */
type Refuse = (message: string, instruction?: Instruction) => never;

/**
 * The list with its subprograms behind it, in the order in which they are first referred to. A subprogram begins at a label of its name; a
 * label `end` within it becomes `NAME.end`. A list that refers to none is given back as it is.
 */
export function linkSubprograms(items: readonly Item[], refuse: Refuse): readonly Item[] {
  if (!items.some((item) => subprogramOf(item) !== undefined)) return items;
  const names = new Names(items, refuse);
  const linked: Item[] = items.map((item) => withLabel(item, names));
  // Those that a subprogram calls join while it is gone through, and are gone through themselves.
  for (const [{ instructions }, name] of names.linked) {
    linked.push({ label: name });
    for (const item of instructions) linked.push(withLabel(inside(item, name), names));
  }
  return linked;
}

function subprogramOf(item: Item): Subprogram | undefined {
  return !isLabel(item) && item.reference?.kind === 'subprogram' ? item.reference.subprogram : undefined;
}

/** The item, with the label of a subprogram in its place. */
function withLabel(item: Item, names: Names): Item {
  const subprogram = subprogramOf(item);
  if (subprogram === undefined) return item;
  const label = names.of(subprogram, item as Instruction);
  return { ...(item as Instruction), reference: { kind: 'label', label } };
}

/** The item of a subprogram, whose labels are its own. */
function inside(item: Item, name: string): Item {
  if (isLabel(item)) return { label: `${name}.${item.label}` };
  const { reference } = item;
  if (reference?.kind === 'label')
    return { ...item, reference: { kind: 'label', label: `${name}.${reference.label}` } };
  if (reference?.kind === 'mapValue' && isJumpTable(reference.map))
    return { ...item, reference: { ...reference, within: `${name}.` } };
  return item;
}

/** A C identifier, as BTF asks for. */
const IDENTIFIER = /^[A-Za-z_]\w*$/;

/** The labels of subprograms: their names, as long as no other thing has them. */
class Names {
  /** In the order in which they are linked. */
  readonly linked = new Map<Subprogram, string>();
  readonly #taken = new Set<string>();
  readonly #refuse: Refuse;

  constructor(items: readonly Item[], refuse: Refuse) {
    this.#refuse = refuse;
    // A label `mix.end` of the program's own would be taken for one inside of `mix`.
    for (const item of items) if (isLabel(item)) this.#taken.add(item.label.replace(/\..*$/s, ''));
  }

  of(subprogram: Subprogram, caller: Instruction): string {
    const known = this.linked.get(subprogram);
    if (known !== undefined) return known;
    const name = this.#nameFor(subprogram, caller);
    this.#taken.add(name);
    this.linked.set(subprogram, name);
    return name;
  }

  #nameFor({ name, instructions }: Subprogram, caller: Instruction): string {
    if (!IDENTIFIER.test(name)) this.#refuse(`the subprogram '${name}': a name is a C identifier`, caller);
    if (!instructions.some((item) => !isLabel(item)))
      this.#refuse(`the subprogram '${name}' has no instructions`, caller);
    let free = name;
    for (let next = 2; this.#taken.has(free); next++) free = `${name}_${next}`;
    return free;
  }
}
