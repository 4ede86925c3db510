/** Views of samples: objects whose fields read the bytes of a sample when they are accessed. */
import type { TSchema } from '@sinclair/typebox';
import { withSourcePosition } from '../error-position.ts';
import { type IntLayout, type Layout, layoutOf, type StructLayout } from './c-layout.ts';
import { copyBytes, readChars, readerOf, type ValueDecoder } from './codec.ts';

/** The sample that a view reads. */
interface Position {
  view: DataView;
  offset: number;
}

/**
 * Returns a function that moves a view of a struct to other bytes, and returns the view: the same object at
 * each call.
 *
 * A field of the view reads the bytes when it is accessed. An unread field costs nothing, and the others
 * allocate little: structs inside are views too, and each field of `bytes` has one array, which the
 * next access of the field overwrites. Arrays and unions are copied. An access past the end of the bytes
 * throws RangeError.
 *
 * @throws {TypeError} for a schema that is not a struct.
 *
 * @example
 * import { sampleView, struct, u16, u32 } from 'tsbpf';
 *
 * const at = sampleView(struct({ pid: u32, port: u16 }));
 * const bytes = new DataView(Uint8Array.of(1, 0, 0, 0, 80, 0, 0, 0, 2, 0, 0, 0, 22, 0, 0, 0).buffer);
 * console.log(at(bytes, 0).port, at(bytes, 8).port); // 80 22
 */
export function sampleView<T extends TSchema>(schema: T): ValueDecoder<T> {
  const layout = layoutOf(schema);
  if (layout.kind !== 'struct')
    throw withSourcePosition(
      new TypeError('only a struct has a sample view; decode other values with valueDecoder'),
    );
  const at: Position = { view: new DataView(new ArrayBuffer(0)), offset: 0 };
  const sample = viewOf(layout, at, 0) as ReturnType<ValueDecoder<T>>;
  return (view, offset) => {
    at.view = view;
    at.offset = offset;
    return sample;
  };
}

function viewOf(layout: StructLayout, at: Position, base: number): object {
  const view = {};
  for (const { name, offset, layout: field } of layout.fields)
    Object.defineProperty(view, name, {
      enumerable: true,
      ...(field.kind === 'struct'
        ? { value: viewOf(field, at, base + offset) }
        : { get: getter(field, at, base + offset) }),
    });
  return view;
}

/**
 * Returns the getter of a field. V8 inlines these closures with their constants into the code that reads a
 * field; getters made by `new Function` took three times as long.
 */
function getter(layout: Layout, at: Position, offset: number): () => unknown {
  const { size } = layout;
  if (layout.kind === 'int' && size < 8) return INTEGERS[intName(layout)](at, offset, !layout.bigEndian);
  if (layout.kind === 'chars') return () => readChars(at.view, at.offset + offset, size);
  if (layout.kind === 'bytes') {
    const bytes = new Uint8Array(size);
    return () => copyBytes(at.view, at.offset + offset, bytes);
  }
  const read = readerOf(layout);
  return () => read(at.view, at.offset + offset);
}

type IntGetter = (at: Position, offset: number, little: boolean) => () => number;

const intName = ({ signed, size }: IntLayout) => `${signed ? 's' : 'u'}${size as 1 | 2 | 4}` as const;

const INTEGERS: Readonly<Record<ReturnType<typeof intName>, IntGetter>> = {
  u1: (at, offset) => () => at.view.getUint8(at.offset + offset),
  s1: (at, offset) => () => at.view.getInt8(at.offset + offset),
  u2: (at, offset, little) => () => at.view.getUint16(at.offset + offset, little),
  s2: (at, offset, little) => () => at.view.getInt16(at.offset + offset, little),
  u4: (at, offset, little) => () => at.view.getUint32(at.offset + offset, little),
  s4: (at, offset, little) => () => at.view.getInt32(at.offset + offset, little),
};
