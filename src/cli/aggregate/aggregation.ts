/**
 * A live aggregation: programs that count connects by key, and their reader.
 */
import { KernelError } from '../../loader/errors.ts';
import type { Kernel } from '../../loader/kernel.ts';
import type { BpfMap } from '../../loader/map.ts';
import type { Closeable } from '../../loader/resources.ts';
import type { Session } from '../../loader/session.ts';
import type { Aggregate, KeyFields, Table } from '../../programs/tcpconnlat/aggregate.ts';
import { aggregation } from '../../programs/tcpconnlat/aggregate.ts';
import type { ConnectEvent } from '../../programs/tcpconnlat/events.ts';
import type { Programs } from '../../programs/tcpconnlat.ts';
import type { Options, SummaryOptions } from '../arguments/request.ts';
import { isSelectedCaller, selectsCallers } from '../caller-filter.ts';
import { callerLookup } from '../record/caller.ts';
import { wallClock } from '../record/wall-clock.ts';
import { type ConnectRow, recordOf, rowReader } from '../record.ts';
import { traceTarget } from '../trace/btf.ts';
import { callerWarnings } from '../trace/callers.ts';
import { countInFlight } from '../trace/in-flight.ts';
import { type Losses, lossLines, noLosses } from '../trace/losses.ts';
import { reducePrivileges } from '../trace/privileges.ts';
import {
  describeBlindSpot,
  type ProgramOptions,
  SLOWS_SYSTEM_CALLS,
  withFirstProbe,
} from '../trace/probes.ts';
import { processWarnings } from '../trace/processes.ts';
import { attachedParts, describe, openOr, reportOrThrow, sourceLines } from '../trace/programs.ts';
import { hasWorkload, keyFields } from './by.ts';
import { type Entry, keyOf, type RowOptions, rowsOf } from './rows.ts';
import { Samples } from './samples.ts';
import type { Snapshot } from './snapshot.ts';
import { userNames } from './user-names.ts';
import { hasCgroupsV1, workloadLookup } from './workloads.ts';

/** The options of a run that aggregates. */
export type AggregationOptions = Options & { readonly summary: SummaryOptions };

/** What an aggregation reports. */
export interface Reports {
  /** Receives warnings, without the name of the command. */
  readonly warn: (text: string) => void;
  /** Receives the listing of the programs, for `-v`. */
  readonly list: (text: string) => void;
}

/** A running aggregation. The caller closes it. */
export interface Aggregation extends Closeable {
  /** Ends the interval and returns what it counted. It takes some ms, more for thousands of keys. */
  read(): Snapshot;
  /** Detaches the programs. The next `read` returns the rest. */
  detach(): void;
  /** Connects that are in no row, since the start: below min_ms, and, if it is known, not answered yet. */
  hidden(): { readonly belowMin: number; readonly unanswered: number };
  /** The entries of the interval that was read last, and the most that are possible. */
  readonly keys: { readonly used: number; readonly capacity: number };
  readonly programs: Programs;
  readonly session: Session<Programs['events']>;
}

/** The options of the programs: those of the run, and the aggregation. */
export function programOptions(options: AggregationOptions, kernel: Kernel): ProgramOptions {
  const { by, maxKeys } = options.summary;
  const needsCgroups = hasWorkload(by) || selectsCallers(options.filter);
  const fields: KeyFields = {
    ...keyFields(by),
    ...(needsCgroups && { cgroup: hasCgroupsV1(kernel) ? 'any' : 'v2' }),
  };
  return {
    ...options,
    outcome: 'all',
    who: options.who || needsCgroups || by.parts.includes('user'),
    pages: Math.min(options.pages, SAMPLE_PAGES),
    aggregate: aggregation({ fields, maxKeys, compareExchange: hasCompareExchange(kernel) }),
  };
}

/** The pages of each CPU's ring: it carries only the slowest connects. */
const SAMPLE_PAGES = 8;

/** Whether the kernel has atomic compare-and-exchange. True if it cannot be tried, as in a dry run. */
function hasCompareExchange({ features }: Kernel): boolean {
  return features.support({ instruction: 'atomic.cmpxchg' }).answer !== 'no';
}

/**
 * Attaches the programs and drops privileges. Throws the error that prevents tracing; nothing stays attached
 * then.
 */
export async function openAggregation(
  asked: AggregationOptions,
  kernel: Kernel,
  reports: Reports,
): Promise<Aggregation> {
  const options = programOptions(asked, kernel);
  const { warn } = reports;
  const selects = selectsCallers(options.filter);
  const commandLine = asked.who && asked.json;
  const callers = asked.who || selects ? callerLookup(kernel, { commandLine, warn }) : undefined;
  const readRow = rowReader({ wallClock: wallClock(kernel.syscalls), callers });
  const locate = sourceLines(kernel);
  let reader: Reader | undefined;
  const { session, programs } = await withFirstProbe(
    options,
    kernel,
    () => traceTarget(options, kernel),
    (programs, failures) => {
      const explain = (attached: () => readonly string[]) => {
        if (options.verbose) reports.list(describe(options, kernel, locate, programs, failures, attached()));
      };
      const session = openOr(explain, programs, {
        kernel,
        debug: options.verbose,
        locate,
        pagesPerCpu: options.pages,
        onSample(event) {
          if (event.latencyNs < 0) return;
          const row = readRow(event);
          if (!selects || isSelectedCaller(options.filter, row.caller)) reader?.addSample(event, row);
        },
        onError: (error) => reportOrThrow(error, options, warn),
        onTick: () => reader?.samples.tick(),
      });
      explain(() => attachedParts(session));
      return { session, programs };
    },
  );
  try {
    for (const { program, reason } of session.skipped)
      warn(`program ${program.name} skipped: ${reason.message}`);
    for (const spot of programs.blindSpots) warn(describeBlindSpot(spot, kernel));
    if (programs.slowsSystemCalls) warn(SLOWS_SYSTEM_CALLS);
    if (options.family === 6 && !kernel.ipv6) warn('this kernel has no IPv6, so -6 shows no connects');
    for (const warning of processWarnings(options.filter, kernel)) warn(warning);
    if (selects) for (const warning of callerWarnings(options.filter, kernel)) warn(warning);
    reader = new Reader(asked, kernel, session, programs, warn);
    const privileges = reducePrivileges(options, kernel, programs);
    if (options.verbose) reports.list(`${privileges.join('\n')}\n\n`);
    return reader;
  } catch (error) {
    session.close();
    throw error;
  }
}

