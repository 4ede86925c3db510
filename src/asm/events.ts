/**
 * Maps that carry events to user space: perf event arrays and ring buffers.
 *
 * Source: kernel/trace/bpf_trace.c (`bpf_perf_event_output`), kernel/bpf/ringbuf.c.
 */
import type { Static, TObject, TSchema } from '@sinclair/typebox';
import { reportAtCaller } from './error-position.ts';
import {
  type BigIntSchema,
  type FieldLayout,
  layoutOf,
  type NumberSchema,
  type StructSchema,
  sampleView,
  struct,
  u32,
  u64n,
  valueDecoder,
} from './layout.ts';
import { type GlobalsSpec, globals, type MapSpec, MapType, spec } from './map.ts';

/**
 * The structs of several event types in one map, by name.
 *
 * @example
 * ```ts
 * import { type EventVariants, struct, u32 } from 'tsbpf';
 *
 * const variants = { connect: struct({ pid: u32 }), close: struct({ fd: u32 }) } satisfies EventVariants;
 * ```
 */
export type EventVariants = Readonly<Record<string, TObject>>;

/** The events of a map: the schema of all of them, or the struct of each event type by name. */
export type EventTypes = TSchema | EventVariants;

/**
 * The struct of one of several event types: a u32 `type`, then its fields as in C. `type` is the number of
 * the event type in the order of their declaration, from 1; `b.output` and `b.reserve` write it.
 */
export type Variant<S extends TObject> =
  S extends TObject<infer F> ? StructSchema<{ type: typeof u32 } & F> : never;

/** The structs of several event types, by name. Empty if all events have one schema. */
export type VariantsOf<E extends EventTypes> = E extends TSchema
  ? { readonly [K in never]: never }
  : { readonly [K in keyof E & string]: E[K] extends TObject ? Variant<E[K]> : never };

/** A decoded event of a map: see `EventTypes`. Of several event types, `type` is the name. */
export type EventOf<E extends EventTypes> = E extends TSchema
  ? Static<E>
  : {
      [K in keyof E & string]: E[K] extends TObject ? { type: K } & Static<E[K]> : never;
    }[keyof E & string];

interface EventsMap<E extends EventTypes> extends MapSpec<typeof u32, typeof u32> {
  /** The events: `b.output` accepts no others, and `Session.open` decodes them. */
  readonly event: E;
  /** The struct of each event type, for `b.stack`; empty if all events have one schema. */
  readonly variants: VariantsOf<E>;
}

/** A perf event array, with the schemas of the events that its rings carry: see `perfEventArray`. */
export interface PerfEventArraySpec<E extends EventTypes = EventTypes> extends EventsMap<E> {
  readonly type: typeof MapType.perfEventArray;
  /** The offset of the time in the events that orders them. Undefined: the kernel's time of the output. */
  readonly timestamp?: number;
}

type TimesOf<F> = {
  [K in keyof F & string]: F[K] extends BigIntSchema | NumberSchema<8> ? K : never;
}[keyof F & string];

/** The names of the fields that can order events: the 64-bit ones. */
export type TimestampField<E extends EventTypes> =
  E extends StructSchema<infer F>
    ? TimesOf<F>
    : E extends TSchema
      ? never
      : { [K in keyof E]: E[K] extends StructSchema<infer F> ? TimesOf<F> : never }[keyof E];

/** A ring buffer, with the schemas of the events that it carries: see `ringBuffer`. */
export interface RingBufferSpec<E extends EventTypes = EventTypes> extends EventsMap<E> {
  readonly type: typeof MapType.ringBuffer;
  /**
   * The map that counts lost events. `b.output` and `b.reserve` count in it each event for which the ring
   * buffer had no space, because the kernel does not.
   */
  readonly lost: GlobalsSpec<typeof u64n>;
}

/** A map that carries events: a perf event array or a ring buffer. */
export type EventsSpec<E extends EventTypes = EventTypes> = PerfEventArraySpec<E> | RingBufferSpec<E>;

/** Whether a map is a perf event array with events. */
export function isPerfEventArray(map: MapSpec): map is PerfEventArraySpec {
  return map.type === MapType.perfEventArray && (map as Partial<EventsSpec>).event !== undefined;
}

/** Whether a map is a ring buffer with events. */
export function isRingBuffer(map: MapSpec): map is RingBufferSpec {
  return map.type === MapType.ringBuffer && (map as Partial<EventsSpec>).event !== undefined;
}

/** Whether a map carries events. */
export function isEvents(map: MapSpec): map is EventsSpec {
  return isPerfEventArray(map) || isRingBuffer(map);
}

