/** Programs of the builder, run by the kernel with nothing attached (BPF_PROG_TEST_RUN of a raw tracepoint, Linux 5.10). */
import { assemble } from '../../src/asm/assemble.ts';
import type { Builder } from '../../src/asm/builder/builder.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import type { MapSpec } from '../../src/asm/map.ts';
import { target } from '../../src/asm/target.ts';
import { KernelError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { loadProgram } from '../../src/loader/load.ts';
import { BpfMap } from '../../src/loader/map.ts';
import { allOrNothing } from '../../src/loader/resources.ts';
import { needsRoot } from '../harness.ts';

/** A program that is loaded, with its maps. */
export interface Running {
  /** What it returns when it is given these arguments. */
  run(...args: bigint[]): number;
  map<M extends MapSpec>(spec: M): BpfMap<M>;
}

/** Loads a program for the time of `use`. */
export function withProgram<T>(
  maps: readonly MapSpec[],
  body: (b: Builder) => void,
  use: (running: Running) => T,
  kernel = new Kernel(),
): T {
  return allOrNothing((resources) => {
    const open = new Map(maps.map((spec) => [spec, resources.add(BpfMap.create(kernel, spec))]));
    // No tracepoint has that name, so the kernel's types say nothing of the arguments: each is a u64.
    const spec = rawTracepoint('any', target(process.arch, kernel.btf), body);
    const program = resources.add(loadProgram(kernel, spec, assemble(spec.instructions), open));
    const result = use({
      run: (...args) => program.run(new Uint8Array(BigUint64Array.from([...args, 0n, 0n, 0n, 0n]).buffer)),
      map: <M extends MapSpec>(of: M) => open.get(of) as unknown as BpfMap<M>,
    });
    resources.close();
    return result;
  });
}

/** Why programs can't be run so here, or false. */
export const cannotRun =
  needsRoot || (runs() ? false : 'this kernel runs no raw tracepoint program for tests');

function runs(): boolean {
  try {
    return withProgram(
      [],
      (b) => b.exit(7),
      ({ run }) => run() === 7,
    );
  } catch (error) {
    if (error instanceof KernelError) return false;
    throw error;
  }
}
