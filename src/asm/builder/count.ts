/**
 * `b.count`: counts in a map whose entries other CPUs may create or change at the same time.
 */
import type { TSchema } from '@sinclair/typebox';
import * as insn from '../constructors.ts';
import { BPF_LOCAL_STORAGE_GET_F_CREATE, BPF_NOEXIST } from '../flags.ts';
import { mapLookupElem, mapUpdateElem } from '../helpers.ts';
import { layoutOf } from '../layout.ts';
import { storageOf } from '../local-storage.ts';
import { isPerCpu, type MapSpec, MapType } from '../map.ts';
import { requireMapHelper } from '../map-helpers.ts';
import { type Argument, inMemory, mapPart } from './call-arguments.ts';
import type { Calls } from './calls.ts';
import type { Machine } from './machine.ts';
import { type MapPointer, specOf } from './map-pointer.ts';
import { memory } from './memory.ts';
import type { Operand } from './operand.ts';
import type { Place } from './place.ts';
import { Value } from './value.ts';

/** The map types whose entries exist only after a write. */
const SPARSE: readonly MapType[] = [MapType.hash, MapType.lruHash, MapType.perCpuHash, MapType.lruPerCpuHash];

/** Emits the addition of `amount` to the map's value for `key`. A missing entry counts as 0. */
export function emitCount(
  machine: Machine,
  calls: Pick<Calls, 'helper'>,
  map: MapSpec | MapPointer,
  key: Argument,
  amount: Operand,
): void {
  const spec = specOf(map);
  const storage = storageOf(spec);
  const find = storage?.get ?? mapLookupElem;
  requireMapHelper(spec, find);
  requireNumber(spec);
  const place = storage ? key : inMemory(machine, key, 'bpf_map_lookup_elem', mapPart('key', spec));
  const end = machine.freshLabel('counted');
  const pointer = calls.helper(find, [
    ...[map, place],
    ...(storage ? [0, BPF_LOCAL_STORAGE_GET_F_CREATE] : []),
  ]);
  if (SPARSE.includes(spec.type)) {
    const found = machine.freshLabel('found');
    machine.emit(insn.jne(pointer.read(), 0, found));
    // Another CPU may have created the entry by now.
    calls.helper(mapUpdateElem, [map, place, 0, BPF_NOEXIST]);
    machine.emit(insn.jeq(calls.helper(mapLookupElem, [map, place]).read(), 0, end), insn.label(found));
  } else {
    machine.emit(insn.jeq(pointer.read(), 0, end));
  }
  // On both paths r0, the register of `pointer`, holds the address of the entry.
  const entry = new Value(machine, pointer.register, pointer.holder);
  machine.hold(entry.register, entry.holder);
  add(memory(machine, entry, 0, spec.value, spec.name) as Place, amount, isPerCpu(spec));
  machine.loseTemporaries('count()');
  machine.emit(insn.label(end));
}

/** Adds atomically, except in a per-CPU map: no other CPU writes its value. */
function add(count: Place, amount: Operand, perCpu: boolean): void {
  if (perCpu) count.set(count.get().add(amount));
  else count.atomicAdd(amount);
}

function requireNumber({ name, value }: MapSpec<TSchema, TSchema>): void {
  const layout = layoutOf(value);
  if (layout.kind !== 'int' || layout.size < 4 || layout.bigEndian)
    throw new TypeError(
      `count() needs map values that are integers of 4 or 8 bytes in host byte order, such as u64; map ${name} has others`,
    );
}
