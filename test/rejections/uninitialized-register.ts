import { exit, mov } from '../../src/asm/constructors.ts';
import { r0, r7 } from '../../src/asm/registers.ts';
import { here, rejectedList } from './rejection.ts';

/** A register is read that nothing was ever written to. The builder would say so itself. */
export const rejection = rejectedList({ hint: /nothing was written to it/ }, [here(mov(r0, r7)), exit()]);
