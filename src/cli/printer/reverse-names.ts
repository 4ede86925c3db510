/**
 * Reverse DNS lookups in the background, with a cache.
 *
 * The number of concurrent queries is limited. A name is pending for a short time only; an answer that
 * arrives later is used for the next line with the same address.
 */
import { uptime } from '../../loader/uptime.ts';
import { NAME } from '../limits.ts';

/** Sends DNS queries. */
export interface Resolver {
  /** The names of an address. Rejects if it has none, or if no server answers. */
  reverse(address: string): Promise<readonly string[]>;
  /** Cancels all queries. */
  cancel(): void;
}

/** The name of an address, if it is known. The object is updated when the answer arrives. */
export interface ReverseName {
  readonly name?: string;
  /** Whether the name may still arrive within the time limit. */
  readonly pending: boolean;
}

/** Limits for the memory and the time of lookups. */
export interface Limits {
  /** How long a name is pending, in ms. */
  readonly timeoutMs: number;
  /** Concurrent queries. */
  readonly queries: number;
  /** Queries that wait for their turn. */
  readonly queued: number;
  /** Cached answers. */
  readonly answers: number;
  /** The lifetime of an answer with a name, and of one without, in ms. */
  readonly namedMs: number;
  readonly namelessMs: number;
}

const LIMITS: Limits = {
  timeoutMs: 300,
  queries: 16,
  queued: 1000,
  answers: 4096,
  namedMs: 300_000,
  namelessMs: 60_000,
};

interface Entry {
  name?: string;
  pending: boolean;
  /** When the next lookup sends a new query, by `uptime()`. */
  expires: number;
  timeout?: NodeJS.Timeout;
}

/** The resolver that /etc/hosts and /etc/resolv.conf configure. Imports node:dns when called. */
export async function systemResolver(): Promise<Resolver> {
  const { promises } = await import('node:dns');
  return new promises.Resolver({ timeout: 2000, tries: 2 });
}

/** A cache of reverse lookups. The owner closes it, which cancels pending queries. */
export class ReverseNames {
  readonly #resolver: Resolver;
  readonly #onSettled: () => void;
  readonly #limits: Limits;
  /** By address; the most recently used entry is last. */
  readonly #entries = new Map<string, Entry>();
  readonly #queue = new Map<string, Entry>();
  #queries = 0;
  #closed = false;

  /** `onSettled` is called when a name is no longer pending: it has arrived, or its time limit has passed. */
  constructor(resolver: Resolver, onSettled: () => void, limits: Partial<Limits> = {}) {
    this.#resolver = resolver;
    this.#onSettled = onSettled;
    this.#limits = { ...LIMITS, ...limits };
  }

  /** The name of an address. Starts a query if the cache has no answer. */
  of(address: string): ReverseName {
    const key = address.replace(/^::ffff:(?=.*\.)/, ''); // named by the IPv4 address
    const known = this.#entries.get(key);
    this.#entries.delete(key);
    const entry = known && uptime() < known.expires ? known : this.#ask(key);
    if (entry) this.#keep(key, entry);
    return entry ?? { pending: false };
  }

  /** Cancels all queries. No name is pending afterwards. */
  close(): void {
    this.#closed = true;
    for (const entry of this.#entries.values()) {
      clearTimeout(entry.timeout);
      entry.pending = false;
    }
    this.#queue.clear();
    this.#resolver.cancel();
  }

  #keep(address: string, entry: Entry): void {
    this.#entries.set(address, entry);
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > this.#limits.answers && oldest !== undefined) this.#entries.delete(oldest);
  }

  #ask(address: string): Entry | undefined {
    if (this.#closed || this.#queue.size >= this.#limits.queued) return undefined;
    const entry: Entry = { pending: true, expires: Number.POSITIVE_INFINITY };
    entry.timeout = setTimeout(() => this.#giveUp(address, entry), this.#limits.timeoutMs);
    this.#queue.set(address, entry);
    this.#askNext();
    return entry;
  }

  #giveUp(address: string, entry: Entry): void {
    entry.pending = false;
    // The query was not sent: send it at the next lookup of this address.
    if (this.#queue.delete(address)) entry.expires = 0;
    this.#onSettled();
  }

  #askNext(): void {
    for (const [address, entry] of this.#queue) {
      if (this.#queries >= this.#limits.queries) return;
      this.#queue.delete(address);
      this.#queries += 1;
      this.#resolver.reverse(address).then(
        ([name]) => this.#settle(entry, name),
        () => this.#settle(entry, undefined),
      );
    }
  }

  #settle(entry: Entry, name: string | undefined): void {
    this.#queries -= 1;
    if (this.#closed) return;
    clearTimeout(entry.timeout);
    entry.name = printableName(name);
    entry.expires = uptime() + this.#limits[entry.name === undefined ? 'namelessMs' : 'namedMs'];
    const wasAwaited = entry.pending;
    entry.pending = false;
    this.#askNext();
    if (wasAwaited) this.#onSettled();
  }
}

/** The owner of an address controls its name. Accepts only names that are one word of ASCII. */
function printableName(name: string | undefined): string | undefined {
  return name !== undefined && NAME.test(name) ? name : undefined;
}