/**
 * The perf rings that carry a tool's events, one ring for each CPU (Linux 4.4). `b.output` sends events of
 * this schema only; as `events` of a `Tool` the map gives `onEvent` its type. Structs by name declare several
 * event types: `onEvent` then gets a union with their names as `type`. The loader makes the map as large as
 * the highest possible CPU number requires.
 *
 * Events of all CPUs are delivered in the order of their times. `timestamp` names the field with the time, a
 * `u64` or `u64n` from `ktimeGetNs`, which several event types must have at the same offset. Without it, the
 * kernel adds the time of the output to each event, which takes 8 bytes of the ring.
 *
 * Throws TypeError if a schema has no C layout, if one of several has a field `type` or is not a struct, or
 * if the timestamp is not a u64 of all events.
 *
 * @example
 * ```ts
 * import { chars, perfEventArray, struct, u32, u64 } from 'tsbpf';
 *
 * const Exec = struct({ timeNs: u64, pid: u32, comm: chars(16) });
 * const execs = perfEventArray('execs', Exec, { timestamp: 'timeNs' });
 * const files = perfEventArray('files', { open: struct({ flags: u32 }), close: struct({ fd: u32 }) });
 * ```
 */
export function perfEventArray<E extends EventTypes>(
  name: string,
  event: E,
  options: { readonly timestamp?: TimestampField<E> } = {},
): PerfEventArraySpec<E> {
  const of = `perf event array ${name}`;
  const { variants, timestamp } = reportAtCaller(() => {
    const found = variantsOf(of, event);
    const schemas = schemasOf({ event, variants: found });
    const { timestamp } = options;
    return {
      variants: found,
      timestamp: timestamp === undefined ? undefined : timestampOf(of, schemas, timestamp),
    };
  });
  const type = MapType.perfEventArray;
  return { ...spec(name, type, { key: u32, value: u32, maxEntries: 0 }), type, event, variants, timestamp };
}

/** The offset of the field that orders events. @throws {TypeError} if it is not the same u64 of all. */
function timestampOf(of: string, schemas: readonly TSchema[], field: string): number {
  const [first = [], ...others] = schemas.map(timesIn);
  const time = first.find(({ name }) => name === field);
  const isSame = ({ name, offset }: FieldLayout) => name === field && offset === time?.offset;
  if (time && others.every((times) => times.some(isSame))) return time.offset;
  const usable = first.length > 0 ? `use one of: ${first.map(({ name }) => name).join(', ')}` : 'add one';
  throw new TypeError(
    others.length > 0
      ? `${of}: '${field}' is not a u64 at the same offset in all event types: make it their first field`
      : `${of}: '${field}' is not a u64 field of its events: ${usable}`,
  );
}

/** The fields of a struct that can be a time. */
function timesIn(schema: TSchema): readonly FieldLayout[] {
  const layout = layoutOf(schema);
  if (layout.kind !== 'struct') return [];
  return layout.fields.filter(
    ({ layout }) => layout.kind === 'int' && layout.size === 8 && !layout.signed && !layout.bigEndian,
  );
}

/** The size of the header of a record in a ring buffer (BPF_RINGBUF_HDR_SZ). */
const HEADER = 8;
/** The smallest page of the kernels' architectures. */
const LEAST_PAGE = 4096;

/**
 * A ring buffer that carries the events of all CPUs in one order (Linux 5.8; use `perfEventArray` before).
 * `b.output` copies an event into it, and `b.reserve` gives memory in it to fill in place. `event` is as for
 * `perfEventArray`.
 *
 * `bytes` is its size: a power of two, and at least one page of the kernel's memory. 8 bytes are added to
 * each event, and its size is rounded up to 8. If an event finds no space, it is lost, and the map `lost`
 * counts it.
 *
 * Throws RangeError for another size and for one that no event fits, and TypeError as `perfEventArray` does.
 *
 * @example
 * ```ts
 * import { rawTracepoint, ringBuffer, struct, target, u64 } from 'tsbpf';
 *
 * const calls = ringBuffer('calls', struct({ number: u64 }), { bytes: 256 * 1024 });
 *
 * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
 *   const number = b.keep(b.arg(1));
 *   b.reserve(calls, {
 *     reserved: (call) => {
 *       call.number.set(number);
 *       b.submit(call);
 *     },
 *   });
 * });
 * ```
 */
export function ringBuffer<E extends EventTypes>(
  name: string,
  event: E,
  { bytes }: { readonly bytes: number },
): RingBufferSpec<E> {
  const type = MapType.ringBuffer;
  const variants = reportAtCaller(() => {
    const found = variantsOf(`ring buffer ${name}`, event);
    checkBytes(name, bytes, Math.max(...schemasOf({ event, variants: found }).map(sizeOf)));
    return found;
  });
  const made = spec(name, type, { key: u32, value: u32, maxEntries: bytes });
  return { ...made, type, event, variants, lost: globals(`${name.slice(0, 10)}_lost`, u64n) };
}

function checkBytes(name: string, bytes: number, eventBytes: number): void {
  const isPower = Number.isInteger(bytes) && bytes > 0 && 2 ** Math.round(Math.log2(bytes)) === bytes;
  if (!isPower || bytes < LEAST_PAGE || bytes > 2 ** 31) {
    const near = Math.min(2 ** 31, Math.max(LEAST_PAGE, 2 ** Math.ceil(Math.log2(bytes > 0 ? bytes : 1))));
    throw new RangeError(
      `ring buffer ${name}: bytes is ${bytes}, but the kernel needs a power of two and whole pages: use ${near}`,
    );
  }
  const record = HEADER + Math.ceil(eventBytes / 8) * 8;
  if (record > bytes)
    throw new RangeError(
      `ring buffer ${name}: an event of ${eventBytes} bytes (${record} with its header) does not fit ${bytes} bytes: use ${2 ** Math.ceil(Math.log2(record))}`,
    );
}

