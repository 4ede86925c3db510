import { ldx } from '../../src/asm/constructors.ts';
import { u64 } from '../../src/asm/layout.ts';
import { r0, r1, r2 } from '../../src/asm/registers.ts';
import { rejectedWithTypes } from './rejection.ts';

/** Reads far beyond the end of a kernel struct. */
export const rejection = rejectedWithTypes({ hint: /end of the structure/ }, (b) => {
  b.emit(ldx(u64, r2, r1, 8));
  b.emit(ldx(u64, r0, r2, 32_000));
});
