/**
 * The layout of a program context: the offsets of the arguments, the return value and the fields.
 */
import type { PointedStruct } from '../btf.ts';
import type { Layout } from '../layout.ts';
import type { ProgramKind } from '../program-types.ts';
import type { ScalarOrArray } from './kernel-pointer.ts';

/** An argument or the return value in the context. */
export interface ContextSlot {
  /** The name in messages: `argument 1`, `the result`. */
  readonly name: string;
  /** Bytes from the start of the context. */
  readonly offset: number;
  readonly layout: Layout;
  /** The structure that the slot points to. */
  readonly pointsTo?: PointedStruct;
  /** Whether the verifier knows the pointed-to type from BTF. */
  readonly trusted: boolean;
}

/** The layout of one program's context. */
export interface ContextLayout {
  /** Finds an argument by number or name. Throws RangeError if it does not exist or cannot be read. */
  readonly argument: (wanted: number | string) => ContextSlot;
  /**
   * Finds the return value of the traced function. Throws RangeError if the function returns void. Only
   * programs that run at a return have it.
   */
  readonly retval?: () => ContextSlot;
  /**
   * Finds a field of a tracepoint record by name. Throws if the record has no such field. Only record
   * contexts have it. Array fields can only be copied.
   */
  readonly field?: (name: string) => ScalarOrArray & { readonly offset: number };
  readonly kind: ProgramKind;
  /** The function or tracepoint, for messages. */
  readonly name: string;
}
