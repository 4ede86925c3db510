import { exit, mov } from '../../src/asm/constructors.ts';
import { r0, r7 } from '../../src/asm/registers.ts';
import { here, rejectedList } from './rejection.ts';

/** Reads a register that was never written. The builder would refuse this itself. */
export const rejection = rejectedList({ hint: /is not set on a path/ }, [here(mov(r0, r7)), exit()]);
