/**
 * The statements of filters: each compares what is known of a connect with what was asked for, and leaves where it isn't that.
 */
import type { Builder } from '../../asm/builder/builder.ts';
import type { Place } from '../../asm/builder/place.ts';
import type { Value } from '../../asm/builder/value.ts';
import { currentTaskUnderCgroup } from '../../asm/helpers.ts';
import { bytes, chars, encodeValue, struct, u32, u32be, u64, valueDecoder } from '../../asm/layout.ts';
import type { MapSpec } from '../../asm/map.ts';
import { NetworkKey, type Verdict } from './networks.ts';
import type { Range } from './ranges.ts';

/** Leaves what isn't asked for: one jump, as `b.exit()` or what `b.block` gives. */
export type Leave = () => void;

/** Of the numbers that a filter names, whether they are asked for or left out. */
export interface Numbers {
  readonly ranges: readonly Range[];
  readonly asked: boolean;
}

/** Likewise names of threads. */
export interface Names {
  readonly names: readonly string[];
  readonly asked: boolean;
}

/** Networks of both families in one trie. */
export interface Table {
  /** Holds 0 for those that are left out, another number for those that are asked for. */
  readonly map: MapSpec<typeof NetworkKey, typeof Verdict>;
  /** The numbers in it. */
  readonly verdicts: ReadonlySet<number>;
  /** Whether an address is asked for that is in none of them. */
  readonly byDefault: boolean;
}

/** Compares with each range in turn: they ascend, so that a number below one is in none that follow. */
export function among(b: Builder, number: Value, { ranges, asked }: Numbers, leave: Leave): void {
  const compare = ([least, most]: Range, below: Leave, within: Leave) => {
    if (least === most) return b.if(number.eq(least), within);
    b.if(number.lt(least), below);
    b.if(number.le(most), within);
  };
  if (asked)
    eachButLast(
      b,
      ranges,
      (range, pass) => compare(range, leave, pass),
      ([least, most]) => {
        if (least === most) return b.if(number.ne(least), leave);
        b.if(number.lt(least), leave);
        b.if(number.gt(most), leave);
      },
    );
  else
    b.block((pass) => {
      for (const range of ranges) compare(range, pass, leave);
    });
}

const Words = struct({ low: u64, high: u64 });

/** Compares the 16 bytes of a name with each of the names, as two numbers. */
export function oneOf(b: Builder, comm: Place, { names, asked }: Names, leave: Leave): void {
  const words = b.as(comm, Words);
  const [low, high] = [words.low.get(), words.high.get()];
  const wanted = names.map((name) => wordsOf(encodeValue(chars(Words.size), name)));
  type Wanted = (typeof wanted)[number];
  const same = (to: Wanted, then: Leave) => b.if(low.eq(to.low), () => b.if(high.eq(to.high), then));
  if (asked)
    eachButLast(b, wanted, same, (last) => {
      b.if(low.ne(last.low), leave);
      b.if(high.ne(last.high), leave);
    });
  else for (const each of wanted) same(each, leave);
}

const wordsOf = (bytes: Uint8Array) => valueDecoder(Words)(new DataView(bytes.buffer, bytes.byteOffset), 0);

/** Asks of each cgroup whether the current task is in it or below. */
export function below(b: Builder, cgroups: MapSpec, { names, asked }: Names, leave: Leave): void {
  const isUnder = (i: number) => b.call(currentTaskUnderCgroup, cgroups, i);
  const indices = [...names.keys()];
  if (asked)
    eachButLast(
      b,
      indices,
      (i, pass) => b.if(isUnder(i).eq(1), pass),
      (i) => b.if(isUnder(i).ne(1), leave),
    );
  else for (const i of indices) b.if(isUnder(i).eq(1), leave);
}

/** Tries one thing after the other. The last one asks the other way round, so that what it takes goes on without a jump. */
function eachButLast<T>(
  b: Builder,
  things: readonly T[],
  attempt: (thing: T, pass: Leave) => void,
  final: (thing: T) => void,
): void {
  const [last, ...before] = [...things].reverse() as [T, ...T[]];
  if (before.length === 0) final(last);
  else
    b.block((pass) => {
      for (const thing of before.reverse()) attempt(thing, pass);
      final(last);
    });
}

/** A key with an address of IPv4. */
const MappedKey = struct({ prefixLength: u32, zeros: bytes(8), ones: u32be, address: bytes(4) });

/** Looks up the longest prefix of an address. */
export function inside(
  b: Builder,
  address: Place | undefined,
  { map, verdicts, byDefault }: Table,
  leave: Leave,
): void {
  if (!address) return;
  const key = b.stack(NetworkKey);
  key.prefixLength.set(128);
  if (address.size === key.address.size) key.address.set(address);
  else {
    const mapped = b.as(key, MappedKey);
    mapped.zeros.set(0);
    mapped.ones.set(0xffff);
    mapped.address.set(address);
  }
  b.lookup(map, key, {
    found(verdict) {
      if (verdicts.size > 1) b.if(verdict.eq(0), leave);
      else if (verdicts.has(0)) leave();
    },
    missing() {
      if (!byDefault) leave();
    },
  });
}
