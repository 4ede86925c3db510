import { add32 } from '../../src/asm/constructors.ts';
import { r1 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

/** Adds to the lower half of a pointer, which clears the upper half. */
export const rejection = rejected({ hint: /64 bits/ }, (b) => {
  b.emit(add32(r1, 8));
});
