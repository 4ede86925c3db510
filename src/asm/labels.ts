/**
 * Names of labels. `%` is reserved for generated labels, so that they cannot collide with labels of the user.
 */

const RESERVED = '%';

/** Whether a label has the reserved character. */
export function isReserved(label: string): boolean {
  return label.includes(RESERVED);
}

/** Makes a label for generated code. At the end, `nameLabels` gives it a plain name. */
export function generatedLabel(name: string): string {
  return RESERVED + name;
}

/** Returns the plain name of a generated label; undefined for other labels. */
export function nameOfGenerated(label: string): string | undefined {
  return label.startsWith(RESERVED) ? label.slice(RESERVED.length) : undefined;
}

/** The label at the start of an appended subprogram. */
export function labelOfSubprogram(name: string): string {
  return name + RESERVED;
}

/** A label inside an appended subprogram; without `label`, the prefix of all its labels. */
export function labelWithin(subprogram: string, label = ''): string {
  return `${subprogram}${RESERVED}.${label}`;
}

/** The label in listings: `mix` for the subprogram `mix`, `mix.end` for `end` inside it. */
export function shownLabel(label: string): string {
  return isReserved(label) ? label.replace(RESERVED, '') : label;
}
