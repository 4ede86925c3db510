/** Prototypes of functions by name: `tcp_v4_connect`, `btf_trace_inet_sock_set_state`. */
import { nearest } from '../nearest.ts';
import { NoSuchFieldError } from './no-such-field.ts';
import type { BtfReader } from './reader.ts';
import { sizeOf, underlying } from './size.ts';
import { BtfError, type BtfType } from './types.ts';
import { type ValueType, valueType } from './value.ts';

/** The type of a passed value, with its size in bytes. */
export interface SizedValueType extends ValueType {
  readonly size: number;
}

/** A parameter of a kernel function. See `Btf.prototype`. */
export interface Parameter extends SizedValueType {
  /** The name; empty if BTF does not have it. */
  readonly name: string;
}

/** The parameters and the result of a kernel function. See `Btf.prototype`. */
export interface Prototype {
  readonly parameters: readonly Parameter[];
  readonly returns: SizedValueType | undefined;
  /** Whether the function takes more arguments (`...`). */
  readonly variadic: boolean;
}

type FunctionPrototype = Extract<BtfType, { kind: 'func_proto' }>;

/** Implements `Btf.prototype`. */
export function findPrototype(reader: BtfReader, name: string): Prototype {
  const id = reader.find('func', name) ?? reader.find('typedef', name);
  const found = id === undefined ? undefined : prototypeBehind(reader, id);
  if (found === undefined)
    throw new NoSuchFieldError(`this kernel has no function '${name}'`, name, [], similar(reader, name));
  return describe(reader, found, name);
}

/** Implements `Btf.prototypeOf`. */
export function prototypeOf(reader: BtfReader, id: number): Prototype {
  const found = prototypeBehind(reader, id);
  if (found === undefined) throw new BtfError(`BTF type ${id} is not a function`);
  return describe(reader, found, reader.nameOf(id));
}

function describe(reader: BtfReader, found: FunctionPrototype, name: string): Prototype {
  const last = found.parameters.at(-1);
  const variadic = last !== undefined && last.name === '' && last.type === 0;
  const named = variadic ? found.parameters.slice(0, -1) : found.parameters;
  return {
    parameters: named.map((parameter, index) => {
      const value = passed(reader, parameter.type);
      if (value === undefined) throw new BtfError(`${name}: parameter ${index} has a type without values`);
      return { name: parameter.name, ...value };
    }),
    returns: passed(reader, found.returns),
    variadic,
  };
}

/** The prototype of a function, or of the function that a typedef points to. */
function prototypeBehind(reader: BtfReader, start: number): FunctionPrototype | undefined {
  let { type } = underlying(reader, start);
  if (type.kind === 'func' || type.kind === 'ptr') type = underlying(reader, type.type).type;
  return type.kind === 'func_proto' ? type : undefined;
}

function passed(reader: BtfReader, id: number): SizedValueType | undefined {
  const value = valueType(reader, id);
  return value && { ...value, size: sizeOf(reader, value.type) };
}

function similar(reader: BtfReader, name: string): string[] {
  const names = reader.ids('func').map((id) => reader.nameOf(id));
  return nearest(name, names);
}
