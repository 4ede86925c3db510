/**
 * Program contexts: which arguments, results and fields a program of some type reads, and their offsets.
 */
import type { PointedStruct } from '../btf.ts';
import type { Layout } from '../layout.ts';
import type { ProgramKind } from '../program-types.ts';
import type { ScalarOrArray } from './kernel-pointer.ts';

/** An argument or a result in the context. */
export interface ContextSlot {
  /** For messages: `argument 1`, `the result`. */
  readonly name: string;
  /** Bytes from the start of the context. */
  readonly offset: number;
  readonly layout: Layout;
  /** The structure that it points to. */
  readonly pointsTo?: PointedStruct;
  /** Whether the verifier knows by BTF what it points to. */
  readonly trusted: boolean;
}

/** The context of a program. */
export interface ContextLayout {
  /** The argument of that number or name. Throws RangeError if it does not exist or cannot be read. */
  readonly argument: (wanted: number | string) => ContextSlot;
  /**
   * What the function returned. Throws RangeError if it returned nothing. Absent unless the program runs at a
   * return.
   */
  readonly retval?: () => ContextSlot;
  /**
   * A field of the context by its name, if it is a record; throws if the record has none. Arrays are only
   * copied.
   */
  readonly field?: (name: string) => ScalarOrArray & { readonly offset: number };
  readonly kind: ProgramKind;
  /** What the arguments belong to, for messages. */
  readonly name: string;
}
