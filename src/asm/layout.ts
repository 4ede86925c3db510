/**
 * Schemas of C data (`struct({ pid: u32, comm: chars(16) })`), their layouts, and reading and writing their
 * bytes.
 */
export {
  type ArrayLayout,
  type BytesLayout,
  type CType,
  type FieldLayout,
  hasFields,
  type IntLayout,
  type Layout,
  layoutOf,
  type Padding,
  type ScalarName,
  type StructLayout,
  sameLayout,
} from './layout/c-layout.ts';
export { encodeValue, type ValueDecoder, valueDecoder } from './layout/codec.ts';
export { sampleView } from './layout/sample.ts';
export * from './layout/schema.ts';
