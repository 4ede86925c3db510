import { add, ja, label, mov } from '../../src/asm/constructors.ts';
import { r0 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

/** Loops without changing any state. */
export const rejection = rejected({ hint: /count its iterations/ }, (b) => {
  b.emit(mov(r0, 0), label('again'), add(r0, 0));
  b.emit(ja('again'));
});
