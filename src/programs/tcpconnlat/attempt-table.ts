/**
 * The table of connects in flight, by the address of the socket: a hash table, and optionally an array of
 * slots in front of it. Claiming and clearing a slot takes a tenth of the time of inserting and deleting a
 * hash table entry.
 *
 * The address of a socket decides on its slot. An attempt claims the slot by compare-and-exchange; if another
 * socket has it, the attempt is put into the hash table. The kernel changes the state of a socket under its
 * lock, so no two programs use the entry of one socket at the same time.
 */
import type { Builder } from '../../asm/builder/builder.ts';
import type { Memory } from '../../asm/builder/memory.ts';
import type { Place } from '../../asm/builder/place.ts';
import { atomic, ldx, mov, stx } from '../../asm/constructors.ts';
import { type StructSchema, struct, u32, u64 } from '../../asm/layout.ts';
import { array, hash, type MapSpec } from '../../asm/map.ts';
import { r0, r1, r10 } from '../../asm/registers.ts';
import type { EntryFields } from './events.ts';

/** The slots: a power of two. A table with a smaller capacity has none. */
const SLOT_BITS = 12;
const SLOT_COUNT = 2 ** SLOT_BITS;
/** Sockets are at least 64 bytes, and aligned to that: the lower bits of their addresses are equal. */
const ALIGNMENT_BITS = 6;
/** 2^32 divided by the golden ratio, which spreads similar addresses (include/linux/hash.h). */
const GOLDEN_RATIO = 0x61c8_8647;

type Entry = StructSchema<EntryFields>;

/** A slot: the address of its socket, 0 if it is free, and the attempt. */
export type SlotFields = { socket: typeof u64; attempt: Entry };
/** The slots of a table. */
export type Slots = MapSpec<typeof u32, StructSchema<SlotFields>>;

/**
 * A table for at least `capacity` attempts, and the statements that use it. `withSlots` needs atomic
 * compare-and-exchange, and that the programs may read pointers as numbers (Linux 5.12, CAP_PERFMON).
 */
export function attemptTable(entry: Entry, capacity: number, withSlots: boolean) {
  const overflow = hash('attempts', { key: u64, value: entry, maxEntries: capacity });
  const slots: Slots | undefined =
    withSlots && capacity >= SLOT_COUNT
      ? array('attempt_slots', {
          value: struct({ socket: u64, attempt: entry }) as unknown as StructSchema<SlotFields>,
          maxEntries: SLOT_COUNT,
        })
      : undefined;

  /** Runs `found` with the slot for a socket. */
  const withSlot = (b: Builder, socket: Place, found: (slot: Memory<StructSchema<SlotFields>>) => void) => {
    if (!slots) return;
    const mixed = socket
      .get()
      .as(u32)
      .rsh(ALIGNMENT_BITS)
      .mul(GOLDEN_RATIO)
      .as(u32)
      .rsh(32 - SLOT_BITS);
    b.lookup(slots, b.stack(u32, mixed), { found });
  };

  return {
    hash: overflow,
    slots,
    maps: slots ? [overflow, slots] : [overflow],

    /**
     * Runs `done` after it has put a new attempt into the slot of its socket, unless another socket has the
     * slot. An older attempt of the same socket, whose end the programs missed, is replaced.
     */
    claimSlot(b: Builder, socket: Place, attempt: Memory<Entry>, done: () => void): void {
      withSlot(b, socket, (found) => {
        const slot = b.keep(found);
        const before = compareExchange(b, slot.socket, socket);
        b.if(before.eq(0).or(before.eq(socket)), () => {
          slot.attempt.set(attempt);
          done();
        });
      });
    },

    /** Removes the attempt of a socket, after `copy` has read it. Exits if there is none. */
    take(b: Builder, socket: Place, copy: (attempt: Memory<Entry>) => void): void {
      b.block((taken) => {
        withSlot(b, socket, (slot) =>
          b.if(slot.socket.eq(socket), () => {
            copy(slot.attempt);
            clear(b, slot.socket);
            taken();
          }),
        );
        b.lookup(overflow, socket, { missing: () => b.exit(), found: copy });
        b.delete(overflow, socket);
      });
    },

    /** Removes the attempt of a socket. */
    remove(b: Builder, socket: Place): void {
      withSlot(b, socket, (slot) => b.if(slot.socket.eq(socket), () => clear(b, slot.socket)));
      b.delete(overflow, socket);
    },
  };
}

/** Stores `to` at a place that is 0. Returns the previous content of the place, in memory. */
function compareExchange(b: Builder, place: Place, to: Place): Place {
  const before = b.stack(u64);
  b.emit(
    ldx({ size: 8 }, r1, to.baseRegister(), to.offset),
    mov(r0, 0),
    atomic.cmpxchg({ size: 8 }, place.baseRegister(), place.offset, r1),
    stx({ size: 8 }, r10, before.offset, r0),
  );
  return before;
}

/**
 * Frees a slot, after its attempt has been read. x86-64 does not delay a load beyond a store; other
 * processors need an ordered exchange.
 */
function clear(b: Builder, socket: Place): void {
  if (b.target.architecture.name === 'x64') socket.set(0);
  else b.emit(mov(r1, 0), atomic.xchg({ size: 8 }, socket.baseRegister(), socket.offset, r1));
}
