/**
 * The number of bytes that a load or store moves. The schemas `u8`, `u16`, `u32` and `u64` are widths.
 *
 * @example
 * import { u32 } from 'tsbpf';
 * import { ldx, r0, r1 } from 'tsbpf/asm';
 * ldx(u32, r0, r1, 16); // the same as ldx({ size: 4 }, r0, r1, 16)
 */
export interface Width {
  readonly size: 1 | 2 | 4 | 8;
}
