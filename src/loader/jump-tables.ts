/**
 * Jump tables on their way into the kernel, with the program that they are of.
 *
 * Source: kernel/bpf/bpf_insn_array.c.
 */
import type { Assembled } from '../asm/assemble.ts';
import { encode } from '../asm/layout.ts';
import type { MapSpec } from '../asm/map.ts';
import { Attr, Command, Descriptor, inPlace } from './bpf.ts';
import type { Kernel } from './kernel.ts';
import { createMap, freezeMap } from './map-create.ts';
import { refused } from './permission.ts';
import type { Resources } from './resources.ts';

/**
 * The tables that a program refers to, by the slots that do, made for this load alone: the kernel lets no other program use one. It keeps them
 * with the program; `resources` owns what is open until then. @throws {UnsupportedError} before Linux 6.19. @throws {KernelError}
 */
export function openTables(
  kernel: Kernel,
  { references }: Assembled,
  resources: Resources,
): ReadonlyMap<number, Descriptor> {
  const tables = new Map<number, Descriptor>();
  const made: { readonly map: MapSpec; readonly places: string; readonly table: Descriptor }[] = [];
  for (const { slot, map, targets } of references) {
    if (!targets) continue;
    // The same labels are other places in another subprogram.
    const places = targets.join();
    const known = made.find((other) => other.map === map && other.places === places);
    const table = known?.table ?? openTable(kernel, map, targets, resources);
    if (!known) made.push({ map, places, table });
    tables.set(slot, table);
  }
  return tables;
}

function openTable(
  kernel: Kernel,
  map: MapSpec,
  targets: readonly number[],
  resources: Resources,
): Descriptor {
  const table = resources.add(new Descriptor(kernel.syscalls, createMap(kernel, map, false)));
  for (const [index, slot] of targets.entries()) enter(kernel, map, table, index, slot);
  freezeMap(kernel, map.name, table.fd);
  return table;
}

function enter(kernel: Kernel, map: MapSpec, table: Descriptor, index: number, slot: number): void {
  const place = { original: slot, translated: 0, compiled: 0, unused: 0 };
  const result = new Attr(kernel.syscalls, 32)
    .u32(0, table.fd)
    .pointer(8, inPlace(encode(map.key, index)))
    .pointer(16, inPlace(encode(map.value, place)))
    .send(Command.mapUpdateElem);
  if (result >= 0) return;
  throw refused(kernel, {
    syscall: 'bpf(BPF_MAP_UPDATE_ELEM)',
    errno: -result,
    tried: `fill the jump table '${map.name}'`,
  });
}
