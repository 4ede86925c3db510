/** How many bytes a load or store moves. The scalar layouts `u8`, `u16`, `u32`, `u64` are widths. */
export interface Width {
  readonly size: 1 | 2 | 4 | 8;
}
