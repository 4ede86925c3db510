import { add, call, ldx, mov, st } from '../../src/asm/constructors.ts';
import { getCurrentComm } from '../../src/asm/helpers.ts';
import { u64 } from '../../src/asm/layout.ts';
import { r1, r2, r10 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

/** Passes an unbounded size to a helper. */
export const rejection = rejected({ hint: /size for a helper/ }, (b) => {
  b.emit(st(u64, r10, -8, 0), st(u64, r10, -16, 0), ldx(u64, r2, r1, 0), mov(r1, r10), add(r1, -16));
  b.emit(call(getCurrentComm));
});
