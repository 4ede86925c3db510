/**
 * A function as C declares it, in the words of bpftool's dumps: `int count(void * ctx)`.
 *
 * Source: tools/bpf/bpftool/btf_dumper.c (`btf_dumper_type_only`).
 */
import type { Btf } from '../btf.ts';
import { DEEPEST } from './size.ts';

/** The heading of a function, of which `id` is the type. Throws BtfError where a type on the way isn't there. */
export function signatureOf(btf: Btf, id: number): string {
  const type = btf.type(id);
  return type.kind === 'func' ? proto(btf, type.type, type.name) : typeName(btf, id, DEEPEST).trim();
}

function proto(btf: Btf, id: number, name: string): string {
  const type = btf.type(id);
  if (type.kind !== 'func_proto') return name;
  const parameters = type.parameters.map((parameter) =>
    // A parameter of no type and no name is what C writes as three dots.
    parameter.type === 0 ? '...' : `${typeName(btf, parameter.type, DEEPEST)}${parameter.name}`,
  );
  return `${typeName(btf, type.returns, DEEPEST)}${name}(${parameters.join(', ')})`;
}

/** With a blank behind it, as what follows is a name. */
function typeName(btf: Btf, id: number, depth: number): string {
  const type = btf.type(id);
  const inner = (of: number): string => (depth === 0 ? '' : typeName(btf, of, depth - 1));
  switch (type.kind) {
    case 'void':
      return 'void ';
    case 'ptr':
      return `${inner(type.type)}* `;
    case 'const':
    case 'volatile':
    case 'restrict':
      return `${type.kind} ${inner(type.type)}`;
    case 'type_tag':
      return inner(type.type);
    case 'struct':
    case 'union':
    case 'enum':
      return `${type.kind} ${type.name} `;
    case 'enum64':
      return `enum ${type.name} `;
    case 'fwd':
      return `${type.of} ${type.name} `;
    case 'array':
      return `${inner(type.element)}[${type.length}]`;
    case 'func_proto':
      return proto(btf, id, '');
    default:
      return 'name' in type ? `${type.name} ` : '';
  }
}
