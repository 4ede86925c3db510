/**
 * Aggregation in the kernel: at the end of a connect, its program adds to the entry of its key instead of
 * sending an event.
 *
 * Two hash tables take turns (`generations`). User space replaces the one that the programs use by the other
 * one, which is empty, and then reads the first. Updating a map of maps waits for the programs that run
 * (kernel/bpf/syscall.c, `maybe_wait_bpf_programs`), so nothing changes a table that is read: no connect is
 * missed or counted twice, and keys without connects take no space in the next interval.
 *
 * The key has the facts about the end of the connect from which user space derives its result (`outcomeOf`).
 *
 * A key that has no room is counted under a shorter key: its port and its end, then its end alone, for which
 * user space reserves entries (`LAST_KEYS`).
 */
import type { Static } from '@sinclair/typebox';
import type { Builder } from '../../asm/builder/builder.ts';
import type { Memory } from '../../asm/builder/memory.ts';
import type { Condition } from '../../asm/builder/operand.ts';
import type { Place } from '../../asm/builder/place.ts';
import type { Value } from '../../asm/builder/value.ts';
import { atomic, jeq, jge, jle, label, ldx, mov } from '../../asm/constructors.ts';
import type { PerfEventArraySpec } from '../../asm/events.ts';
import { BPF_NOEXIST } from '../../asm/flags.ts';
import {
  arrayOf,
  bytes,
  chars,
  type StructSchema,
  struct,
  u16,
  u16be,
  u32,
  u64,
  u64n,
} from '../../asm/layout.ts';
import { array, constants, hash, type MapSpec } from '../../asm/map.ts';
import { arrayOfMaps, type MapOfMapsSpec } from '../../asm/map-of-maps.ts';
import { r0, r1, r2 } from '../../asm/registers.ts';
import { subprogram } from '../../asm/subprogram.ts';
import { FIRST_BUCKET, OVERFLOW_SLOT, SLOT_COUNT, UNDERFLOW_SLOT } from '../latency-buckets.ts';
import {
  AF_INET6,
  ECONNREFUSED,
  EHOSTUNREACH,
  ENETUNREACH,
  ETIMEDOUT,
  type EventFields,
  EXIT_SIGNAL,
  type Families,
  SS_UNCONNECTED,
  TCP_ESTABLISHED,
} from './events.ts';

/** What the kernel tells connects apart by. */
export interface KeyFields {
  /** The remote address: all of it, or the network with these prefix lengths. */
  readonly address?: 'all' | { readonly v4: number; readonly v6: number };
  readonly port?: boolean;
  /** The name of the thread. */
  readonly comm?: boolean;
  /** The real user ID. Needs `who`. */
  readonly uid?: boolean;
  /**
   * The cgroup of the caller. `v2`: its cgroup v2 ID. `any`: also its cgroups of version 1, by the address of
   * the `css_set`, or by process if the programs cannot read that. Needs `who`.
   */
  readonly cgroup?: 'v2' | 'any';
}

/** The options of the aggregation. */
export interface AggregateOptions {
  readonly fields: KeyFields;
  /** The capacity of each of the two tables. */
  readonly maxKeys: number;
  /**
   * Whether the programs use atomic compare-and-exchange (Linux 5.12) for the extremes. Otherwise two CPUs
   * that end connects of one key at the same time can leave an extreme of the other one.
   */
  readonly compareExchange?: boolean;
}

// --- schemas -------------------------------------------------------------------------------------

/** What a key has: all fields, the port and the end of the connects, only their end, or nothing. */
export const Scope = { complete: 0, port: 1, end: 2, unknown: 3 } as const;

/** Facts about the end of a connect, as bits. */
export const End = {
  established: 1,
  /** The socket received a segment. */
  received: 2,
  /** The socket has no local port. */
  noPort: 4,
  /** The call failed before a SYN was sent, with an error that only its return value has. */
  unsent: 8,
  /** A signal killed the process. */
  killed: 16,
} as const;

