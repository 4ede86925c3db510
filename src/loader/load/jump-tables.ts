/**
 * Creating a program's jump tables.
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
 * Creates the jump tables of a program for one load. Returns them by the slots that refer to them. The kernel
 * allows a table in one program only and keeps it with the program; `resources` owns the descriptors.
 * @throws {UnsupportedError} before Linux 6.19. @throws {KernelError}
 */
export function openTables(
  kernel: Kernel,
  { references }: Assembled,
  resources: Resources,
): ReadonlyMap<number, BpfMap> {
  const tables = new Map<number, BpfMap>();
  const created: { readonly map: MapSpec; readonly targets: string; readonly table: BpfMap }[] = [];
  for (const { slot, map, targets } of references) {
    if (!targets || !isJumpTable(map)) continue;
    // The same labels have other slots in another subprogram.
    const key = targets.join();
    const known = created.find((other) => other.map === map && other.targets === key);
    const table = known?.table ?? resources.add(openTable(kernel, map, targets));
    if (!known) created.push({ map, targets: key, table });
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
