import { and } from '../../src/asm/constructors.ts';
import { r1 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

/** Masks the bits of a pointer. */
export const rejection = rejected({ hint: /addition and subtraction of numbers/ }, (b) => {
  b.emit(and(r1, -8));
});
