/**
 * The line of a map, as listings print it and programs declare it.
 *
 *     map attempts: hash, key 8 bytes, value 16 bytes, 1024 entries
 *     map shards: arrayOfMaps, key 4 bytes, value 4 bytes, 4 entries, inner map attempts
 *     map events: ringBuffer, 262144 bytes
 *     map seen: bloomFilter, key 0 bytes, value 4 bytes, 1000 entries, 3 hash functions
 *     map sizes: instructionArray, key 4 bytes, value 16 bytes, 2 entries, labels small, large
 */
import { messageWithoutPosition } from '../error-position.ts';
import { isJumpTable, jumpTable } from '../jump-table.ts';
import { shownLabel } from '../labels.ts';
import { bytes, layoutOf, u32 } from '../layout.ts';
import { type MapSpec, MapType, mapTypeName, programArray } from '../map.ts';
import { arrayOfMaps, hashOfMaps, isMapOfMaps } from '../map-of-maps.ts';
import { nearest } from '../nearest.ts';
import { brief, quoted } from '../printable.ts';
import { NO_KEY } from '../queue.ts';

/** A map declaration. */
export interface Declaration {
  readonly map: MapSpec;
  /** The column of its name, from 0. */
  readonly at: number;
  /** The columns of a jump table's labels. */
  readonly labelsAt: readonly number[];
}

/** Throws an error for a column of the line (from 0). */
type Refuse = (message: string, at: number) => never;

/** Returns the line of a map. `within` is the prefix of a jump table's labels in an appended subprogram. */
export function mapLine(map: MapSpec, within = ''): string {
  const { name, type, key, value, maxEntries, flags } = map;
  if (type === MapType.ringBuffer) return `map ${name}: ringBuffer, ${maxEntries} bytes`;
  const entries =
    type === MapType.perfEventArray
      ? 'one ring a CPU'
      : maxEntries === 1
        ? '1 entry'
        : `${maxEntries} entries`;
  return [
    `map ${name}: ${mapTypeName(type)}`,
    `key ${layoutOf(key).size} bytes`,
    `value ${layoutOf(value).size} bytes`,
    entries,
    ...(flags === 0 ? [] : [`flags 0x${flags.toString(16)}`]),
    ...(map.extra === undefined ? [] : [`${map.extra} hash functions`]),
    ...(isMapOfMaps(map) ? [`inner map ${map.inner.name}`] : []),
    ...(isJumpTable(map)
      ? [`labels ${map.labels.map((label) => shownLabel(within + label)).join(', ')}`]
      : []),
  ].join(', ');
}

/** The part that every map has. */
const COMMON =
  /^\s*map\s+(?<name>[A-Za-z0-9_.]+)\s*:\s*(?<kind>\w+)\s*,\s*key\s+(?<key>\d+)\s+bytes?\s*,\s*value\s+(?<value>\d+)\s+bytes?\s*,\s*(?:(?<entries>\d+)\s+entr(?:y|ies)|one ring a CPU)(?<rest>\s*(?:,.*)?)$/d;
/** The line of a ring buffer, which has no keys and values. */
const RING_BUFFER = /^\s*map\s+(?<name>[A-Za-z0-9_.]+)\s*:\s*ringBuffer\s*,\s*(?<bytes>\d+)\s+bytes$/d;
/** The part that only some maps have. */
const REST =
  /^(?:\s*,\s*flags\s+(?<flags>0x[0-9a-fA-F]{1,8}|\d{1,9}))?(?:\s*,\s*(?<hashes>\d{1,9})\s+hash\s+functions?)?(?:\s*,\s*inner\s+map\s+(?<inner>[\w.]+))?(?:\s*,\s*labels\s+(?<labels>\S.*))?$/d;
const LABEL = /^[A-Za-z_.$][\w.$]*$/;
/** The maximum number of entries of a jump table in a text. */
const MAX_LABELS = 65_536;

/** The sizes of keys and values that the kernel requires. */
const SIZES: Partial<Record<keyof typeof MapType, { readonly key?: number; readonly value?: number }>> = {
  array: { key: 4 },
  perCpuArray: { key: 4 },
  programArray: { key: 4, value: 4 },
  perfEventArray: { key: 4, value: 4 },
  cgroupArray: { key: 4, value: 4 },
  arrayOfMaps: { key: 4, value: 4 },
  hashOfMaps: { value: 4 },
  instructionArray: { key: 4, value: 16 },
  stackTrace: { key: 4 },
  ...{ queue: { key: 0 }, stack: { key: 0 }, bloomFilter: { key: 0 } },
  ...{ taskStorage: { key: 4 }, skStorage: { key: 4 } },
  ...{ inodeStorage: { key: 4 }, cgrpStorage: { key: 4 } },
};

