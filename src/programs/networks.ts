/**
 * IP networks of both families in one longest-prefix-match trie.
 *
 * IPv4 networks are stored as IPv4-mapped IPv6 networks (::ffff:192.0.2.1, RFC 4291 section 2.5.5.2), which
 * is also how the kernel stores IPv4 addresses in sockets.
 */
import { bytes, struct, u32 } from '../asm/layout.ts';
import type { Entries } from '../asm/map.ts';

/** An IPv4 or IPv6 network in CIDR form. */
export interface Network {
  /** 4 or 16 bytes in network order. The bits after the prefix are zero. */
  readonly address: Uint8Array;
  /** The length of the prefix in bits. */
  readonly prefix: number;
}

/**
 * One criterion of a filter: values to include and values to exclude. Without `only`, every value is
 * included.
 */
export interface Criterion<T> {
  readonly only?: readonly T[];
  readonly not?: readonly T[];
}

/** The key of the trie, in the form that an LPM trie requires. */
export const NetworkKey = struct({ prefixLength: u32, address: bytes(16) });
/** The value of the trie: 1 for included networks, 0 for excluded networks. */
export const Verdict = u32;

/** The prefix length of ::ffff:0:0/96, which holds all of IPv4. */
const MAPPED_BITS = 96;
const MAPPED = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff);

/** Converts an IPv4 network to the IPv4-mapped IPv6 network. An IPv6 network stays as it is. */
export function mapped({ address, prefix }: Network): Network {
  if (address.length === 16) return { address, prefix };
  return { address: Uint8Array.of(...MAPPED, ...address), prefix: MAPPED_BITS + prefix };
}

/** Whether two networks hold the same addresses. IPv4 and IPv4-mapped addresses are the same. */
export function sameNetwork(one: Network, other: Network): boolean {
  const [a, b] = [mapped(one), mapped(other)];
  return a.prefix === b.prefix && contains(a, b.address);
}

/** The unspecified address of each family, and the loopback address that the kernel connects to instead. */
const UNSPECIFIED: readonly (readonly [unspecified: Uint8Array, loopback: Uint8Array])[] = [
  [Uint8Array.of(...MAPPED, 0, 0, 0, 0), Uint8Array.of(...MAPPED, 127, 0, 0, 1)],
  [new Uint8Array(16), Uint8Array.of(...new Uint8Array(15), 1)],
];

/**
 * The entries of the trie. An IPv6 network larger than ::ffff:0:0/96, such as ::/0, does not include IPv4.
 *
 * `unspecifiedIsLoopback` gives 0.0.0.0 and :: the verdict of 127.0.0.1 and ::1, because the kernel connects
 * to the loopback address instead.
 */
export function entriesFor(
  criterion: Criterion<Network>,
  unspecifiedIsLoopback: boolean,
): Entries<typeof NetworkKey, typeof Verdict> {
  const rules = new Rules(criterion);
  if (unspecifiedIsLoopback)
    for (const [unspecified, loopback] of UNSPECIFIED)
      if (
        rules.longest(unspecified)?.prefix !== 128 &&
        rules.includes(unspecified) !== rules.includes(loopback)
      )
        rules.add({ address: unspecified, prefix: 128 }, rules.includes(loopback));
  return rules.all.map(({ address, prefix, include }) => [
    { prefixLength: prefix, address },
    include ? 1 : 0,
  ]);
}

/** Whether a criterion includes an address of 4 or 16 bytes: the same answer as a lookup in the trie. */
export function includesAddress(criterion: Criterion<Network>, address: Uint8Array): boolean {
  return new Rules(criterion).includes(mapped({ address, prefix: 0 }).address);
}

/** Whether the longest network of a criterion that contains an address is excluded. */
export function excludesAddress(criterion: Criterion<Network>, address: Uint8Array): boolean {
  return new Rules(criterion).longest(mapped({ address, prefix: 0 }).address)?.include === false;
}

interface Rule extends Network {
  readonly include: boolean;
}

/** IPv6 and IPv4-mapped networks with their verdicts. */
class Rules {
  readonly #rules = new Map<string, Rule>();
  readonly #default: boolean;

  constructor({ only = [], not = [] }: Criterion<Network>) {
    this.#default = only.length === 0;
    for (const network of only) this.add(mapped(network), true);
    for (const network of not) this.add(mapped(network), false);
    const ipv4 = mapped({ address: new Uint8Array(4), prefix: 0 });
    const isInLargerNetwork = this.all.some(
      ({ prefix, address }) => prefix < MAPPED_BITS && contains({ prefix, address }, ipv4.address),
    );
    if (isInLargerNetwork && !this.all.some((network) => sameNetwork(network, ipv4)))
      this.add(ipv4, this.#default);
  }

  get all(): readonly Rule[] {
    return [...this.#rules.values()];
  }

  add({ address, prefix }: Network, include: boolean): void {
    this.#rules.set(`${prefix} ${address.join()}`, { address, prefix, include });
  }

  longest(address: Uint8Array): Rule | undefined {
    const matching = this.all.filter((rule) => contains(rule, address));
    return matching.sort((a, b) => b.prefix - a.prefix)[0];
  }

  includes(address: Uint8Array): boolean {
    return this.longest(address)?.include ?? this.#default;
  }
}

function contains({ address, prefix }: Network, other: Uint8Array): boolean {
  return address.every((byte, i) => {
    const bits = Math.min(Math.max(prefix - 8 * i, 0), 8);
    return (byte ^ (other[i] ?? 0)) >> (8 - bits) === 0;
  });
}
