import { call } from '../../src/asm/constructors.ts';
import { rejected } from './rejection.ts';

/** Calls a helper that does not exist. */
export const rejection = rejected({ hint: /this kernel has no such helper/ }, (b) => {
  b.emit(call(9999));
});