/** `error` comes from the socket or the call; `end` has bits of `End`. */
const KEY = { end: u16, error: u16, port: u16, scope: u16 };
const ADDRESS = { address: bytes(16) };
const COMM = { comm: chars(16) };
const CGROUP = { cgroup: u64, cgroups: u64 };
const USER = { uid: u32, reserved: u32 };
type OptionalFields = typeof ADDRESS & typeof COMM & typeof CGROUP & typeof USER;
type KeySchema = StructSchema<typeof KEY & { [K in keyof OptionalFields]: OptionalFields[K] }>;

/** The key of an entry. IPv4 addresses are IPv4-mapped. Fields that the options do not ask for are absent. */
export type AggregateKey = Pick<Static<KeySchema>, keyof typeof KEY> &
  Partial<Pick<Static<KeySchema>, keyof OptionalFields>>;

function keyOf({ address, comm, cgroup, uid }: KeyFields): KeySchema {
  return struct({
    ...KEY,
    ...(address && ADDRESS),
    ...(comm && COMM),
    ...(cgroup && CGROUP),
    ...(uid && USER),
  }) as unknown as KeySchema;
}

const Slots = arrayOf(u64, SLOT_COUNT);

/** The connects of a key. Their number is the sum of the slots: programs save an addition. */
export const Aggregated = struct({
  sumNs: u64n,
  /** `EMPTY.minNs` if there is no connect. */
  minNs: u64,
  maxNs: u64n,
  /** SYN retransmissions; 0 if the programs do not know them. */
  retransmits: u64n,
  /** A process that ended one of the connects, for a look-up of its cgroups. */
  pid: u32,
  reserved: u32,
  /** A u64 for each slot (`latency-buckets.ts`). Bytes, because decoding thousands of numbers takes long. */
  slots: bytes(8 * SLOT_COUNT),
});

/** The entry of a key without connects. */
export const EMPTY: Static<typeof Aggregated> = {
  ...{ sumNs: 0, minNs: 2n ** 64n - 1n, maxNs: 0, retransmits: 0, pid: 0, reserved: 0 },
  slots: new Uint8Array(8 * SLOT_COUNT),
};

/**
 * Which connects are also sent as events: those of at least `thresholdNs`, until `sent` reaches `limit`, and
 * failed ones that are the first of their key in a table, until `failedSent` reaches `failedLimit`.
 */
export const Samples = struct({
  thresholdNs: u64n,
  limit: u64n,
  sent: u64n,
  failedLimit: u64n,
  failedSent: u64n,
});

/** Connects that are in no entry. */
export const Missed = struct({
  /** The latency is below zero: the clocks of two CPUs disagree. */
  negative: u64n,
  /** No table had an entry. */
  unplaced: u64n,
});

/** Results of adding a connect to a table. */
const Placed = { in: 0, first: 1, nowhere: 2 } as const;

// --- programs ------------------------------------------------------------------------------------

/** The maps of the aggregation, and the statements that add a connect. */
export interface Aggregate {
  readonly fields: KeyFields;
  readonly tables: readonly [Table, Table];
  /** The table that the programs use is its entry 0; at first `tables[0]`. */
  readonly generations: MapOfMapsSpec<typeof u32, Table>;
  /** The entries that an empty table must have. */
  readonly reserved: readonly (readonly [Static<KeySchema>, Static<typeof Aggregated>])[];
  readonly samples: MapSpec<typeof u32, typeof Samples>;
  readonly missed: MapSpec<typeof u32, typeof Missed>;
  readonly maps: readonly MapSpec[];
  /** Whether the programs know the causes of failures: otherwise only the new state of the socket. */
  readonly knowsCauses: boolean;
  /** Whether the programs use atomic compare-and-exchange. */
  readonly compareExchange: boolean;
  /** Adds the connect of an event, and sends the event if `samples` selects it. */
  add(
    b: Builder,
    event: Memory<StructSchema<EventFields>>,
    events: PerfEventArraySpec<StructSchema<EventFields>>,
  ): void;
}

