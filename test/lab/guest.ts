/** What the lab's own tests share: where they run, and the tool by itself. */
import { existsSync } from 'node:fs';
import { type ConnectRecord, recorder } from '../../src/cli/record.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { Session } from '../../src/loader/session.ts';
import { tcpconnlat, type Way } from '../../src/programs/tcpconnlat.ts';
import { targetFor } from '../live/tracer.ts';

/** Why these tests can't run here, or false: they need a machine of their own, whose network is theirs. */
export const outsideGuest: string | false = existsSync('/run/lab/job.sh')
  ? false
  : 'runs in a guest of the lab (npm run test:vm)';

/** The tool's programs of one way, running in this process. */
export interface Watch {
  /** The answered connects that were seen up to now. */
  readonly records: readonly ConnectRecord[];
  /** How many connects are in flight, as the kernel's table has them. */
  attempts(): number;
  /** What was counted and not shown: events lost, connects without room, runs that the kernel skipped. */
  losses(): number;
  close(): void;
}

/** Watches the connects of a process. */
export function watch(way: Way, pid: number): Watch {
  const kernel = new Kernel();
  const records: ConnectRecord[] = [];
  const toRecord = recorder();
  const tool = tcpconnlat({ way, pid, localPort: true }, targetFor(way, kernel));
  const session = Session.open(tool, { kernel, onEvent: (event) => records.push(toRecord(event)) });
  return {
    records,
    attempts: () => [...session.map(tool.attempts).keys()].length,
    losses: () =>
      session.lost + (session.map(tool.counters).lookup(0)?.tableFull ?? 0) + (session.missedRuns() ?? 0),
    close: () => session.close(),
  };
}