/** Parses the line of a map, ignoring blanks at its end. `maps` finds an earlier map by its name. */
export function readMap(
  line: string,
  maps: (name: string) => MapSpec | undefined,
  refuse: Refuse,
): Declaration {
  const whole = line.trimEnd();
  const ring = RING_BUFFER.exec(whole);
  if (ring) return readRingBuffer(ring, refuse);
  const found = COMMON.exec(whole);
  if (found === null)
    return refuse("expected 'map NAME: KIND, key N bytes, value N bytes, N entries'", whole.search(/\S/));
  const at = (group: string): number => found.indices?.groups?.[group]?.[0] ?? 0;
  const { name = '', kind = '', entries = '0', rest = '' } = found.groups ?? {};
  if (name.length > 15) return refuse(`map name ${quoted(name)} has more than 15 characters`, at('name'));
  if (!isKind(kind)) return refuse(unknownKind(kind), at('kind'));
  if (kind === 'ringBuffer')
    return refuse(
      "a ring buffer has no keys and values: expected 'map NAME: ringBuffer, N bytes'",
      at('kind'),
    );
  const size = (part: 'key' | 'value'): number => {
    const digits = found.groups?.[part] ?? '';
    const number = Number(digits);
    const wanted = SIZES[kind]?.[part];
    if (wanted !== undefined && number !== wanted)
      return refuse(`the ${part} of ${kind} has ${wanted} bytes, not ${brief(digits)}`, at(part));
    return number >= (wanted ?? 1) && number <= 0xffff
      ? number
      : refuse(`the size of ${brief(digits)} bytes is not between 1 and 65535`, at(part));
  };
  const keyBytes = size('key');
  const sizes = {
    key: keyBytes === 0 ? NO_KEY : bytes(keyBytes),
    value: bytes(size('value')),
    maxEntries: Number(entries),
  };
  if (sizes.maxEntries > 0xffff_ffff)
    return refuse(`${brief(entries)} entries exceed the maximum of 2^32-1`, at('entries'));

  if (kind === 'instructionArray' && sizes.maxEntries > MAX_LABELS)
    return refuse(`${entries} entries exceed the maximum of ${MAX_LABELS} for a jump table`, at('entries'));

  const further = readRest(kind, rest, at('rest'), maps, refuse);
  const { flags = 0, hashes, inner, labels } = further;
  const count = labels === undefined ? 0 : countOf(labels.text);
  if (kind === 'instructionArray' && count !== sizes.maxEntries)
    return refuse(
      `${entries} ${sizes.maxEntries === 1 ? 'entry' : 'entries'} and ${count} labels: a jump table needs one label for each entry`,
      at('entries'),
    );
  const { names, places } = readLabels(labels, refuse);
  try {
    return {
      map: {
        ...make(kind, name, sizes, inner, names),
        flags,
        ...(hashes !== undefined && { extra: hashes }),
      },
      at: at('name'),
      labelsAt: places,
    };
  } catch (error) {
    return refuse(messageWithoutPosition(error as Error), at('name'));
  }
}

/** The ring buffer that the groups `name` and `bytes` of a match declare. */
function readRingBuffer({ groups = {}, indices }: RegExpExecArray, refuse: Refuse): Declaration {
  const { name = '', bytes: digits = '' } = groups;
  const at = (group: string): number => indices?.groups?.[group]?.[0] ?? 0;
  if (name.length > 15) return refuse(`map name ${quoted(name)} has more than 15 characters`, at('name'));
  const maxEntries = Number(digits);
  if (maxEntries < 1 || maxEntries > 0xffff_ffff)
    return refuse(`${brief(digits)} bytes is not between 1 and 2^32-1`, at('bytes'));
  const map: MapSpec = {
    ...({ kind: 'map', name, type: MapType.ringBuffer, key: u32, value: u32 } as const),
    ...{ maxEntries, flags: 0 },
  };
  return { map, at: at('name'), labelsAt: [] };
}

function isKind(kind: string): kind is keyof typeof MapType {
  return Object.hasOwn(MapType, kind);
}

function unknownKind(kind: string): string {
  const near = nearest(kind, Object.keys(MapType));
  const advice = near.length > 0 ? near : Object.keys(MapType);
  return `unknown map type ${quoted(kind)}; known are ${advice.join(', ')}`;
}