/** A table: an entry for each key. */
export type Table = MapSpec<KeySchema, typeof Aggregated>;

/** What the aggregation knows about the programs that it becomes a part of. */
export interface AggregateContext {
  readonly Event: StructSchema<EventFields>;
  readonly families: Families;
}

/** The aggregation for the option `aggregate` of tcpconnlat. */
export function aggregation({
  fields,
  maxKeys,
  compareExchange = true,
}: AggregateOptions): (context: AggregateContext) => Aggregate {
  return ({ Event, families }) => {
    const Key = keyOf(fields);
    const entries = reservedKeys(fields).map((key) => [key as Static<KeySchema>, EMPTY] as const);
    const tableOf = (name: string) =>
      hash(name, { key: Key, value: Aggregated, maxEntries: maxKeys, entries });
    const tables = [tableOf('aggregate_0'), tableOf('aggregate_1')] as const;
    const inner = hash('aggregate', { key: Key, value: Aggregated, maxEntries: maxKeys });
    const generations = arrayOfMaps('generations', { inner, maps: [tables[0]] });
    const template = constants('template', Aggregated, EMPTY);
    const samples = array('samples', { value: Samples });
    const missed = array('missed', { value: Missed });
    const knowsCauses = 'cause' in Event.properties;

    const add = subprogram('add', [Aggregated, Event], (b, entryMemory, eventMemory) => {
      const entry = b.keep(entryMemory);
      const event = b.keep(eventMemory);
      const latencyNs = event.latencyNs.as(u64);
      entry.sumNs.atomicAdd(latencyNs);
      if (knowsCauses) {
        const { retransmits } = event.ended;
        b.if(retransmits.ne(0), () => entry.retransmits.atomicAdd(retransmits));
      }
      if (fields.cgroup) entry.pid.set(event.attempt.task.pid);
      b.as(entry.slots, Slots).at(slotIn(latencyNs.get()), (connects) => connects.atomicAdd(1));
      if (compareExchange) {
        exchange(b, entry.minNs, latencyNs, jge);
        exchange(b, entry.maxNs, latencyNs, jle);
      } else {
        b.if(entry.minNs.gt(latencyNs), () => entry.minNs.set(latencyNs));
        b.if(entry.maxNs.lt(latencyNs), () => entry.maxNs.set(latencyNs.as(u64n)));
      }
    });

    /** Adds to the entry of a key, and creates it if there is room. Returns a number of `Placed`. */
    const addTo = subprogram('add_to', [Key, Event], (b, keyMemory, eventMemory) => {
      const key = b.keep(keyMemory);
      const event = b.keep(eventMemory);
      b.lookup(generations, 0, {
        missing: () => b.return(Placed.nowhere),
        found: (found) => {
          const table = b.keep(found);
          const addTo = (placed: number) => (entry: Memory<typeof Aggregated>) => {
            b.call(add, entry, event);
            b.return(placed);
          };
          b.lookup(table, key, { found: addTo(Placed.in) });
          // Another CPU may create the entry first.
          b.update(table, key, b.global(template), BPF_NOEXIST);
          b.lookup(table, key, { found: addTo(Placed.first) });
          b.return(Placed.nowhere);
        },
      });
    });

    // With the frames of its callers and callees it must fit 512 bytes of stack: it holds a key and no more.
    // Returns a number of `Placed`: `in` if the connect has no entry of its complete key.
    const aggregate = subprogram('aggregate', [Event], (b, eventMemory) => {
      const event = b.keep(eventMemory);
      b.if(event.latencyNs.lt(0), () => {
        b.global(missed).negative.atomicAdd(1);
        b.return();
      });
      const key = b.stack(Key);
      key.set(0);
      fillEnd(b, key, event, knowsCauses);
      if (fields.port) key.port.set(event.ports.remote);
      if (fields.address) fillAddress(b, key.address, event, families);
      if (typeof fields.address === 'object') maskAddress(b, key.address, fields.address);
      if (fields.comm) key.comm.set(event.attempt.comm);
      if (fields.uid) key.uid.set(event.attempt.user.uid);
      if (fields.cgroup) key.cgroup.set(event.attempt.cgroup);
      if (fields.cgroup === 'any')
        key.cgroups.set(
          'process' in Event.properties.attempt.properties
            ? event.attempt.process.cgroups
            : event.attempt.task.pid,
        );
      const placed = b.call(addTo, key, event);
      b.if(placed.ne(Placed.nowhere), () => b.return(placed));

      // No room: count under the port and the end, then under the end, then as `failed`.
      if (fields.address) key.address.set(0);
      if (fields.comm) key.comm.set(0);
      if (fields.uid) key.uid.set(0);
      if (fields.cgroup) key.cgroup.set(0);
      if (fields.cgroup) key.cgroups.set(0);
      if (fields.port) {
        key.scope.set(Scope.port);
        b.if(b.call(addTo, key, event).ne(Placed.nowhere), () => b.return());
        key.port.set(0);
      }
      key.scope.set(Scope.end);
      b.if(b.call(addTo, key, event).ne(Placed.nowhere), () => b.return());
      key.scope.set(Scope.unknown);
      key.end.set(0);
      key.error.set(0);
      b.if(b.call(addTo, key, event).ne(Placed.nowhere), () => b.return());
      b.global(missed).unplaced.atomicAdd(1);
    });

    return {
      fields,
      tables,
      generations,
      samples,
      missed,
      maps: [...tables, generations, template, samples, missed],
      knowsCauses,
      compareExchange,
      reserved: entries,
      add(b, event, events) {
        const isFirst = b.call(aggregate, event).eq(Placed.first);
        b.block((done) => {
          b.if(isFirst, () =>
            b.if(event.ended.state.ne(TCP_ESTABLISHED), () => {
              const { failedLimit, failedSent } = b.global(samples);
              b.if(failedSent.lt(failedLimit), () => {
                failedSent.atomicAdd(1);
                b.output(events, event);
                done();
              });
            }),
          );
          const settings = b.global(samples);
          b.if(settings.thresholdNs.as(u64).gt(event.latencyNs.as(u64)), done);
          b.if(settings.sent.ge(settings.limit), done);
          settings.sent.atomicAdd(1);
          b.output(events, event);
        });
      },
    };
  };
}

