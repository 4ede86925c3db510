import { add, ldx, mov, st } from '../../src/asm/constructors.ts';
import { u8, u64 } from '../../src/asm/layout.ts';
import { r0, r1, r2, r3, r10 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

/** Reads the stack at an unbounded offset. */
export const rejection = rejected({ hint: /stack offset must be constant/ }, (b) => {
  b.emit(st(u64, r10, -8, 0), ldx(u64, r2, r1, 0), mov(r3, r10), add(r3, r2));
  b.emit(ldx(u8, r0, r3, -8));
});
