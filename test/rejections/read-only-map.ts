import { add, call, jeq, loadMap, mov, st } from '../../src/asm/constructors.ts';
import { mapLookupElem } from '../../src/asm/helpers.ts';
import { u32, u64 } from '../../src/asm/layout.ts';
import { array } from '../../src/asm/map.ts';
import { r0, r1, r2, r10 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

/** A map that programs read-only (BPF_F_RDONLY_PROG, Linux 5.2). */
const settings = array('settings', { value: u64, flags: 0x80 });

/** Writes to a map that programs read-only. */
export const rejection = rejected({ maps: [settings], hint: /read-only/ }, (b) => {
  b.emit(st(u32, r10, -4, 0), mov(r2, r10), add(r2, -4), loadMap(r1, settings), call(mapLookupElem));
  b.emit(jeq(r0, 0, 'exit'));
  b.emit(st(u64, r0, 0, 1));
});