/**
 * The keys that have entries from the beginning, so that they have room in a full table.
 */
function reservedKeys(fields: KeyFields): AggregateKey[] {
  const rest = {
    ...(fields.address && { address: new Uint8Array(16) }),
    ...(fields.comm && { comm: '' }),
    ...(fields.cgroup && { cgroup: 0n, cgroups: 0n }),
    ...(fields.uid && { uid: 0, reserved: 0 }),
  };
  const usual = USUAL_ENDS.map(([end, error]) => ({ end, error, scope: Scope.end }));
  return [...usual, { end: 0, error: 0, scope: Scope.unknown }].map((key) => ({ ...key, port: 0, ...rest }));
}

/** The usual ends of connects. */
const USUAL_ENDS: readonly (readonly [end: number, error: number])[] = [
  [End.established | End.received, 0],
  [End.established, 0],
  [End.received, ECONNREFUSED],
  ...[ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH].map((error) => [0, error] as const),
  [End.killed, 0],
  [0, 0],
];

/** The most attempts to change an extreme that other CPUs change at the same time. */
const MAX_EXCHANGES = 8;

/**
 * Replaces the number at a place by another number, unless `isDone` jumps for the number there and the other
 * one. Gives up after `MAX_EXCHANGES` other CPUs were faster.
 */
function exchange(b: Builder, place: Place, by: Place, isDone: typeof jge): void {
  const done = `done_${place.name.replace(/\W/g, '_')}`;
  const at = [place.baseRegister(), place.offset] as const;
  b.emit(ldx({ size: 8 }, r1, by.baseRegister(), by.offset), ldx({ size: 8 }, r0, ...at));
  for (let tries = 0; tries < MAX_EXCHANGES; tries++)
    b.emit(isDone(r1, r0, done), mov(r2, r0), atomic.cmpxchg({ size: 8 }, ...at, r1), jeq(r0, r2, done));
  b.emit(label(done));
}