/** The part behind the number of entries. */
interface Rest {
  readonly flags?: number;
  /** The number of hash functions. */
  readonly hashes?: number;
  readonly inner?: MapSpec;
  /** The text after `labels`, and its column. */
  readonly labels?: { readonly text: string; readonly at: number };
}

function readRest(
  kind: keyof typeof MapType,
  rest: string,
  start: number,
  maps: (name: string) => MapSpec | undefined,
  refuse: Refuse,
): Rest {
  const found = REST.exec(rest);
  if (found === null) {
    const at = start + rest.search(/[^\s,]|$/);
    return refuse(
      "expected 'flags 0xN', 'N hash functions', 'inner map NAME' or 'labels NAME, NAME', in this order",
      at,
    );
  }
  const { flags, hashes, inner, labels } = found.groups ?? {};
  const at = (group: string): number => start + (found.indices?.groups?.[group]?.[0] ?? rest.length);
  const ofMaps = kind === 'arrayOfMaps' || kind === 'hashOfMaps';
  if (ofMaps && inner === undefined)
    return refuse(
      `${kind} needs an inner map: add ', inner map NAME' with the name of a map declared before`,
      at('inner'),
    );
  if (!ofMaps && inner !== undefined)
    return refuse(`${kind} cannot have an inner map; only arrayOfMaps and hashOfMaps can`, at('inner'));
  if (kind === 'instructionArray' && labels === undefined)
    return refuse(`${kind} needs labels: add ', labels NAME, NAME'`, at('labels'));
  if (kind !== 'instructionArray' && labels !== undefined)
    return refuse(`${kind} cannot have labels; only instructionArray can`, at('labels'));
  if (hashes !== undefined && kind !== 'bloomFilter')
    return refuse(`${kind} has no hash functions; only bloomFilter has`, at('hashes'));
  if (hashes !== undefined && !(Number(hashes) >= 1 && Number(hashes) <= 15))
    return refuse(`a bloom filter has 1 to 15 hash functions, not ${brief(hashes)}`, at('hashes'));
  return {
    ...(flags !== undefined && { flags: Number(flags) }),
    ...(hashes !== undefined && { hashes: Number(hashes) }),
    ...(inner !== undefined && { inner: innerMap(inner, at('inner'), maps, refuse) }),
    ...(labels !== undefined && { labels: { text: labels, at: at('labels') } }),
  };
}

function innerMap(
  name: string,
  at: number,
  maps: (name: string) => MapSpec | undefined,
  refuse: Refuse,
): MapSpec {
  const map = maps(name);
  if (map === undefined)
    return refuse(
      `unknown map ${quoted(name)}: declare it first with 'map ${brief(name)}: hash, key 4 bytes, ...'`,
      at,
    );
  if (isMapOfMaps(map))
    return refuse(`map '${name}' is a map of maps itself; the kernel allows only one level`, at);
  return map;
}

/** Counts the labels of a list before it is split. */
function countOf(list: string): number {
  let count = 1;
  for (let at = list.indexOf(','); at >= 0; at = list.indexOf(',', at + 1)) count++;
  return count;
}

/** The labels of a list, and their columns. */
function readLabels(list: Rest['labels'], refuse: Refuse): { names: string[]; places: number[] } {
  const names: string[] = [];
  const places: number[] = [];
  let at = list?.at ?? 0;
  for (const part of list?.text.split(',') ?? []) {
    const label = part.trim();
    const place = at + part.search(/\S|$/);
    if (!LABEL.test(label)) refuse(`${quoted(label)} is not a label`, place);
    names.push(label);
    places.push(place);
    at += part.length + 1;
  }
  return { names, places };
}

function make(
  kind: keyof typeof MapType,
  name: string,
  sizes: Pick<MapSpec, 'key' | 'value' | 'maxEntries'>,
  inner: MapSpec | undefined,
  labels: readonly string[],
): MapSpec {
  const { key, maxEntries } = sizes;
  if (inner !== undefined)
    return kind === 'arrayOfMaps'
      ? arrayOfMaps(name, { inner, maxEntries })
      : hashOfMaps(name, { key, inner, maxEntries });
  if (kind === 'instructionArray') return jumpTable(name, labels);
  if (kind === 'programArray') return programArray(name, { maxEntries });
  return { kind: 'map', name, type: MapType[kind], ...sizes, flags: 0 };
}
