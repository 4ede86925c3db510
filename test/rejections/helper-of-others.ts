import { call, mov } from '../../src/asm/constructors.ts';
import { r1, r2, r3, r4 } from '../../src/asm/registers.ts';
import { rejected } from './rejection.ts';

/** bpf_skb_load_bytes, a helper for programs that process packets. */
const SKB_LOAD_BYTES = 26;

/** Calls a helper that this program type lacks. */
export const rejection = rejected({ hint: /this program type may not call/ }, (b) => {
  b.emit(mov(r2, 0), mov(r3, r1), mov(r4, 8), call(SKB_LOAD_BYTES));
});
