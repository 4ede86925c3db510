/** Where the lab's own tests run. */
import { inGuest } from '../harness.ts';

/** Why these tests can't run here, or false: they need a machine of their own, whose network is theirs. */
export const outsideGuest: string | false = inGuest ? false : 'runs in a guest of the lab (npm run test:vm)';
