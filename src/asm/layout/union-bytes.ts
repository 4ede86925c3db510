/** Builds the bytes of a union from its members. */
import { type FieldLayout, hasFields, type Layout, type StructLayout } from './c-layout.ts';

/** The bytes of a union. Members are added one by one, and must agree on the bytes that they share. */
export class UnionBytes {
  readonly bytes: Uint8Array;
  readonly #layout: StructLayout;
  readonly #path: string;
  /** For each byte, the member that set it. */
  readonly #setBy: (string | undefined)[];
  #isEmpty = true;

  /** `path` is the union's name in messages. */
  constructor(layout: StructLayout, path: string) {
    this.bytes = new Uint8Array(layout.size);
    this.#layout = layout;
    this.#path = path;
    this.#setBy = new Array(layout.size).fill(undefined);
  }

  /**
   * Sets the bytes of a member except for its padding. Throws RangeError if another member set them
   * differently.
   */
  add({ name, layout }: FieldLayout, bytes: Uint8Array): void {
    this.#isEmpty = false;
    for (const [at, isPadding] of paddingOf(layout).entries()) {
      if (isPadding) continue;
      const other = this.#setBy[at];
      if (other !== undefined && this.bytes[at] !== bytes[at])
        throw new RangeError(
          `${this.#path}: ${other} and ${name} share bytes of the union and differ there: set only one of them`,
        );
      this.bytes[at] = bytes[at] as number;
      this.#setBy[at] = name;
    }
  }

  /** Throws TypeError if no member was added. */
  requireMember(): void {
    if (this.#isEmpty)
      throw new TypeError(
        `${this.#path}: a union needs one of its members, ${this.#layout.fields.map((f) => f.name).join(', ')}`,
      );
  }
}

/**
 * For each byte of a layout, whether it is padding. A byte of a union is padding if it is padding in every
 * member.
 */
export function paddingOf(layout: Layout): boolean[] {
  const padding = new Array<boolean>(layout.size).fill(layout.kind === 'union');
  if (layout.kind === 'array') {
    const element = paddingOf(layout.element);
    return padding.map((_, at) => element[at % layout.element.size] === true);
  }
  if (!hasFields(layout)) return padding;
  if (layout.kind === 'struct')
    for (const { offset, size } of layout.padding) padding.fill(true, offset, offset + size);
  for (const field of layout.fields)
    for (const [at, isPadding] of paddingOf(field.layout).entries())
      if (isPadding === (layout.kind === 'struct')) padding[field.offset + at] = isPadding;
  return padding;
}
