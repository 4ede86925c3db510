import { st } from '../../src/asm/constructors.ts';
import { u64 } from '../../src/asm/layout.ts';
import { r10 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

/** Stores eight bytes at an unaligned stack offset. */
export const rejection = rejected({ hint: /aligned to their size/ }, (b) => {
  b.emit(st(u64, r10, -12, 0));
});
