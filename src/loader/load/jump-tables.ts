/**
 * Jump tables on their way into the kernel, with the program that they are of.
 *
 * Source: kernel/bpf/bpf_insn_array.c.
 */
import type { Assembled } from '../../asm/assemble.ts';
import { isJumpTable, type JumpTableSpec } from '../../asm/jump-table.ts';
import type { MapSpec } from '../../asm/map.ts';
import type { Kernel } from '../kernel.ts';
import { BpfMap } from '../map.ts';
import type { Resources } from '../resources.ts';

/**
 * The tables that a program refers to, by the slots that do, made for this load alone: the kernel lets no other program use one. It keeps them
 * with the program; `resources` owns what is open until then. @throws {UnsupportedError} before Linux 6.19. @throws {KernelError}
 */
export function openTables(
  kernel: Kernel,
  { references }: Assembled,
  resources: Resources,
): ReadonlyMap<number, BpfMap> {
  const tables = new Map<number, BpfMap>();
  const made: { readonly map: MapSpec; readonly places: string; readonly table: BpfMap }[] = [];
  for (const { slot, map, targets } of references) {
    if (!targets || !isJumpTable(map)) continue;
    // The same labels are other places in another subprogram.
    const places = targets.join();
    const known = made.find((other) => other.map === map && other.places === places);
    const table = known?.table ?? resources.add(openTable(kernel, map, targets));
    if (!known) made.push({ map, places, table });
    tables.set(slot, table);
  }
  return tables;
}

function openTable(kernel: Kernel, spec: JumpTableSpec, targets: readonly number[]): BpfMap {
  const entries = targets.map(
    (slot, index) => [index, { original: slot, translated: 0, compiled: 0, unused: 0 }] as const,
  );
  return BpfMap.create(kernel, { ...spec, entries, frozen: true }) as unknown as BpfMap;
}
