/**
 * The slowest connects of each interval, as events of the programs. The programs send a connect whose latency
 * reaches a threshold, up to a limit. Each second the threshold rises to the latency from which on enough
 * connects have come, or falls if too few came.
 */
import type { Static } from '@sinclair/typebox';
import type { Slowest } from '../../programs/tcpconnlat/aggregate.ts';
import type { ConnectRecord } from '../record.ts';

/** The number of connects that are kept for each interval. */
export const KEPT = 16;
/** The most connects that the programs send until the next adjustment; each CPU may send one more. */
const LIMIT = 2 * KEPT;
/** By how much the threshold falls in a second with too few connects. */
const FALL = 8;

/** The settings of the programs. */
type Settings = Static<typeof Slowest>;

/** Chooses the slowest connects, and the settings of the programs. */
export class SlowestConnects {
  readonly #write: (settings: Settings) => void;
  #thresholdNs = 0;
  /** Of the current interval, slowest first. */
  #kept: ConnectRecord[] = [];
  #added = 0;

  /** `write` passes settings to the programs. */
  constructor(write: (settings: Settings) => void) {
    this.#write = write;
    this.#set(0);
  }

  /** Adds a connect that the programs have sent. */
  add(record: ConnectRecord): void {
    this.#added += 1;
    const at = this.#kept.findIndex(({ lat_ms }) => lat_ms < record.lat_ms);
    this.#kept.splice(at < 0 ? this.#kept.length : at, 0, record);
    if (this.#kept.length > KEPT) this.#kept.pop();
  }

  /** Adjusts the threshold. Call it once a second. */
  adjust(): void {
    const last = this.#kept.length === KEPT ? this.#kept.at(-1) : undefined;
    const isQuiet = this.#added < KEPT;
    this.#added = 0;
    if (last) this.#set(Math.max(this.#thresholdNs, Math.round(last.lat_ms * 1e6)));
    else this.#set(isQuiet ? Math.floor(this.#thresholdNs / FALL) : this.#thresholdNs);
  }

  /** Ends an interval: returns its slowest connects, slowest first. */
  take(): ConnectRecord[] {
    const kept = this.#kept;
    this.#kept = [];
    // The next interval begins with a threshold that some more connects than wanted may reach.
    if (kept.length < KEPT) this.#set(0);
    else this.#set(Math.round(((kept.at(-1)?.lat_ms ?? 0) * 1e6) / 2));
    this.#added = 0;
    return kept;
  }

  #set(thresholdNs: number): void {
    this.#thresholdNs = thresholdNs;
    this.#write({ thresholdNs, limit: LIMIT, sent: 0 });
  }
}
