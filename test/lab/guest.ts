/** Conditions of the lab's own tests. */
import { inGuest } from '../harness.ts';

/** Why these tests cannot run here, or false: they need a machine and a network for themselves. */
export const outsideGuest: string | false = inGuest ? false : 'runs in a guest of the lab (npm run test:vm)';
