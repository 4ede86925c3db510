/**
 * Programs of the builder, run by the kernel without an attachment (BPF_PROG_TEST_RUN of a raw tracepoint,
 * Linux 5.10).
 */
import { assemble } from '../../src/asm/assemble.ts';
import type { Builder } from '../../src/asm/builder/builder.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import type { MapSpec } from '../../src/asm/map.ts';
import { target } from '../../src/asm/target.ts';
import { KernelError } from '../../src/loader/errors.ts';
import type { Kernel } from '../../src/loader/kernel.ts';
import { loadProgram } from '../../src/loader/load.ts';
import { BpfMap } from '../../src/loader/map.ts';
import { allOrNothing } from '../../src/loader/resources.ts';
import { needsRoot } from '../harness.ts';
import { here } from './tracer.ts';

/** A loaded program with its maps. */
export interface Running {
  /** Runs the program with these arguments and returns its result. */
  run(...args: bigint[]): number;
  map<M extends MapSpec>(spec: M): BpfMap<M>;
}

/** Loads a program while `use` runs. */
export function withProgram<T>(
  maps: readonly MapSpec[],
  body: (b: Builder) => void,
  use: (running: Running) => T,
  kernel: Kernel = here,
): T {
  return allOrNothing((resources) => {
    const open = new Map<MapSpec, BpfMap>();
    for (const spec of maps) open.set(spec, resources.add(BpfMap.create(kernel, spec, { maps: open })));
    // No tracepoint has this name, so BTF has no types for its arguments: each is a u64.
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

/** Why programs cannot be run this way, or false. */
export const cannotRun =
  needsRoot || (runs() ? false : 'this kernel cannot test-run raw tracepoint programs');

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
