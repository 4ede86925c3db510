import { add, call, lddw, loadMap, mov, st } from '../../src/asm/constructors.ts';
import { perfEventOutput } from '../../src/asm/helpers.ts';
import { u32, u64 } from '../../src/asm/layout.ts';
import { hash } from '../../src/asm/map.ts';
import { r2, r3, r4, r5, r10 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

const counts = hash('counts', { key: u32, value: u64, maxEntries: 8 });

/** Sends an event to a map that is not a perf event array. */
export const rejection = rejected({ maps: [counts], hint: /maps of this type/ }, (b) => {
  b.emit(st(u64, r10, -8, 0), loadMap(r2, counts), lddw(r3, 0xffff_ffffn));
  b.emit(mov(r4, r10), add(r4, -8), mov(r5, 8), call(perfEventOutput));
});
