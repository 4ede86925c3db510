/**
 * tcpconnlat: the latency of TCP active connects, from the SYN to the answer.
 *
 * An attempt begins when a socket begins to connect, and ends when it leaves the connecting states:
 *
 * - `kprobe`, `fentry`: `tcp_v4_connect` and `tcp_v6_connect` begin an attempt, `tcp_set_state` ends it.
 *   `tcp_v4_destroy_sock` (used for both families) removes an attempt that failed before any change of state.
 * - `tp_btf`, `raw_tracepoint`: the tracepoint `inet_sock_set_state` reports when a socket enters SYN_SENT
 *   and when it leaves that state.
 * - `trace_event`: the record of the same tracepoint, and with BTF also the socket.
 *
 * A connect is answered if a SYN-ACK established it or if it was refused (ECONNREFUSED: by a reset, or by an
 * ICMP message). Every other end is a failure. `examineEnd` in attempts.ts defines this once. By default
 * answered connects are sent and failures are counted; with `outcome`, every end or every failure is sent.
 *
 * A connect that fails before its socket changes state (no route) shows only in the result of the call: with
 * `outcome` a kretprobe or fexit sees it, the tracepoint does not.
 *
 * Read on in functions.ts or tracepoint.ts (the programs), attempts.ts (one attempt), filter.ts, events.ts
 * and requested.ts.
 */
import { rawTracepoint, tpBtf, tracepoint } from '../asm/hooks.ts';
import type { ProgramSpec } from '../asm/program.ts';
import { kernelTypes, type Target } from '../asm/target.ts';
import { attemptsOf, type ProgramSet, readsProcess, typedReads } from './tcpconnlat/attempts.ts';
import { FilterUnavailableError } from './tcpconnlat/criteria.ts';
import { AF_INET, AF_INET6, eventOf, type Families } from './tcpconnlat/events.ts';
import { connectFilter } from './tcpconnlat/filter.ts';
import { functionPrograms } from './tcpconnlat/functions.ts';
import {
  countsUnrouted,
  hasDetails,
  isFunctionProbe,
  type Options,
  type ProbeType,
  TRACEPOINT,
} from './tcpconnlat/options.ts';
import { requestedInCall } from './tcpconnlat/requested.ts';
import { onRecord, onState } from './tcpconnlat/tracepoint.ts';

export type { Criterion, Network } from './networks.ts';
export {
  AF_INET6,
  type ConnectAttempt,
  type ConnectEvent,
  outcomeOf,
  pendingEvent,
  type Result,
} from './tcpconnlat/events.ts';

/** The name of the programs that are attached to the tracepoint. */
const STATE = 'inet_sock_state';

/**
 * The programs and maps of the tool.
 * @throws {NoBtfError} or {NoSuchFieldError} if the BTF of the target lacks a type or field that the programs
 * read.
 * @throws {FilterUnavailableError} if `trace_event` cannot apply the filter.
 * @throws {RangeError} if the target lacks the format of the record, or the filter is too large or matches
 * nothing.
 */
export function tcpconnlat(asked: Options, target: Target) {
  const options = asked.aggregate ? ({ ...asked, outcome: 'all' } as const) : asked;
  const { probe } = options;
  const readsRecord = probe === 'trace_event';
  const readsSocket = !readsRecord || (target.kernel?.has('tcp_sock', 'segs_in') ?? false);
  const families = familiesOf(options, target);
  const filter = connectFilter(options.filter ?? {}, isFunctionProbe(probe));
  if (readsRecord && filter.reads.netns) throw new FilterUnavailableError('the network namespace');
  const source = readsRecord ? (readsSocket ? 'both' : 'record') : 'socket';
  const typed = typedReads(options, target);
  const Event = eventOf(families, source, {
    details: hasDetails(options),
    who: options.who,
    requested: options.requested,
    process: readsProcess(options, target, typed),
  });
  const aggregate = options.aggregate?.({ Event, families });
  const attempts = attemptsOf(options, Event, filter, typed, aggregate);

  const requested = isFunctionProbe(probe) ? undefined : requestedInCall(options, attempts, target);
  /** The program at the tracepoint, after those that it depends on. */
  const withRequested = (program: ProgramSpec): ProgramSet => ({
    programs: [...(requested?.programs ?? []), program],
    maps: requested?.maps ?? [],
  });
  const statePrograms = (at: typeof tpBtf | typeof rawTracepoint) =>
    withRequested(
      at(TRACEPOINT.name, target, onState(options, attempts, families, requested), { name: STATE }),
    );
  const programSets: Record<ProbeType, () => ProgramSet> = {
    kprobe: () => functionPrograms('kprobe', options, attempts, families, target),
    fentry: () => functionPrograms('fentry', options, attempts, families, target),
    tp_btf: () => statePrograms(tpBtf),
    raw_tracepoint: () => statePrograms(rawTracepoint),
    trace_event: () =>
      withRequested(
        tracepoint(
          TRACEPOINT.category,
          TRACEPOINT.name,
          target,
          onRecord(options, attempts, families, readsSocket, requested),
          { name: STATE },
        ),
      ),
  };
  const { programs, maps } = programSets[probe]();
  return {
    name: 'tcpconnlat',
    probe,
    programs,
    maps: [...attempts.maps, ...maps],
    events: attempts.events,
    counters: attempts.counters,
    aggregate,
    attempts: attempts.table.hash,
    attemptSlots: attempts.table.slots,
    countsUnrouted: countsUnrouted(options),
    remainingAttempts: remainingAttempts(options),
    blindSpots: blindSpots(options, readsSocket),
    slowsSystemCalls: (requested?.programs.length ?? 0) > 0,
  };
}

/** The programs and maps for one probe type. */
export type Programs = ReturnType<typeof tcpconnlat>;

/**
 * What the table of attempts holds when tracing ends: only connects in flight, or also connects without a
 * route whose socket is still open. Undefined if the filter would have rejected some of them at their answer.
 * With `pending`, entries without a family are not in flight.
 */
function remainingAttempts({
  probe,
  outcome,
  pending,
  family,
  filter,
}: Options): 'in-flight' | 'unanswered' | undefined {
  if (pending || !isFunctionProbe(probe)) return 'in-flight';
  if (filter?.from || (family === 4 && !outcome)) return undefined;
  return outcome ? 'in-flight' : 'unanswered';
}

/**
 * What a probe type does not see: refused connects, the cause of failures, connects without a route, and the
 * requested destination of connects by io_uring.
 */
export type BlindSpot = 'refused' | 'errors' | 'unrouted' | 'io_uring';

/** The blind spots that affect the output under these options. */
function blindSpots({ probe, outcome, requested }: Options, readsSocket: boolean): readonly BlindSpot[] {
  const atFunctions = isFunctionProbe(probe);
  return [
    ...(readsSocket ? [] : [outcome ? ('errors' as const) : ('refused' as const)]),
    ...(outcome && !atFunctions ? ['unrouted' as const] : []),
    ...(requested && !atFunctions ? ['io_uring' as const] : []),
  ];
}

function familiesOf({ probe, family }: Options, target: Target): Families {
  return {
    only: family && (family === 4 ? AF_INET : AF_INET6),
    v4: family !== 6,
    v6:
      family !== 4 &&
      (probe === 'trace_event' || kernelTypes(target).has('sock', '__sk_common.skc_v6_daddr')),
  };
}
