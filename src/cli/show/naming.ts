/**
 * Records that get the names of their destinations, in order: one that waits for its name holds up those behind it, and who reads
 * the events is held up by none.
 */
import type { ConnectRecord } from '../record.ts';
import { type Known, type Resolver, ReverseNames } from './reverse-names.ts';

/** Records that may wait. One more, and the first of them goes on without its name. */
const ROOM = 1000;

/** Takes records, and hands them on with their names. */
export interface Naming {
  add(record: ConnectRecord): void;
  /** Waits until no record waits. */
  settled(): Promise<void>;
  /** Hands on what waits, as it is. */
  end(): void;
}

interface Waiting {
  readonly record: ConnectRecord;
  readonly host: Known;
}

/** Names by `resolver` and `services`; `show` gets the records. */
export function naming(
  resolver: Resolver,
  services: ReadonlyMap<number, string>,
  show: (record: ConnectRecord) => void,
): Naming {
  const waiting: Waiting[] = [];
  let idle: (() => void)[] = [];

  const showFirst = () => {
    const { record, host } = waiting.shift() as Waiting;
    const service = services.get(record.dport);
    show({
      ...record,
      ...(host.name !== undefined && { host: host.name }),
      ...(service !== undefined && { service }),
    });
  };
  const drain = () => {
    while (waiting[0]?.host.awaited === false) showFirst();
    if (waiting.length > 0) return;
    for (const wake of idle) wake();
    idle = [];
  };
  const names = new ReverseNames(resolver, drain);

  return {
    add(record) {
      if (waiting.length >= ROOM) showFirst();
      waiting.push({ record, host: names.of(record.daddr) });
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
      while (waiting.length > 0) showFirst();
      drain();
    },
  };
}
