import { ldx, st } from '../../src/asm/constructors.ts';
import { u64 } from '../../src/asm/layout.ts';
import { r1, r2 } from '../../src/asm/registers.ts';
import { rejectedWithTypes } from './rejection.ts';

/** Writes to a kernel struct. */
export const rejection = rejectedWithTypes({ hint: /may not write/ }, (b) => {
  b.emit(ldx(u64, r2, r1, 8));
  b.emit(st(u64, r2, 0, 0));
});
