/**
 * The connects of a run by destination: address and port. The number of destinations is bounded; connects to
 * further ones are counted together, so the numbers of each destination are complete.
 */
import { Latencies } from '../aggregate/latencies.ts';

/** The most destinations. */
export const MAX_DESTINATIONS = 5000;

/** The connects to one destination. */
export class Destination {
  readonly address: string;
  readonly port: number;
  /** The latencies of answered connects. */
  readonly answered = new Latencies();
  /** The number of connects by result. */
  readonly results = new Map<string, number>();
  connects = 0;
  retransmits = 0;

  constructor(address: string, port: number) {
    this.address = address;
    this.port = port;
  }
}

export class Destinations {
  readonly #limit: number;
  /** By `keyOfBytes` or `keyOfText`. */
  readonly #known = new Map<number | string, Destination>();
  /** All connects to further destinations. */
  readonly other = new Destination('', 0);

  constructor(limit = MAX_DESTINATIONS) {
    this.#limit = limit;
  }

  /** Those with most connects first. */
  list(): Destination[] {
    return [...this.#known.values()].sort((a, b) => b.connects - a.connects);
  }

  /** The destination with this key. `address` returns its address as text. */
  at(key: number | string, address: () => string, port: number): Destination {
    const known = this.#known.get(key);
    if (known) return known;
    if (this.#known.size >= this.#limit) return this.other;
    const destination = new Destination(address(), port);
    this.#known.set(key, destination);
    return destination;
  }
}

/** The key of an address in bytes, and a port. Cheaper than the text of the address. */
export function keyOfBytes(address: Uint8Array, port: number): number | string {
  if (address.length !== 4) return `${latin1(address)}${port}`;
  const [a = 0, b = 0, c = 0, d = 0] = address;
  return (((a * 256 + b) * 256 + c) * 256 + d) * 65_536 + port;
}

function latin1({ buffer, byteOffset, length }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, length).toString('latin1');
}

/** The key of an address as text, and a port. */
export function keyOfText(address: string, port: number): string {
  return `${address} ${port}`;
}
