/**
 * Networks of both families in one table, where the longest prefix of an address decides.
 *
 * An IPv4 address stands there as the IPv4-mapped one (::ffff:192.0.2.1, RFC 4291 section 2.5.5.2), as which the kernel keeps it in sockets
 * of both families too.
 */
import { bytes, struct, u32 } from '../../asm/layout.ts';
import type { Entries } from '../../asm/map.ts';

/** The addresses that begin with the same bits. */
export interface Network {
  /** 4 or 16 bytes in the network's order. Bits behind the prefix are zero. */
  readonly address: Uint8Array;
  /** Bits that count. */
  readonly prefix: number;
}

/** What is asked for, and what of it is left out. Nothing asked for is everything. */
export interface Choice<T> {
  readonly only?: readonly T[];
  readonly not?: readonly T[];
}

/** The key of the table: as `lpmTrie` wants it. */
export const NetworkKey = struct({ prefixLength: u32, address: bytes(16) });
/** The value of the table: 1 for what is asked for, 0 for what is left out. */
export const Verdict = u32;

/** ::ffff:0:0/96, in which IPv4 lies. */
const MAPPED_BITS = 96;
const MAPPED = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff);

/** The same network among those of IPv6. */
export function mapped({ address, prefix }: Network): Network {
  if (address.length === 16) return { address, prefix };
  return { address: Uint8Array.of(...MAPPED, ...address), prefix: MAPPED_BITS + prefix };
}

/** Whether both are the same addresses, IPv4 being IPv4-mapped. */
export function sameNetwork(one: Network, other: Network): boolean {
  const [a, b] = [mapped(one), mapped(other)];
  return a.prefix === b.prefix && contains(a, b.address);
}

/** An address that stands for loopback where it is connected to, and the one that it stands for. */
const ANY: readonly (readonly [any: Uint8Array, loopback: Uint8Array])[] = [
  [Uint8Array.of(...MAPPED, 0, 0, 0, 0), Uint8Array.of(...MAPPED, 127, 0, 0, 1)],
  [new Uint8Array(16), Uint8Array.of(...new Uint8Array(15), 1)],
];

/**
 * The table's entries. Networks of IPv6 that are larger than all of IPv4 (::/0) don't take it in. With `anyIsLoopback` a connect to 0.0.0.0
 * or :: is decided as one to 127.0.0.1 or ::1, which the kernel makes of it.
 */
export function entriesFor(
  choice: Choice<Network>,
  anyIsLoopback: boolean,
): Entries<typeof NetworkKey, typeof Verdict> {
  const rules = new Rules(choice);
  if (anyIsLoopback)
    for (const [any, loopback] of ANY)
      if (rules.longest(any)?.prefix !== 128 && rules.takes(any) !== rules.takes(loopback))
        rules.add({ address: any, prefix: 128 }, rules.takes(loopback));
  return rules.all.map(({ address, prefix, asked }) => [{ prefixLength: prefix, address }, asked ? 1 : 0]);
}

/** Whether an address (4 or 16 bytes) is one that is asked for: what the table says of it. */
export function takesAddress(choice: Choice<Network>, address: Uint8Array): boolean {
  return new Rules(choice).takes(mapped({ address, prefix: 0 }).address);
}

interface Rule extends Network {
  readonly asked: boolean;
}

/** Networks of IPv6, IPv4 among them, and whether each is asked for. */
class Rules {
  readonly #rules = new Map<string, Rule>();
  readonly #byDefault: boolean;

  constructor({ only = [], not = [] }: Choice<Network>) {
    this.#byDefault = only.length === 0;
    for (const network of only) this.add(mapped(network), true);
    for (const network of not) this.add(mapped(network), false);
    const ipv4 = mapped({ address: new Uint8Array(4), prefix: 0 });
    const around = this.all.some(
      ({ prefix, address }) => prefix < MAPPED_BITS && contains({ prefix, address }, ipv4.address),
    );
    if (around && !this.all.some((network) => sameNetwork(network, ipv4))) this.add(ipv4, this.#byDefault);
  }

  get all(): readonly Rule[] {
    return [...this.#rules.values()];
  }

  add({ address, prefix }: Network, asked: boolean): void {
    this.#rules.set(`${prefix} ${address.join()}`, { address, prefix, asked });
  }

  longest(address: Uint8Array): Rule | undefined {
    const found = this.all.filter((rule) => contains(rule, address));
    return found.sort((a, b) => b.prefix - a.prefix)[0];
  }

  takes(address: Uint8Array): boolean {
    return this.longest(address)?.asked ?? this.#byDefault;
  }
}

function contains({ address, prefix }: Network, other: Uint8Array): boolean {
  return address.every((byte, i) => {
    const bits = Math.min(Math.max(prefix - 8 * i, 0), 8);
    return (byte ^ (other[i] ?? 0)) >> (8 - bits) === 0;
  });
}
