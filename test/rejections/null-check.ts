import { add, call, ldx, loadMap, mov, st } from '../../src/asm/constructors.ts';
import { mapLookupElem } from '../../src/asm/helpers.ts';
import { u32, u64 } from '../../src/asm/layout.ts';
import { hash } from '../../src/asm/map.ts';
import { r0, r1, r2, r10 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

const counts = hash('counts', { key: u32, value: u64, maxEntries: 8 });

/** Reads the result of a lookup without a null check. */
export const rejection = rejected({ maps: [counts], hint: /compare the pointer with 0/ }, (b) => {
  b.emit(st(u32, r10, -4, 7), mov(r2, r10), add(r2, -4), loadMap(r1, counts), call(mapLookupElem));
  b.emit(ldx(u64, r1, r0, 0));
});
