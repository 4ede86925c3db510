/**
 * The time that `b.switch` takes to find its arm. The reference is a chain of `b.if` with the same constants.
 * Both run in the kernel, a million rounds in one program run, with numbers that branch prediction cannot
 * guess.
 */

import { assemble } from '../src/asm/assemble.ts';
import type { Builder } from '../src/asm/builder/builder.ts';
import type { Case } from '../src/asm/builder/switch.ts';
import type { Value } from '../src/asm/builder/value.ts';
import { ktimeGetNs, loop } from '../src/asm/helpers.ts';
import { rawTracepoint } from '../src/asm/hooks.ts';
import { struct, u32, u64 } from '../src/asm/layout.ts';
import { array } from '../src/asm/map.ts';
import { subprogram } from '../src/asm/subprogram.ts';
import { target } from '../src/asm/target.ts';
import { Kernel } from '../src/loader/kernel.ts';
import { loadProgram } from '../src/loader/load.ts';
import { BpfMap } from '../src/loader/map.ts';
import { type Row, takeTurns } from './measure.ts';

const ROUNDS = 2 ** 20;
const TURNS = 15;
/** An odd factor, so that the products repeat only after all numbers; large, so that they spread. */
const SPREAD = 0x5bd1_e995;

const State = struct({ sum: u64 });
const spent = array('spent', { value: u64 });

/** Branches to one of `arms` arms by `subject`; `arm` writes the body of an arm. */
type Find = (b: Builder, subject: Value, arms: number, arm: (number: number) => void) => void;

const FINDS: Readonly<Record<'switch' | 'chain', Find>> = {
  switch: (b, subject, arms, arm) =>
    b.switch(
      subject,
      Array.from({ length: arms }, (_, number): Case => [number, () => arm(number)]),
    ),
  chain: (b, subject, arms, arm) =>
    b.block((leave) => {
      for (let number = 0; number < arms; number++)
        b.if(subject.eq(number), () => {
          arm(number);
          leave();
        });
    }),
};

export async function switches(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const arms of [8, 64]) rows.push(await row(arms, arms === 8 ? undefined : 0.9));
  return rows;
}

async function row(arms: number, bar: number | undefined): Promise<Row> {
  const found = await withRounds(arms, FINDS.switch, (finds) =>
    withRounds(arms, FINDS.chain, (chain) =>
      takeTurns(TURNS, { switch: async () => finds(), chain: async () => chain() }),
    ),
  );
  const ratio = found.switch / found.chain;
  return {
    measure: `one of ${arms} constants, by b.switch`,
    figure: `${found.switch.toFixed(1)} ns`,
    reference: `a chain of b.if: ${found.chain.toFixed(1)} ns`,
    ratio,
    ...(bar !== undefined && { bar: `ratio ${bar}`, met: ratio <= bar }),
  };
}

/** Loads the program while `use` runs. `run` runs all rounds once and returns the ns per round. */
async function withRounds<T>(arms: number, find: Find, use: (run: () => number) => Promise<T>): Promise<T> {
  const kernel = new Kernel();
  const round = subprogram('round', [u32, State], (b, index, state) => {
    find(b, index.mul(SPREAD).and(0x7fff_ffff).rsh(7).mod(arms), arms, (number) => state.sum.set(number));
  });
  const spec = rawTracepoint('sys_enter', target(process.arch), (b) => {
    const state = b.stack(State);
    state.set(0);
    const start = b.keep(b.call(ktimeGetNs));
    b.call(loop, ROUNDS, round, state, 0);
    const took = b.call(ktimeGetNs).sub(start);
    b.global(spent).set(took);
  });
  const map = BpfMap.create(kernel, spent);
  const program = loadProgram(kernel, spec, assemble(spec.instructions), new Map([[spent, map as never]]));
  try {
    return await use(() => {
      program.run(new Uint8Array(40));
      return Number(map.lookup(0)) / ROUNDS;
    });
  } finally {
    program.close();
    map.close();
  }
}
