import { add, mov } from '../../src/asm/constructors.ts';
import { r1, r2, r10 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

/** Adds two pointers. */
export const rejection = rejected({ hint: /addition and subtraction of numbers/ }, (b) => {
  b.emit(mov(r2, r10));
  b.emit(add(r2, r1));
});
