import { rejected } from './rejection.ts';

/** Uses an opcode that does not exist. */
export const rejection = rejected({ hint: /does not know the instruction/, nowhere: true }, (b) => {
  b.emit({ opcode: 0xe1, dst: 0, src: 1, off: 0, imm: 0 });
});
