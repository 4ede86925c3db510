/**
 * Connects of each interval, as events of the programs: the slowest ones, and examples of failures.
 *
 * The programs send a connect whose latency reaches a threshold, up to a limit. When enough connects have
 * come, the threshold rises to the latency of the last one that is kept. It falls if too few come. They also
 * send the first failed connect of each key and result, up to a limit.
 */
import type { Static } from '@sinclair/typebox';
import type { Samples as Limits } from '../../programs/tcpconnlat/aggregate.ts';
import type { Sample } from './snapshot.ts';

/** The number of connects that are kept for each interval. */
export const KEPT = 16;
/** The most connects that the programs send until the next adjustment; each CPU may send one more. */
const LIMIT = 4 * KEPT;
/** The most adjustments in a second. */
const ADJUSTMENTS = 20;
/** The most examples of failures that the programs send until the next adjustment. */
const FAILED_LIMIT = 32;
/** The most examples of failures that are kept for each interval. */
const FAILED_KEPT = 64;
/** By how much the threshold falls in a second with too few connects. */
const FALL = 8;

/** The settings of the programs. */
type Settings = Static<typeof Limits>;

/** The connects that the programs have sent, and the settings of the programs. */
export class Samples {
  readonly #write: (settings: Settings) => void;
  #thresholdNs = 0;
  /** Of the current interval, slowest first. */
  #kept: Sample[] = [];
  /** Of the current interval, by key and result. */
  #failed = new Map<string, Sample>();
  /** The connects since the last adjustment, and the adjustments since the last tick. */
  #added = 0;
  #adjustments = 0;

  /** `write` passes settings to the programs. */
  constructor(write: (settings: Settings) => void) {
    this.#write = write;
    this.#set(0);
  }

  /** Adds a connect that the programs have sent. */
  add(record: Sample): void {
    if (record.result !== 'established') {
      const id = [record.result, ...Object.values(record.key)].join('\0');
      if (this.#failed.size < FAILED_KEPT && !this.#failed.has(id)) this.#failed.set(id, record);
      if (latencyNs(record) < this.#thresholdNs) return;
    }
    this.#added += 1;
    const last = this.#kept[KEPT - 1];
    if (last === undefined || record.lat_ms > last.lat_ms) {
      const at = this.#kept.findIndex(({ lat_ms }) => lat_ms < record.lat_ms);
      this.#kept.splice(at < 0 ? this.#kept.length : at, 0, record);
      this.#kept.length = Math.min(this.#kept.length, KEPT);
    }
    if (this.#added >= KEPT && this.#adjustments < ADJUSTMENTS) {
      this.#adjustments += 1;
      this.#raise();
    }
  }

  /** Adjusts the threshold and allows further adjustments. Call it once a second. */
  tick(): void {
    const isQuiet = this.#added === 0 && this.#adjustments === 0;
    this.#adjustments = 0;
    if (this.#kept.length === KEPT) this.#raise();
    else this.#set(isQuiet ? Math.floor(this.#thresholdNs / FALL) : this.#thresholdNs);
  }

  /** Ends an interval: returns its slowest connects, slowest first, and its failed ones. */
  take(): { readonly slowest: readonly Sample[]; readonly failed: readonly Sample[] } {
    const kept = this.#kept;
    const failed = [...this.#failed.values()];
    this.#kept = [];
    this.#failed = new Map();
    // If the next interval is like this one, some more connects than wanted reach the threshold.
    this.#set(Math.round(latencyNs(kept[KEPT - 1]) / 2));
    return { slowest: kept, failed };
  }

  #raise(): void {
    this.#set(Math.max(this.#thresholdNs, latencyNs(this.#kept[KEPT - 1])));
  }

  #set(thresholdNs: number): void {
    this.#thresholdNs = thresholdNs;
    this.#added = 0;
    this.#write({ thresholdNs, limit: LIMIT, sent: 0, failedLimit: FAILED_LIMIT, failedSent: 0 });
  }
}

/** The latency of a connect; 0 without one. */
function latencyNs(record: Sample | undefined): number {
  return record === undefined ? 0 : Math.round(record.lat_ms * 1e6);
}
