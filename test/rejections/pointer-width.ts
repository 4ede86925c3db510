import { add32 } from '../../src/asm/constructors.ts';
import { r1 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

/** Half of a pointer is added to, which cuts off its other half. */
export const rejection = rejected({ hint: /64 bits/ }, (b) => {
  b.emit(add32(r1, 8));
});
