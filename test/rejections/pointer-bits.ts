import { and } from '../../src/asm/constructors.ts';
import { r1 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

/** Masks the bits of a pointer. */
export const rejection = rejected({ hint: /only be added to/ }, (b) => {
  b.emit(and(r1, -8));
});
