/** The tool's programs without the command: in this process, by any way, and so much cheaper to start. */
import { type ConnectRecord, recorder, type Sources } from '../../src/cli/record.ts';
import { Session } from '../../src/loader/session.ts';
import { type Options, type ProbeType, tcpconnlat } from '../../src/programs/tcpconnlat.ts';
import { here, targetFor } from './tracer.ts';

/** The tool's programs of one way, running in this process. */
export interface Watch {
  readonly probe: ProbeType;
  /** The answered connects that were seen up to now. */
  readonly records: readonly ConnectRecord[];
  /** How many connects are in flight, as the kernel's table has them. */
  attempts(): number;
  /** Connects that failed and were not sent, as the programs have counted them; undefined if they don't. */
  failed(): number | undefined;
  /** Runs of the programs that the kernel has skipped, as far as it counts them. */
  skipped(): number;
  /** What was counted and not shown: events lost, and connects without room. */
  losses(): number;
  /** Detaches, after which all that was seen is in `records`. */
  detach(): void;
  close(): void;
}

/** Watches connects. `sources` tell more of them than the programs do. Where there are many watches at once, each gets along with few pages of rings. */
export function watch(
  options: Options,
  { pagesPerCpu, ...sources }: Sources & { readonly pagesPerCpu?: number } = {},
): Watch {
  const { probe } = options;
  const records: ConnectRecord[] = [];
  const toRecord = recorder(sources);
  const tool = tcpconnlat({ localPort: true, ...options }, targetFor(probe));
  const session = Session.open(tool, {
    kernel: here,
    pagesPerCpu,
    onEvent: (event) => records.push(toRecord(event)),
  });
  return {
    probe,
    records,
    attempts: () => [...session.map(tool.attempts).keys()].length,
    failed: () => session.map(tool.counters).lookup(0)?.failed,
    skipped: () => session.missedRuns().counted,
    losses: () => session.lost + (session.map(tool.counters).lookup(0)?.tableFull ?? 0),
    detach: () => session.detach(),
    close: () => session.close(),
  };
}
