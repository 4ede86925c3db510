/**
 * The C declaration of a function as bpftool's dumps print it: `int count(void * ctx)`.
 *
 * Source: tools/bpf/bpftool/btf_dumper.c (`btf_dumper_type_only`).
 */
import type { Btf } from '../btf.ts';
import { MAX_DEPTH } from './size.ts';

/** Returns the declaration of the function with type `id`. Throws BtfError for a missing type. */
export function signatureOf(btf: Btf, id: number): string {
  return new Signature(btf).of(id);
}

/**
 * The maximum number of types and parameters in one declaration; only prototypes that refer to each other
 * need more.
 */
const MAX_PARTS = 1000;

/** Writes one declaration, up to `MAX_PARTS` parts and a depth of `MAX_DEPTH`: hostile BTF may be endless. */
class Signature {
  readonly #btf: Btf;
  #left = MAX_PARTS;

  constructor(btf: Btf) {
    this.#btf = btf;
  }

  of(id: number): string {
    const type = this.#btf.type(id);
    if (type.kind === 'func') return this.#proto(type.type, type.name, MAX_DEPTH);
    return this.#typeName(id, MAX_DEPTH).trim();
  }

  #proto(id: number, name: string, depth: number): string {
    const type = this.#btf.type(id);
    if (type.kind !== 'func_proto') return name;
    const parameters: string[] = [];
    for (const parameter of type.parameters) {
      if (this.#left === 0) break;
      this.#left -= 1;
      // A parameter without type and name is `...` in C.
      parameters.push(
        parameter.type === 0 ? '...' : `${this.#typeName(parameter.type, depth)}${parameter.name}`,
      );
    }
    return `${this.#typeName(type.returns, depth)}${name}(${parameters.join(', ')})`;
  }

  /** The name of a type, with a trailing blank. */
  #typeName(id: number, depth: number): string {
    if (depth === 0 || this.#left === 0) return '';
    this.#left -= 1;
    const type = this.#btf.type(id);
    switch (type.kind) {
      case 'void':
        return 'void ';
      case 'ptr':
        return `${this.#typeName(type.type, depth - 1)}* `;
      case 'const':
      case 'volatile':
      case 'restrict':
        return `${type.kind} ${this.#typeName(type.type, depth - 1)}`;
      case 'type_tag':
        return this.#typeName(type.type, depth - 1);
      case 'struct':
      case 'union':
      case 'enum':
        return `${type.kind} ${type.name} `;
      case 'enum64':
        return `enum ${type.name} `;
      case 'fwd':
        return `${type.of} ${type.name} `;
      case 'array':
        return `${this.#typeName(type.element, depth - 1)}[${type.length}]`;
      case 'func_proto':
        return this.#proto(id, '', depth - 1);
      default:
        return 'name' in type ? `${type.name} ` : '';
    }
  }
}
