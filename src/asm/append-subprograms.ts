/**
 * Appends the subprograms that a program references to its instruction list. Each is appended once, no matter
 * how many instructions refer to it. Labels of different functions cannot collide in the result.
 */
import { type Instruction, type Item, isLabel, type SubprogramCode } from './instruction.ts';
import { isJumpTable } from './jump-table.ts';
import { isReserved, labelOfSubprogram, labelWithin } from './labels.ts';

/** Throws an error about `instruction`, or about the whole list. */
type Refuse = (message: string, instruction?: Instruction) => never;

/**
 * Returns the list with its subprograms appended, in the order of their first references. A subprogram begins
 * at a label with its name; listings show a label `end` inside it as `NAME.end`. If no instruction references
 * a subprogram, returns the list itself.
 */
export function appendSubprograms(items: readonly Item[], refuse: Refuse): readonly Item[] {
  if (!hasSubprograms(items)) return items;
  const names = new Names(items, refuse);
  const appended: Item[] = items.map((item) => withLabel(item, names));
  // Subprograms that an appended one calls join `names.appended`, so the loop visits them, too.
  for (const [{ instructions }, name] of names.appended) {
    appended.push({ label: labelOfSubprogram(name) });
    for (const item of instructions) appended.push(withLabel(withPrefix(item, name), names));
  }
  return appended;
}

/** Whether an instruction of the list calls a subprogram or loads its address. */
export function hasSubprograms(items: readonly Item[]): boolean {
  return items.some((item) => subprogramOf(item) !== undefined);
}

function subprogramOf(item: Item): SubprogramCode | undefined {
  return !isLabel(item) && item.reference?.kind === 'subprogram' ? item.reference.subprogram : undefined;
}

/** Replaces the item's reference to a subprogram by a reference to the label at its start. */
function withLabel(item: Item, names: Names): Item {
  const subprogram = subprogramOf(item);
  if (subprogram === undefined) return item;
  const label = labelOfSubprogram(names.of(subprogram, item as Instruction));
  return { ...(item as Instruction), reference: { kind: 'label', label } };
}

/** Prefixes the labels of an item of a subprogram with the subprogram's name. */
function withPrefix(item: Item, name: string): Item {
  if (isLabel(item)) return { label: labelWithin(name, item.label) };
  const { reference } = item;
  if (reference?.kind === 'label')
    return { ...item, reference: { kind: 'label', label: labelWithin(name, reference.label) } };
  if (reference?.kind === 'mapValue' && isJumpTable(reference.map))
    return { ...item, reference: { ...reference, within: labelWithin(name) } };
  return item;
}

/** A C identifier, which BTF requires. */
const IDENTIFIER = /^[A-Za-z_]\w*$/;

/**
 * The names of the appended subprograms. A subprogram keeps its name unless a label of the list or another
 * subprogram has it; then its name gets a suffix: `mix_2`.
 */
class Names {
  /** In the order in which they are appended. */
  readonly appended = new Map<SubprogramCode, string>();
  readonly #taken = new Set<string>();
  readonly #refuse: Refuse;

  constructor(items: readonly Item[], refuse: Refuse) {
    this.#refuse = refuse;
    // A label `mix.end` of the program would look like the label `end` inside `mix`.
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
    if (!IDENTIFIER.test(name)) this.#refuse(`subprogram name '${name}' is not a C identifier`, caller);
    if (!instructions.some((item) => !isLabel(item)))
      this.#refuse(`subprogram '${name}' has no instructions`, caller);
    let free = name;
    for (let next = 2; this.#taken.has(free); next++) free = `${name}_${next}`;
    return free;
  }
}
