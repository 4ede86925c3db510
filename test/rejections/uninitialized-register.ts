import { mov } from '../../src/asm/constructors.ts';
import { r0, r7 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

/** A register is read that nothing was ever written to. */
export const rejection = rejected({ hint: /nothing was written to it/ }, (b) => {
  b.emit(mov(r0, r7));
});