function sizeOf(schema: TSchema): number {
  return layoutOf(schema).size;
}

/** Whether the events have one schema. */
function isSchema(event: EventTypes): event is TSchema {
  return typeof (event as { ctype?: unknown }).ctype === 'string';
}

/** The structs of several event types. @throws {TypeError} if a schema has no C layout. */
function variantsOf<E extends EventTypes>(map: string, event: E): VariantsOf<E> {
  if (typeof event !== 'object' || event === null)
    throw new TypeError(`${map} needs the schema of its events as its second argument`);
  // A TypeBox schema without a C layout is an error of layoutOf, not a set of variants.
  if (isSchema(event) || typeof event.type === 'string') {
    layoutOf(event as TSchema);
    return {} as VariantsOf<E>;
  }
  const entries = Object.entries(event).map(([type, fields]) => {
    const layout = layoutOf(fields as TSchema);
    if (layout.kind !== 'struct')
      throw new TypeError(
        `${map}: the event type ${type} is not a struct: use struct({ ... }), which gets the field 'type'`,
      );
    const { properties } = fields as TObject;
    if ('type' in properties)
      throw new TypeError(
        `${map}: the event type ${type} has a field 'type', which the library adds: rename the field`,
      );
    return [type, struct({ type: u32, ...properties })];
  });
  if (entries.length === 0) throw new TypeError(`${map} has no event type: pass at least one struct`);
  return Object.fromEntries(entries) as VariantsOf<E>;
}

/** The schemas of all events of a map, as they are sent. */
export function schemasOf({ event, variants }: Pick<EventsSpec, 'event' | 'variants'>): readonly TSchema[] {
  return isSchema(event) ? [event] : Object.values(variants as Readonly<Record<string, TSchema>>);
}

/** One of the event types of a map: its number in `type`, and its struct. */
export interface NumberedVariant {
  readonly number: number;
  readonly schema: TSchema;
}

/** The event type of that name. @throws {TypeError} if the map has no such event type. */
export function variantNamed({ name, variants }: EventsSpec, type: string): NumberedVariant {
  const names = Object.keys(variants);
  const index = names.indexOf(type);
  const schema = (variants as Readonly<Record<string, TSchema>>)[type];
  if (index >= 0 && schema !== undefined) return { number: index + 1, schema };
  const known = names.length === 0 ? 'its events have one schema' : `it has ${names.join(', ')}`;
  throw new TypeError(`map ${name} has no event type '${type}': ${known}`);
}

/** Reads an event of `size` bytes at `offset`. */
export type EventReader<E extends EventTypes> = (view: DataView, offset: number, size: number) => EventOf<E>;

/**
 * Returns a function that decodes the events of a map or, `inPlace`, moves a view of them (`sampleView`). It
 * throws RangeError for an event that is too short or of no known type.
 */
export function eventReader<E extends EventTypes>(events: EventsSpec<E>, inPlace: boolean): EventReader<E> {
  const { name, event, variants } = events;
  const requireWhole = (size: number, wanted: number, of: string) => {
    if (size < wanted)
      throw new RangeError(
        `an event has ${size} bytes, but the schema of '${of}' ${wanted}; send the whole struct with b.output`,
      );
  };
  if (isSchema(event)) {
    const read = inPlace ? sampleView(event) : valueDecoder(event);
    const wanted = sizeOf(event);
    return (view, offset, size) => {
      requireWhole(size, wanted, name);
      return read(view, offset) as EventOf<E>;
    };
  }
  const types = Object.entries(variants as Readonly<Record<string, TSchema>>).map(([type, schema]) => ({
    type,
    bytes: sizeOf(schema),
    read: named(type, schema, inPlace),
  }));
  return (view, offset, size) => {
    const number = size < 4 ? 0 : view.getUint32(offset, true);
    const found = types[number - 1];
    if (found === undefined)
      throw new RangeError(
        `an event of '${name}' has the type ${number}, which is none of ${types.map(({ type }) => type).join(', ')}; send it with b.output(events, type, event)`,
      );
    requireWhole(size, found.bytes, `${name}.${found.type}`);
    return found.read(view, offset) as EventOf<E>;
  };
}

/** Returns a function that decodes events, or moves a view of them, with `type` as a name. */
function named(type: string, schema: TSchema, inPlace: boolean): (view: DataView, offset: number) => unknown {
  if (!inPlace) {
    const decode = valueDecoder(schema) as (view: DataView, offset: number) => { type: unknown };
    return (view, offset) => {
      const event = decode(view, offset);
      event.type = type;
      return event;
    };
  }
  const move = sampleView(schema);
  const sample = move(new DataView(new ArrayBuffer(0)), 0);
  const withName: unknown = Object.create(sample as object, { type: { value: type, enumerable: true } });
  return (view, offset) => {
    move(view, offset);
    return withName;
  };
}
