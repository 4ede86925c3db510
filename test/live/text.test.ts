/** Programs from text, run by the kernel with the maps and jump tables that the text declares. */
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { isJumpTable } from '../../src/asm/jump-table.ts';
import type { MapSpec } from '../../src/asm/map.ts';
import { parseProgram } from '../../src/asm/text/parse.ts';
import { UnsupportedInstructionError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { loadProgram } from '../../src/loader/load.ts';
import { BpfMap } from '../../src/loader/map.ts';
import { allOrNothing } from '../../src/loader/resources.ts';
import { suite } from '../harness.ts';
import { cannotRun } from './run-program.ts';

const test = suite('live/text');

const kernel = new Kernel();
const attachment = { kind: 'raw_tracepoint', tracepoint: 'sys_enter' } as const;

/**
 * Loads a text with its maps while `use` runs. `use` can run the program with one argument, and gets the maps
 * in order.
 */
function withText<T>(
  text: string,
  use: (run: (argument: bigint) => number, maps: readonly BpfMap[]) => T,
): T {
  const { items, maps } = parseProgram(text);
  return allOrNothing((resources) => {
    const open = new Map<MapSpec, BpfMap>();
    for (const spec of maps.filter((map) => !isJumpTable(map)))
      open.set(spec, resources.add(BpfMap.create(kernel, spec)));
    const spec = { name: 'text', attachment, instructions: items };
    const program = resources.add(loadProgram(kernel, spec, assemble(items), open));
    const run = (argument: bigint): number =>
      program.run(new Uint8Array(BigUint64Array.of(argument, 0n, 0n, 0n, 0n).buffer));
    const result = use(run, [...open.values()]);
    resources.close();
    return result;
  });
}

const SHARDS = `map shard: hash, key 4 bytes, value 8 bytes, 64 entries
map shards: arrayOfMaps, key 4 bytes, value 4 bytes, 2 entries, inner map shard

  r6 = *(u64 *)(r1 +0)
  *(u32 *)(r10 -4) = r6
  *(u32 *)(r10 -8) = 7
  r1 = map[shards]
  r2 = r10
  r2 += -4
  call bpf_map_lookup_elem
  if r0 == 0x0 goto out
  r1 = r0
  r2 = r10
  r2 += -8
  call bpf_map_lookup_elem
  if r0 == 0x0 goto out
  r0 = *(u64 *)(r0 +0)
out:
  exit`;

test.skipIf(cannotRun, 'a map of maps takes inner maps as declared, and programs look them up', () => {
  withText(SHARDS, (run, maps) => {
    const [shard, shards] = maps as [BpfMap, BpfMap];
    // Keys and values of a text are bytes, except those that the kernel defines as numbers.
    shard.update(Uint8Array.of(7, 0, 0, 0), Uint8Array.of(42, 0, 0, 0, 0, 0, 0, 0));
    assert.is(run(1n), 0);
    shards.update(1, shard as never);
    assert.equal([0n, 1n, 2n].map(run), [0, 42, 0]);
  });
});

const PATHS = `map paths: instructionArray, key 4 bytes, value 16 bytes, 3 entries, labels small, large, small

  r6 = *(u64 *)(r1 +0)
  r0 = 99
  if r6 > 0x2 goto out
  r6 <<= 3
  r2 = map[paths][0]+0
  r2 += r6
  r2 = *(u64 *)(r2 +0)
  gotox r2
large:
  r0 = 0x14
  exit
small:
  r0 = 10
out:
  exit`;

/** Why jump tables cannot be tested, or false. */
function noTables(): string | false {
  if (cannotRun) return cannotRun;
  try {
    return withText(PATHS, () => false);
  } catch (error) {
    if (error instanceof UnsupportedInstructionError) return 'this kernel has no gotox';
    throw error;
  }
}

test.skipIf(noTables(), 'a jump table jumps to the labels that the text names', () => {
  withText(PATHS, (run) => {
    assert.equal([0n, 1n, 2n, 3n].map(run), [10, 20, 10, 99]);
  });
});

test.run();
