import { st } from '../../src/asm/constructors.ts';
import { u64 } from '../../src/asm/layout.ts';
import { r10 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

/** Eight bytes are stored at a place that is no multiple of eight. */
export const rejection = rejected({ hint: /multiple of its size/ }, (b) => {
  b.emit(st(u64, r10, -12, 0));
});
