/**
 * Names of addresses from the DNS, asked for in the background: nobody waits here, but can see what is still worth waiting for.
 *
 * The answers are kept, the questions under way are few, and each of them is given up on, as far as waiting goes, after a moment.
 * An answer that comes later still serves the next line.
 */
import { uptime } from '../../loader/uptime.ts';
import { NAME } from '../limits.ts';

/** What asks the DNS. */
export interface Resolver {
  /** The names of an address. Rejects where it has none, or nobody answers. */
  reverse(address: string): Promise<readonly string[]>;
  /** Ends the questions under way. */
  cancel(): void;
}

/** What is known of an address. */
export interface Known {
  readonly name?: string;
  /** Whether its name may yet come soon. */
  readonly awaited: boolean;
}

/** What bounds the memory and the time that names may take. */
export interface Limits {
  /** How long a name is waited for, ms. */
  readonly patienceMs: number;
  /** Questions under way at a time, and those that wait for their turn. */
  readonly underWay: number;
  readonly queued: number;
  /** Answers that are kept, and how long (ms): those with a name, and those without. */
  readonly answers: number;
  readonly namedMs: number;
  readonly namelessMs: number;
}

const LIMITS: Limits = {
  patienceMs: 300,
  underWay: 16,
  queued: 1000,
  answers: 4096,
  namedMs: 300_000,
  namelessMs: 60_000,
};

interface Entry {
  name?: string;
  awaited: boolean;
  /** When it is asked for again, by `uptime()`. */
  expires: number;
  patience?: NodeJS.Timeout;
}

/** The resolver of this machine, by what /etc/hosts and /etc/resolv.conf say. Loaded when it is asked for. */
export async function systemResolver(): Promise<Resolver> {
  const { promises } = await import('node:dns');
  return new promises.Resolver({ timeout: 2000, tries: 2 });
}

/** The names of addresses, as far as they are known. Whoever made it closes it, which gives up on what is under way. */
export class ReverseNames {
  readonly #resolver: Resolver;
  readonly #onNews: () => void;
  readonly #limits: Limits;
  /** By address, the one that was asked for last at the end. */
  readonly #entries = new Map<string, Entry>();
  readonly #queue = new Map<string, Entry>();
  #underWay = 0;
  #closed = false;

  /** `onNews` is called when a name that was awaited has come, or isn't awaited any more. */
  constructor(resolver: Resolver, onNews: () => void, limits: Partial<Limits> = {}) {
    this.#resolver = resolver;
    this.#onNews = onNews;
    this.#limits = { ...LIMITS, ...limits };
  }

  /** What is known of an address now and, by the same object, later. Asks for its name where that isn't known. */
  of(address: string): Known {
    const key = address.replace(/^::ffff:(?=.*\.)/, ''); // a mapped one is named as what it maps
    const known = this.#entries.get(key);
    this.#entries.delete(key);
    const entry = known && uptime() < known.expires ? known : this.#ask(key);
    if (entry) this.#keep(key, entry);
    return entry ?? { awaited: false };
  }

  /** Ends all questions; nothing is awaited any more. */
  close(): void {
    this.#closed = true;
    for (const entry of this.#entries.values()) {
      clearTimeout(entry.patience);
      entry.awaited = false;
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
    const entry: Entry = { awaited: true, expires: Number.POSITIVE_INFINITY };
    entry.patience = setTimeout(() => this.#giveUp(address, entry), this.#limits.patienceMs);
    this.#queue.set(address, entry);
    this.#askNext();
    return entry;
  }

  #giveUp(address: string, entry: Entry): void {
    entry.awaited = false;
    // Whoever isn't asked by now is asked when it is met again.
    if (this.#queue.delete(address)) entry.expires = 0;
    this.#onNews();
  }

  #askNext(): void {
    for (const [address, entry] of this.#queue) {
      if (this.#underWay >= this.#limits.underWay) return;
      this.#queue.delete(address);
      this.#underWay += 1;
      this.#resolver.reverse(address).then(
        ([name]) => this.#settle(entry, name),
        () => this.#settle(entry, undefined),
      );
    }
  }

  #settle(entry: Entry, name: string | undefined): void {
    this.#underWay -= 1;
    if (this.#closed) return;
    clearTimeout(entry.patience);
    entry.name = printableName(name);
    entry.expires = uptime() + this.#limits[entry.name === undefined ? 'namelessMs' : 'namedMs'];
    const wasAwaited = entry.awaited;
    entry.awaited = false;
    this.#askNext();
    if (wasAwaited) this.#onNews();
  }
}

/** Whoever owns an address names it as he likes: only what is one word of ASCII is a name here. */
function printableName(name: string | undefined): string | undefined {
  return name !== undefined && NAME.test(name) ? name : undefined;
}