class Reader implements Aggregation {
  readonly session: Session<Programs['events']>;
  readonly programs: Programs;
  readonly samples: Samples;
  readonly #options: AggregationOptions;
  readonly #aggregate: Aggregate;
  readonly #rows: RowOptions;
  #startMs = Date.now();
  /** The index of the table that the programs use. */
  #active = 0;
  #used = 0;
  #losses: Losses = noLosses();
  #unplaced = 0;

  constructor(
    options: AggregationOptions,
    kernel: Kernel,
    session: Session<Programs['events']>,
    programs: Programs,
    warn: (text: string) => void,
  ) {
    if (!programs.aggregate) throw new Error('the programs have no aggregation');
    this.session = session;
    this.programs = programs;
    this.#options = options;
    this.#aggregate = programs.aggregate;
    const { filter, summary } = options;
    this.#rows = {
      by: summary.by,
      knowsCauses: this.#aggregate.knowsCauses,
      userName: userNames(),
      workload: this.#aggregate.fields.cgroup && workloadLookup(kernel, warn),
      selects: selectsCallers(filter) ? (caller) => isSelectedCaller(filter, caller) : undefined,
    };
    const settings = session.map(this.#aggregate.samples);
    this.samples = new Samples((values) => settings.update(0, values));
  }

  get keys() {
    return { used: this.#used, capacity: this.#options.summary.maxKeys };
  }

  /** Adds a connect that the programs have sent. */
  addSample({ attempt }: ConnectEvent, row: ConnectRow): void {
    const { pid } = attempt.task;
    const hasV1 = this.#aggregate.fields.cgroup === 'any';
    const key = {
      ...{ address: row.remote, port: row.dport, comm: row.comm, uid: row.uid ?? 0, pid },
      ...{ cgroup: attempt.cgroup ?? 0n, cgroups: hasV1 ? (attempt.process?.cgroups ?? BigInt(pid)) : 0n },
    };
    this.samples.add({ ...recordOf(row), key: keyOf(key, this.#rows) });
  }

  read(): Snapshot {
    const startMs = this.#startMs;
    const table = this.#swap();
    const endMs = Date.now();
    this.#startMs = endMs;
    const { rows, overflowed, unknownCallers } = rowsOf(table.entries() as Iterable<Entry>, this.#rows);
    this.#used = table.clear();
    table.updateMany(this.#aggregate.reserved);
    const losses = this.#newLosses();
    if (unknownCallers > 0)
      losses.push([unknownCallers, 'connects of unknown units or pods (too many keys; increase --max-keys)']);
    return { startMs, endMs, rows, ...this.samples.take(), overflowed, losses };
  }

  /** Lets the programs use the other table, and returns the first, which no program uses any more. */
  #swap(): BpfMap<Table> {
    const { tables, generations } = this.#aggregate;
    const before = tables[this.#active] as Table;
    this.#active = 1 - this.#active;
    // The kernel waits until programs that use the first table have ended.
    this.session.map(generations).update(0, this.session.map(tables[this.#active] as Table));
    return this.session.map(before);
  }

  /** The losses since the last interval. */
  #newLosses(): (readonly [count: number, text: string])[] {
    const before = this.#losses;
    const counters = this.session.map(this.programs.counters).lookup(0);
    const missed = this.session.map(this.#aggregate.missed).lookup(0);
    this.#losses = {
      ...before,
      failedUpdates: counters?.failedUpdates ?? [],
      negative: missed?.negative ?? 0,
      missedRuns: this.#missedRuns(),
    };
    const unplaced = (missed?.unplaced ?? 0) - this.#unplaced;
    this.#unplaced += unplaced;
    return [
      ...lossLines(this.#losses, before),
      ...(unplaced > 0 ? [[unplaced, 'connects not counted (the table of keys failed)'] as const] : []),
    ];
  }

  #missedRuns(): number {
    try {
      return this.session.missedRuns().counted;
    } catch (error) {
      if (error instanceof KernelError) return this.#losses.missedRuns;
      throw error;
    }
  }

  detach(): void {
    this.session.detach();
  }

  hidden() {
    const { counters, remainingAttempts } = this.programs;
    const unanswered = remainingAttempts ? countInFlight(this.session, this.programs) : 0;
    return { belowMin: this.session.map(counters).lookup(0)?.belowMin ?? 0, unanswered };
  }

  close(): void {
    this.session.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
