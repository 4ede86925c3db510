/**
 * Adds the names of destinations to records, and keeps the records in order: a record that waits for its name
 * delays the records behind it, but not the reader of the events.
 */
import type { ConnectRecord } from '../record.ts';
import { type Resolver, type ReverseName, ReverseNames } from './reverse-names.ts';

/** The most records that may wait. If there are more, the first is printed without its name. */
const MAX_WAITING = 1000;

/** A queue of records that wait for their names. */
export interface NameLookup {
  add(record: ConnectRecord): void;
  /** Waits until the queue is empty. */
  settled(): Promise<void>;
  /** Prints the records in the queue without waiting for their names. */
  end(): void;
}

/** The name of a destination that is not known. */
const NAMELESS: ReverseName = { pending: false };

interface Waiting {
  readonly record: ConnectRecord;
  readonly host: ReverseName;
}

/** Names addresses by `resolver` and ports by `services`, and passes the records to `print`. */
export function nameLookup(
  resolver: Resolver,
  services: ReadonlyMap<number, string>,
  print: (record: ConnectRecord) => void,
): NameLookup {
  const waiting: Waiting[] = [];
  let idle: (() => void)[] = [];

  const printFirst = () => {
    const { record, host } = waiting.shift() as Waiting;
    const service = record.dport === undefined ? undefined : services.get(record.dport);
    print({
      ...record,
      ...(host.name !== undefined && { host: host.name }),
      ...(service !== undefined && { service }),
    });
  };
  const drain = () => {
    while (waiting[0]?.host.pending === false) printFirst();
    if (waiting.length > 0) return;
    for (const wake of idle) wake();
    idle = [];
  };
  const names = new ReverseNames(resolver, drain);

  return {
    add(record) {
      if (waiting.length >= MAX_WAITING) printFirst();
      waiting.push({ record, host: record.daddr === undefined ? NAMELESS : names.of(record.daddr) });
      drain();
    },
    settled() {
      return new Promise((resolve) => {
        idle.push(resolve);
        drain();
      });
    },
    end() {
      names.close();
      while (waiting.length > 0) printFirst();
      drain();
    },
  };
}
