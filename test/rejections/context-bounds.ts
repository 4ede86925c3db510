import { ldx } from '../../src/asm/constructors.ts';
import { u64 } from '../../src/asm/layout.ts';
import { r0, r1 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

/** Reads an argument outside the context. */
export const rejection = rejected({ hint: /context/ }, (b) => {
  b.emit(ldx(u64, r0, r1, 8 * 100));
});
