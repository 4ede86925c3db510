/**
 * Decoded BTF types.
 *
 * Source: include/uapi/linux/btf.h, Documentation/bpf/btf.rst.
 */
import { TsbpfError } from '../error.ts';

/**
 * The bytes are not valid BTF. The message names the type or the section.
 *
 * @example
 * import { Btf, BtfError } from 'tsbpf/btf';
 *
 * try {
 *   Btf.parse(Uint8Array.of(1, 2, 3));
 * } catch (error) {
 *   if (error instanceof BtfError) console.log(error.message); // 3 bytes are too few for BTF ...
 * }
 */
export class BtfError extends TsbpfError {
  override readonly name = 'BtfError';
  override readonly code = 'ERR_BTF_MALFORMED';
}

/** A member of a struct or union. Offsets are in bits from the start; only a bit field has a `bitSize`. */
export interface BtfMember {
  /** Empty for an anonymous struct or union. */
  readonly name: string;
  readonly type: number;
  readonly bitOffset: number;
  readonly bitSize?: number;
}

/** A value of an enum; a bigint if the enum has 64 bits. */
export interface BtfEnumerator {
  readonly name: string;
  readonly value: number | bigint;
}

/**
 * A decoded type. `type`, `returns`, `element` and `index` are ids of other types, 0 for void; sizes are in
 * bytes.
 */
export type BtfType =
  | { readonly kind: 'void' }
  | {
      readonly kind: 'int';
      readonly name: string;
      readonly size: number;
      readonly signed: boolean;
      readonly bool: boolean;
      /**
       * The number of used bits, from bit `bitOffset`: fewer than the size has only in old encodings of bit
       * fields.
       */
      readonly bits: number;
      readonly bitOffset: number;
    }
  | { readonly kind: 'array'; readonly element: number; readonly index: number; readonly length: number }
  | {
      readonly kind: 'struct' | 'union';
      readonly name: string;
      readonly size: number;
      readonly members: readonly BtfMember[];
    }
  | {
      readonly kind: 'enum' | 'enum64';
      readonly name: string;
      readonly size: number;
      readonly signed: boolean;
      readonly values: readonly BtfEnumerator[];
    }
  | { readonly kind: 'fwd'; readonly name: string; readonly of: 'struct' | 'union' }
  | { readonly kind: 'ptr' | BtfModifier; readonly name: string; readonly type: number }
  | { readonly kind: 'func'; readonly name: string; readonly type: number; readonly linkage: number }
  | {
      readonly kind: 'func_proto';
      readonly returns: number;
      readonly parameters: readonly { readonly name: string; readonly type: number }[];
    }
  | { readonly kind: 'var'; readonly name: string; readonly type: number; readonly linkage: number }
  | {
      readonly kind: 'datasec';
      readonly name: string;
      readonly size: number;
      readonly variables: readonly {
        readonly type: number;
        readonly offset: number;
        readonly size: number;
      }[];
    }
  | { readonly kind: 'float'; readonly name: string; readonly size: number }
  | { readonly kind: 'decl_tag'; readonly name: string; readonly type: number; readonly component: number }
  | {
      readonly kind: 'loc_param';
      /** The size of the parameter, not of the values that locate it. */
      readonly size: number;
      /** `BTF_LOC_PARAM_*`. */
      readonly flags: number;
      readonly values: readonly number[];
    }
  | { readonly kind: 'loc_proto'; readonly parameters: readonly number[] }
  | {
      readonly kind: 'locsec';
      readonly name: string;
      readonly sites: readonly {
        readonly func: number;
        readonly prototype: number;
        readonly offset: number;
      }[];
    }
  /** A kind of a later kernel, whose size the blob declares. */
  | { readonly kind: 'unknown'; readonly name: string; readonly number: number };

/** Kinds that refer to another type without changing its layout. */
export type BtfModifier = 'typedef' | 'volatile' | 'const' | 'restrict' | 'type_tag';

/** The kinds of types, named as in the kernel's documentation. */
export type BtfKind = BtfType['kind'];
