/** Provokes errors by scripted answers of the kernel, and checks their messages. */
import * as assert from 'uvu/assert';
import type { suite } from '../../harness.ts';
import { FakeSyscalls } from '../fake.ts';

/** An error, and what its message must and must not say. */
export interface Row {
  readonly what: string;
  readonly arrange: (fake: FakeSyscalls) => void;
  readonly act: (fake: FakeSyscalls) => unknown;
  readonly says: RegExp;
  readonly not?: RegExp;
}

/** Answers a command of bpf(2) with an errno. */
export const answering = (command: number, errno: number) => (fake: FakeSyscalls) => {
  fake.answers.set(command, () => -errno);
};

/** Makes a test of each row. */
export function provokeAll(test: ReturnType<typeof suite>, rows: readonly Row[]): void {
  for (const { what, arrange, act, says, not } of rows)
    test(what, () => {
      const fake = new FakeSyscalls();
      arrange(fake);
      let clock = 0;
      fake.onClock = () => BigInt(clock++) * 10n ** 9n;
      try {
        act(fake);
      } catch (error) {
        const { message } = error as Error;
        assert.match(message, says);
        if (not) assert.not.match(message, not);
        assert.not.match(message, /undefined|NaN|\[object/);
        return;
      }
      throw new Error('no error');
    });
}
