import { mov, st } from '../../src/asm/constructors.ts';
import { u64 } from '../../src/asm/layout.ts';
import { r2, r10 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

/** Uses more than the 512 bytes of a frame. */
export const rejection = rejected({ hint: /512 bytes/ }, (b) => {
  b.emit(mov(r2, r10));
  b.emit(st(u64, r2, -520, 0));
});
