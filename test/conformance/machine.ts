/**
 * Runs a program of the suite in the kernel without an attachment: as a subprogram called with memory and its
 * length. The caller stores all 64 bits of its r0 in a map.
 */
import { assemble } from '../../src/asm/assemble.ts';
import { callSubprogram, exit, label, loadMapValue, mov, stx } from '../../src/asm/constructors.ts';
import type { Item } from '../../src/asm/instruction.ts';
import { bytes, u64 } from '../../src/asm/layout.ts';
import { array, type MapSpec } from '../../src/asm/map.ts';
import type { ProgramSpec } from '../../src/asm/program.ts';
import { r0, r1, r2, r6 } from '../../src/asm/registers.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { loadProgram } from '../../src/loader/load.ts';
import { BpfMap } from '../../src/loader/map.ts';
import { Resources } from '../../src/loader/resources.ts';

const kernel = new Kernel();

/** Returns the program's r0. Throws if tsbpf or the kernel refuses the program. */
export function runInKernel(program: readonly Item[], memory: Uint8Array): bigint {
  const result = array('result', { value: u64 });
  const input = array('memory', { value: bytes(Math.max(memory.length, 1)) });
  const instructions: Item[] = [
    ...(memory.length > 0 ? [loadMapValue(r1, input)] : [mov(r1, 0)]),
    mov(r2, memory.length),
    callSubprogram('.program'),
    loadMapValue(r6, result),
    stx({ size: 8 }, r6, 0, r0),
    mov(r0, 0),
    exit(),
    label('.program'),
    ...program,
  ];
  const spec: ProgramSpec = {
    name: 'conformance',
    attachment: { kind: 'raw_tracepoint', tracepoint: 'sys_enter' },
    instructions,
  };
  const assembled = assemble(instructions);
  const opened = new Resources();
  try {
    const r0s = opened.add(BpfMap.create(kernel, result));
    const maps = new Map<MapSpec, BpfMap>([[result, r0s as unknown as BpfMap]]);
    if (memory.length > 0) {
      const map = opened.add(BpfMap.create(kernel, input));
      map.update(0, memory);
      maps.set(input, map as unknown as BpfMap);
    }
    opened.add(loadProgram(kernel, spec, assembled, maps)).run(new Uint8Array(8));
    return r0s.lookup(0) as bigint;
  } finally {
    opened.close();
  }
}