/** The slot of a latency, as `slotOf`. */
function slotIn(latencyNs: Value): Value {
  const slot = latencyNs.exponentialBucket().add(1 - FIRST_BUCKET);
  return slot.max(UNDERFLOW_SLOT).min(OVERFLOW_SLOT).as(u32);
}

type EventMemory = Memory<StructSchema<EventFields>>;

/** Writes the facts that change the result of `outcomeOf`. */
function fillEnd(b: Builder, key: Memory<KeySchema>, event: EventMemory, knowsCauses: boolean): void {
  const { cause, ended, ports } = event;
  const setIf = (condition: Condition, bit: number) =>
    b.if(condition, () => key.end.set(key.end.get().or(bit).as(u16)));
  const noPort = () => setIf(ports.local.eq(0), End.noPort);
  const established = () => key.end.set(End.established);
  if (!knowsCauses) {
    b.if(ended.state.eq(TCP_ESTABLISHED), established, noPort);
    return;
  }
  key.error.set(cause.error.as(u16));
  b.if(
    ended.state.eq(TCP_ESTABLISHED).and(cause.error.eq(0)),
    () => {
      established();
      setIf(cause.segmentsIn.ne(0), End.received);
    },
    () =>
      b.if(
        cause.error.eq(0),
        () => {
          noPort();
          setIf(cause.socketState.eq(SS_UNCONNECTED).and(cause.segmentsOut.eq(0)), End.unsent);
          setIf(cause.exitCode.bits(EXIT_SIGNAL), End.killed);
        },
        () => setIf(cause.error.eq(ECONNREFUSED).and(cause.segmentsIn.ne(0)), End.received),
      ),
  );
}

/** An IPv4-mapped IPv6 address. */
const Mapped = struct({ zeros: u64, reserved: u16, ones: u16be, address: bytes(4) });

/** Writes the remote address. */
function fillAddress(b: Builder, address: Place, event: EventMemory, { v4, v6 }: Families): void {
  const fillV4 = () => {
    const mapped = b.as(address, Mapped);
    mapped.ones.set(0xffff);
    mapped.address.set(event.v4.remote);
  };
  const fillV6 = () => address.set(event.v6.remote);
  if (v4 && v6) b.if(event.family.eq(AF_INET6), fillV6, fillV4);
  else if (v6) fillV6();
  else fillV4();
}

const Words = struct({ first: u64, second: u64 });
const HalfWords = struct({ first: u64, third: u32, fourth: u32 });
/** The bytes 00 00 ff ff, as a little-endian number. */
const MAPPED_MARK = 0xffff_0000;

/** Clears the bits after the prefix of the address's family. */
function maskAddress(b: Builder, address: Place, { v4, v6 }: { readonly v4: number; readonly v6: number }) {
  const words = b.as(address, Words);
  const { first, third, fourth } = b.as(address, HalfWords);
  const mask = (place: Place, bits: number, size: number) => {
    if (bits >= size) return;
    place.set(bits <= 0 ? 0 : place.get().and(b.value(prefixMask(bits, size))));
  };
  const maskV6 = () => {
    mask(words.first, v6, 64);
    mask(words.second, v6 - 64, 64);
  };
  b.if(first.eq(0).and(third.eq(MAPPED_MARK)), () => mask(fourth, v4, 32), maskV6);
}

/** The mask of the first `bits` of a number of `size` bits in network byte order, read as little-endian. */
function prefixMask(bits: number, size: number): bigint {
  const mask = (1n << BigInt(size)) - (1n << BigInt(size - bits));
  let swapped = 0n;
  for (let byte = 0; byte < size / 8; byte++)
    swapped = (swapped << 8n) | ((mask >> BigInt(8 * byte)) & 0xffn);
  return swapped;
}
