/** The programs of tcpconnlat in this process, without the command, which is much faster to start. */
import type { ConnectRecord, Sources } from '../../src/cli/record.ts';
import { Session } from '../../src/loader/session.ts';
import type { Options, ProbeType } from '../../src/programs/tcpconnlat/options.ts';
import { tcpconnlat } from '../../src/programs/tcpconnlat.ts';
import { recordConverter } from '../cli/record.ts';
import { here, targetFor } from './tracer.ts';

/** The programs of one probe, running in this process. */
export interface Watch {
  readonly probe: ProbeType;
  /** The answered connects so far. */
  readonly records: readonly ConnectRecord[];
  /** The number of connects in flight in the kernel's table. */
  attempts(): number;
  /** Failed connects that the programs counted and did not send; undefined if they do not count. */
  failed(): number | undefined;
  /** Runs of the programs that the kernel skipped, if it counts them. */
  skipped(): number;
  /** Connects that are counted and not shown: lost events, and connects that the table rejected. */
  losses(): number;
  /** Detaches the programs, after which `records` is complete. */
  detach(): void;
  close(): void;
}

/**
 * Traces connects. `sources` add data that the programs do not send. Many watches at once should use few ring
 * pages each.
 */
export function watch(
  options: Options,
  { pagesPerCpu, ...sources }: Sources & { readonly pagesPerCpu?: number } = {},
): Watch {
  const { probe } = options;
  const records: ConnectRecord[] = [];
  const toRecord = recordConverter(sources);
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
    losses() {
      const { failedUpdates = [] } = session.map(tool.counters).lookup(0) ?? {};
      return failedUpdates.reduce((sum, count) => sum + count, session.lost);
    },
    detach: () => session.detach(),
    close: () => session.close(),
  };
}
