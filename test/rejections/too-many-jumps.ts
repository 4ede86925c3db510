import { jeq, label, ldx, mov } from '../../src/asm/constructors.ts';
import { u64 } from '../../src/asm/layout.ts';
import { r0, r1 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

/** More pending branches than the verifier tracks (8192). */
export const rejection = rejected({ hint: /fewer/ }, (b) => {
  b.emit(ldx(u64, r0, r1, 0));
  for (let i = 0; i < 8200; i++) b.emit(jeq(r0, i, 'out'));
  b.emit(label('out'), mov(r0, 0));
});
