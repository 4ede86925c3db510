import { add, jlt, label, mov } from '../../src/asm/constructors.ts';
import { r0 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

/** A loop with more iterations than the verifier follows. */
export const rejection = rejected({ hint: /shorten/, nowhere: true, endless: true }, (b) => {
  b.emit(mov(r0, 0), label('again'), add(r0, 1));
  b.emit(jlt(r0, 10_000_000, 'again'));
});
