import { call, ldx, loadMap } from '../../src/asm/constructors.ts';
import { mapLookupElem } from '../../src/asm/helpers.ts';
import { u32, u64 } from '../../src/asm/layout.ts';
import { hash } from '../../src/asm/map.ts';
import { r1, r2 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

const counts = hash('counts', { key: u32, value: u64, maxEntries: 8 });

/** Passes a key instead of its address. */
export const rejection = rejected({ maps: [counts], hint: /has the wrong type/ }, (b) => {
  b.emit(ldx(u64, r2, r1, 0), loadMap(r1, counts));
  b.emit(call(mapLookupElem));
});
