/**
 * The names of labels. A user's label has no `%`, so that a label which the project makes cannot collide with
 * one of the user's.
 */

const RESERVED = '%';

/** Whether only the project may use the label. */
export function isReserved(label: string): boolean {
  return label.includes(RESERVED);
}

/**
 * A label for the project's own use, in the list that is being built. `nameLabels` gives it a plain name in
 * the end.
 */
export function generatedLabel(name: string): string {
  return RESERVED + name;
}

/** The plain name of a generated label; undefined for any other label. */
export function nameOfGenerated(label: string): string | undefined {
  return label.startsWith(RESERVED) ? label.slice(RESERVED.length) : undefined;
}

/** The label that a linked subprogram begins at. */
export function labelOfSubprogram(name: string): string {
  return name + RESERVED;
}

/** A label within a linked subprogram, or, without `label`, what all of them begin with. */
export function labelWithin(subprogram: string, label = ''): string {
  return `${subprogram}${RESERVED}.${label}`;
}

/** The label as people see it: `mix` for the subprogram `mix`, `mix.end` for `end` within it. */
export function shownLabel(label: string): string {
  return isReserved(label) ? label.replace(RESERVED, '') : label;
}
