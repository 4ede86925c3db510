/** Gives generated labels plain names that no label of the user has. */
import { type Item, isLabel } from '../instruction.ts';
import { nameOfGenerated } from '../labels.ts';
import { labelNamed, tablesLoaded } from './labeled.ts';

/**
 * Returns the list with plain names for generated labels: `NAME`, or `NAME_2` and so on if the user has that
 * label.
 */
export function nameLabels(items: readonly Item[]): Item[] {
  const taken = new Set<string>();
  const take = (label: string | undefined): void => {
    if (label !== undefined && nameOfGenerated(label) === undefined) taken.add(label);
  };
  for (const item of items) take(isLabel(item) ? item.label : labelNamed(item));
  for (const labels of tablesLoaded(items)) labels.forEach(take);
  const names = new Map<string, string>();
  const nameFor = (label: string): string => {
    const wanted = nameOfGenerated(label);
    if (wanted === undefined) return label;
    const known = names.get(label);
    if (known !== undefined) return known;
    let name = wanted;
    for (let next = 2; taken.has(name); next++) name = `${wanted}_${next}`;
    taken.add(name);
    names.set(label, name);
    return name;
  };
  return items.map((item) => {
    if (isLabel(item))
      return nameOfGenerated(item.label) === undefined ? item : { label: nameFor(item.label) };
    const label = labelNamed(item);
    if (label === undefined || nameOfGenerated(label) === undefined) return item;
    return { ...item, reference: { kind: 'label', label: nameFor(label) } };
  });
}
