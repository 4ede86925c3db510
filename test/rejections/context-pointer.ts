import { add, call, lddw, loadMap, mov, st } from '../../src/asm/constructors.ts';
import { perfEventArray } from '../../src/asm/events.ts';
import { perfEventOutput } from '../../src/asm/helpers.ts';
import { u64 } from '../../src/asm/layout.ts';
import { r1, r2, r3, r4, r5, r10 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

const events = perfEventArray('events', u64);

/** Passes a moved context pointer to a helper. */
export const rejection = rejected({ maps: [events], hint: /needs the unmodified context/ }, (b) => {
  b.emit(st(u64, r10, -8, 0), mov(r4, r10), add(r4, -8), mov(r5, 8));
  b.emit(add(r1, 8), loadMap(r2, events), lddw(r3, 0xffff_ffffn));
  b.emit(call(perfEventOutput));
});
