import { rejected } from './rejection.ts';

/** An instruction of some later kernel. */
export const rejection = rejected({ hint: /no such instruction/, nowhere: true }, (b) => {
  b.emit({ opcode: 0xe1, dst: 0, src: 1, off: 0, imm: 0 });
});
