import { add, call, mov, st } from '../../src/asm/constructors.ts';
import { getCurrentComm } from '../../src/asm/helpers.ts';
import { u64 } from '../../src/asm/layout.ts';
import { r1, r2, r10 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

/** Asks a helper to fill zero bytes. */
export const rejection = rejected({ hint: /may be zero/ }, (b) => {
  b.emit(st(u64, r10, -8, 0), mov(r1, r10), add(r1, -8), mov(r2, 0));
  b.emit(call(getCurrentComm));
});
