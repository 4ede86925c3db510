/**
 * Which helpers accept which maps: the verifier rejects other combinations.
 *
 * Source: kernel/bpf/verifier.c (`check_map_func_compatibility`).
 */
import {
  cgrpStorageDelete,
  cgrpStorageGet,
  currentTaskUnderCgroup,
  getStackid,
  type Helper,
  inodeStorageDelete,
  inodeStorageGet,
  mapPeekElem,
  mapPopElem,
  mapPushElem,
  perfEventOutput,
  perfEventRead,
  perfEventReadValue,
  ringbufOutput,
  ringbufQuery,
  ringbufReserve,
  skStorageDelete,
  skStorageGet,
  tailCall,
  taskStorageDelete,
  taskStorageGet,
} from './helpers.ts';
import { type MapSpec, MapType, mapTypeName } from './map.ts';

/** The map types that only their own helpers accept, with the statements that call these. */
const ROWS: readonly {
  readonly types: readonly MapType[];
  readonly helpers: readonly Helper[];
  readonly use: string;
}[] = [
  {
    types: [MapType.queue, MapType.stack],
    helpers: [mapPushElem, mapPopElem, mapPeekElem],
    use: 'b.push, b.pop and b.peek',
  },
  { types: [MapType.bloomFilter], helpers: [mapPushElem, mapPeekElem], use: 'b.push and b.peek' },
  { types: [MapType.stackTrace], helpers: [getStackid], use: 'b.stackId' },
  storage(MapType.taskStorage, taskStorageGet, taskStorageDelete),
  storage(MapType.inodeStorage, inodeStorageGet, inodeStorageDelete),
  storage(MapType.cgrpStorage, cgrpStorageGet, cgrpStorageDelete),
  storage(MapType.skStorage, skStorageGet, skStorageDelete),
  { types: [MapType.programArray], helpers: [tailCall], use: 'b.tailCall' },
  {
    types: [MapType.perfEventArray],
    helpers: [perfEventOutput, perfEventRead, perfEventReadValue],
    use: 'b.output',
  },
  {
    types: [MapType.ringBuffer],
    helpers: [ringbufOutput, ringbufReserve, ringbufQuery],
    use: 'b.output and b.reserve',
  },
  { types: [MapType.cgroupArray], helpers: [currentTaskUnderCgroup], use: 'currentTaskUnderCgroup' },
];

function storage(type: MapType, ...helpers: readonly Helper[]): (typeof ROWS)[number] {
  return { types: [type], helpers, use: 'b.lookup, b.count and b.delete with a pointer to its owner' };
}

/** Throws TypeError if the verifier would not let the helper use maps of this type. */
export function requireMapHelper({ name, type }: MapSpec, helper: Helper): void {
  const isListed = ({ helpers }: (typeof ROWS)[number]) => helpers.some(({ id }) => id === helper.id);
  const row = ROWS.find(({ types }) => types.includes(type));
  if (row ? isListed(row) : !ROWS.some(isListed)) return;
  if (row)
    throw new TypeError(
      `bpf_${helper.name} cannot use map ${name}, a ${mapTypeName(type)}: such maps are for ${row.use}`,
    );
  const types = ROWS.filter(isListed).flatMap(({ types }) => types.map(mapTypeName));
  throw new TypeError(
    `bpf_${helper.name} needs a map made by ${types.join('() or ')}(); map ${name} is a ${mapTypeName(type)}`,
  );
}
