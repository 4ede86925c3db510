/** Live views for tests: their states after keys and intervals, without a terminal. */
import type { Key, KeyPart, Sample, Snapshot } from '../../../src/cli/aggregate/snapshot.ts';

import { layout, pageSize } from '../../../src/cli/top/layout.ts';
import { plain } from '../../../src/cli/top/line.ts';
import { type Action, initialState, reduce, type State } from '../../../src/cli/top/state.ts';
import { type Connect, snapshotOf } from '../exporters/connects.ts';

/** The time of the first interval's end. */
export const START_MS = Date.UTC(2026, 10, 29, 9, 12, 40);

/** A view of a size that has no intervals yet. */
export function view(columns = 80, rows = 24, parts: readonly KeyPart[] = ['dest', 'port']): State {
  const subject = { host: 'web-01', kernel: '6.12.57', probe: 'kprobe', intervalMs: 1000, parts };
  return initialState(subject, { columns, rows });
}

/** The state after actions; a text is a key. */
export function after(state: State, ...actions: (Action | string)[]): State {
  return actions.reduce<State>(
    (before, action) =>
      reduce(before, typeof action === 'string' ? { type: 'key', key: action } : action, pageSize),
    state,
  );
}

/** The key of a destination. */
export const dest = (address: string, port = 443): Key => ({ dest: address, port: String(port) });

/** `count` connects of a key with the same latency. */
export function connects(key: Key, count: number, ms = 1, result = 'established'): Connect[] {
  return Array.from({ length: count }, () => ({ key, result, latencyNs: ms * 1e6 }));
}

/** An interval of a second; number 0 ends at `START_MS`. */
export function interval(at: number, list: readonly Connect[], more: Partial<Snapshot> = {}): Action {
  return { type: 'snapshot', snapshot: { ...snapshotOf(list, START_MS + at * 1000), ...more } };
}

/** A connect among the slowest ones. */
export function record(more: Partial<Sample>): Sample {
  const { daddr = '192.0.2.7', dport = 443, comm = 'curl' } = more;
  return {
    ...{ time_s: 0, pid: 8990, comm, ip: 4, saddr: '192.0.2.1', lport: 40_000, daddr, dport },
    ...{ lat_ms: 3000, result: 'established' },
    key: { dest: daddr.replace(/^::ffff:(?=\d+\.)/, ''), port: String(dport), comm },
    ...more,
  };
}

/** The lines of the screen, without spaces at their ends. */
export const screenOf = (state: State): string[] => layout(state).map((line) => plain(line).trimEnd());
