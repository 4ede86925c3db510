/** Compares the layout of a schema with a BTF type, for maps that another program created. */
import { hasFields, type Layout } from '../layout.ts';
import type { BtfReader } from './reader.ts';
import { sizeOf, underlying } from './size.ts';
import type { BtfMember, BtfType } from './types.ts';

/**
 * Returns each difference between a BTF type and a layout as a text; none if values of the type decode by the
 * layout. `path` is the name of the value in the texts. `bytes` match any type of their size.
 */
export function layoutDifferences(reader: BtfReader, id: number, layout: Layout, path: string): string[] {
  const { type } = underlying(reader, id);
  const size = sizeOf(reader, id);
  if (layout.kind === 'bytes' && size === layout.size) return [];
  const shape = shapeOf(type);
  const wanted = layout.kind === 'chars' || layout.kind === 'bytes' ? 'array' : layout.kind;
  if (shape !== wanted)
    return [`${path} is of kind ${kindOf(type)} in the kernel, and ${layout.kind} in the schema`];
  if (hasFields(layout)) return memberDifferences(reader, type, layout, path, size);
  if (layout.kind === 'array' && type.kind === 'array' && type.length === layout.length)
    return layoutDifferences(reader, type.element, layout.element, `${path}[]`);
  if (size !== layout.size)
    return [`${path} has ${size} bytes in the kernel, and ${layout.size} in the schema`];
  // A single byte is signed or not as the compiler likes (char).
  if (layout.kind === 'int' && type.kind === 'int' && size > 1 && type.signed !== layout.signed)
    return [`${path} is ${signedness(type)} in the kernel, and ${signedness(layout)} in the schema`];
  return [];
}

const signedness = ({ signed }: { readonly signed: boolean }): string => (signed ? 'signed' : 'unsigned');

function memberDifferences(
  reader: BtfReader,
  type: BtfType,
  layout: Extract<Layout, { kind: 'struct' | 'union' }>,
  path: string,
  size: number,
): string[] {
  const members = new Map(membersOf(reader, type, 0).map((member) => [member.name, member]));
  const differences = layout.fields.flatMap((field) => {
    const name = `${path}.${field.name}`;
    const member = members.get(field.name);
    members.delete(field.name);
    if (member === undefined) return [`${name} is not in the kernel's type`];
    if (member.bitSize) return [`${name} is a bit field in the kernel`];
    if (member.bitOffset !== 8 * field.offset)
      return [
        `${name} is at offset ${member.bitOffset / 8} in the kernel, and at ${field.offset} in the schema`,
      ];
    return layoutDifferences(reader, member.type, field.layout, name);
  });
  for (const name of members.keys())
    differences.push(`${path}.${name} of the kernel's type is not in the schema`);
  if (differences.length === 0 && size !== layout.size)
    differences.push(`${path} has ${size} bytes in the kernel, and ${layout.size} in the schema`);
  return differences;
}

/** The members of a struct or union, and those of its anonymous members, at offsets from its start. */
function membersOf(reader: BtfReader, type: BtfType, start: number): BtfMember[] {
  if (type.kind !== 'struct' && type.kind !== 'union') return [];
  return type.members.flatMap((member) => {
    const bitOffset = start + member.bitOffset;
    if (member.name === '') return membersOf(reader, underlying(reader, member.type).type, bitOffset);
    return [{ ...member, bitOffset }];
  });
}

/** The kind of layout that values of a type have. */
function shapeOf({ kind }: BtfType): string {
  return kind === 'enum' || kind === 'enum64' || kind === 'ptr' ? 'int' : kind;
}

function kindOf(type: BtfType): string {
  const name = 'name' in type ? type.name : '';
  return name === '' ? type.kind : `${type.kind} ${name}`;
}
