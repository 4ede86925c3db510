/**
 * The speed of assembling programs of some thousand instructions (constructors, labels, all checks, bytes)
 * and of disassembling their bytes. The reference is LLVM's assembler with the same instructions as text, if
 * `npm run fixtures` has downloaded it.
 */
import { assemble } from '../src/asm/assemble.ts';
import {
  add,
  atomic,
  call,
  exit,
  jeq,
  label,
  lddw,
  ldx,
  lsh,
  mov,
  mov32,
  stx,
} from '../src/asm/constructors.ts';
import { decode } from '../src/asm/decode.ts';
import { disassemble } from '../src/asm/disassemble.ts';
import type { Item } from '../src/asm/instruction.ts';
import { r0, r1, r2, r10 } from '../src/asm/registers.ts';
import { assembleText, isFetched } from '../test/asm/fixtures/oracle.ts';
import { millions, type Row, takeTurns } from './measure.ts';

const u64 = { size: 8 } as const;

/** Instructions of ten kinds, and LLVM's text for them. `next` is the label after them. */
const PATTERN: readonly (readonly [make: (next: string) => Item, llvm: (next: string) => string])[] = [
  [() => mov(r1, 7), () => 'r1 = 7'],
  [() => add(r1, r2), () => 'r1 += r2'],
  [() => ldx(u64, r0, r10, -8), () => 'r0 = *(u64 *)(r10 - 8)'],
  [() => stx(u64, r10, -16, r1), () => '*(u64 *)(r10 - 16) = r1'],
  [(next) => jeq(r0, 39, next), (next) => `if r0 == 39 goto ${next}`],
  [() => lddw(r1, 0x1122_3344_5566n), () => 'r1 = 0x112233445566 ll'],
  [() => atomic.fetchAdd(u64, r10, -8, r1), () => 'r1 = atomic_fetch_add((u64 *)(r10 - 8), r1)'],
  [() => mov32(r2, -1), () => 'w2 = -1'],
  [() => lsh(r2, 32), () => 'r2 <<= 32'],
  [() => call(5), () => 'call 5'],
];

const ROUNDS = 15;
/** Blocks per program, and programs per round. */
const [BLOCKS, PROGRAMS] = [500, 20];
const INSTRUCTIONS = BLOCKS * PATTERN.length + 2;

function program(): Item[] {
  const items: Item[] = [];
  for (let block = 0; block < BLOCKS; block++) {
    const next = `next${block}`;
    for (const [make] of PATTERN) items.push(make(next));
    items.push(label(next));
  }
  items.push(mov(r0, 0), exit());
  return items;
}

function text(): string {
  const lines: string[] = [];
  for (let block = 0; block < BLOCKS * PROGRAMS; block++) {
    const next = `next${block}`;
    for (const [, llvm] of PATTERN) lines.push(llvm(next));
    lines.push(`${next}:`);
  }
  return `${lines.join('\n')}\nr0 = 0\nexit\n`;
}

export async function assembly(): Promise<Row[]> {
  const { bytes } = assemble(program());
  const llvmText = text();
  const hasLlvm = await isFetched();
  // The minimum: CPU-bound work takes longer only if other processes run at the same time.
  const least = await takeTurns(
    ROUNDS,
    {
      assembling: async () => seconds(() => assemble(program())),
      disassembling: async () => seconds(() => decode(bytes).map(disassemble)),
      llvm: async () => {
        if (!hasLlvm) return Number.NaN;
        const start = performance.now();
        await assembleText(llvmText);
        return (performance.now() - start) / 1000;
      },
    },
    (durations) => Math.min(...durations),
  );
  const rate = (duration: number): number => (INSTRUCTIONS * PROGRAMS) / duration;
  const reference = hasLlvm ? `llvm-mc, from text: ${millions(rate(least.llvm))}` : undefined;
  const row = (measure: string, figure: number, times: number): Row => ({
    measure,
    figure: millions(figure),
    ...(reference !== undefined && {
      reference,
      bar: `${times} x llvm-mc`,
      met: figure >= times * rate(least.llvm),
    }),
  });
  return [
    row('assembling, from constructors to bytes', rate(least.assembling), 2),
    row('disassembling, from bytes to text', rate(least.disassembling), 1),
  ];
}

function seconds(work: () => unknown): number {
  const start = performance.now();
  for (let made = 0; made < PROGRAMS; made++) work();
  return (performance.now() - start) / 1000;
}
