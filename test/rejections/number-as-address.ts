import { ldx } from '../../src/asm/constructors.ts';
import { u64 } from '../../src/asm/layout.ts';
import { r0, r1, r2 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

/** Dereferences a kernel pointer that is a number to the verifier. */
export const rejection = rejected({ hint: /b\.kernel\(\)/ }, (b) => {
  b.emit(ldx(u64, r2, r1, 8));
  b.emit(ldx(u64, r0, r2, 0));
});
