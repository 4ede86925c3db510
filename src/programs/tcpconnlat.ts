/**
 * tcpconnlat: every active TCP connect, from its SYN to the answer.
 *
 * The kernel is watched in one of two ways. By functions (kprobe, fentry): `tcp_v4_connect` and `tcp_v6_connect` begin an attempt, the
 * first packet that `tcp_rcv_state_process` takes for a connecting socket answers it, and `tcp_v4_destroy_sock` (of
 * both families) clears away what was never answered. As a tracepoint: `inet_sock_set_state` tells when a socket
 * enters SYN_SENT and when it leaves it; a reset leaves it for CLOSE with ECONNREFUSED. Its record (trace_event) has no such
 * error: there a connect that was refused looks like one that was given up, and only those that were accepted are shown.
 *
 * With `outcome` an attempt ends where its socket leaves the states of connecting, whatever for: by functions at `tcp_set_state`, in the
 * place of the first packet. What fails before there is such a state (no route) is in the result of the call alone, which its return
 * shows and the tracepoint doesn't.
 */
import { TsbpfError } from '../asm/error.ts';
import { rawTracepoint, tpBtf, tracepoint } from '../asm/hooks.ts';
import { kernelTypes, type Target } from '../asm/target.ts';
import { type Attached, attemptsOf } from './tcpconnlat/attempts.ts';
import { eventOf, type Families } from './tcpconnlat/events.ts';
import { connectFilter } from './tcpconnlat/filter.ts';
import { byFunctions } from './tcpconnlat/functions.ts';
import { AF_INET, AF_INET6 } from './tcpconnlat/kernel.ts';
import type { Options, Way } from './tcpconnlat/options.ts';
import { onRecord, onState, TRACEPOINT } from './tcpconnlat/tracepoint.ts';

export type { ConnectEvent } from './tcpconnlat/events.ts';
export type { Choice, Filter, Network, Range } from './tcpconnlat/filter.ts';
export { AF_INET6 } from './tcpconnlat/kernel.ts';
export type { Options, Way } from './tcpconnlat/options.ts';
export { outcomeOf, type Result } from './tcpconnlat/outcome.ts';
export { TRACEPOINT } from './tcpconnlat/tracepoint.ts';

/** What the programs of a tracepoint are called. */
const STATE = 'inet_sock_state';

/** A filter asks for what the tracepoint's record doesn't have. */
export class FilterUnavailableError extends TsbpfError {
  override readonly name = 'FilterUnavailableError';
  override readonly code = 'ERR_FILTER_UNAVAILABLE';

  constructor(wanted: string) {
    super(`the tracepoint's record doesn't have ${wanted}, which is filtered by`);
  }
}

/**
 * The programs and maps for these options. Throws NoBtfError or NoSuchFieldError where the target lacks what they read, FilterUnavailableError
 * where the tracepoint's record does, RangeError where the target lacks that record's format or the filter asks for too much.
 */
export function tcpconnlat(options: Options, target: Target) {
  const { way } = options;
  const byRecord = way === 'trace_event';
  const families = familiesOf(options, target);
  const filter = connectFilter(options.filter ?? {}, isByFunctions(way));
  if (byRecord && filter.asks.netns) throw new FilterUnavailableError('the network namespace');
  const Event = eventOf(families, byRecord ? 'record' : 'socket', options);
  const attempts = attemptsOf(options, Event, filter, countsFailures(options));

  const byState = (at: typeof tpBtf | typeof rawTracepoint): Attached => ({
    programs: [at(TRACEPOINT.name, target, onState(options, attempts, families), { name: STATE })],
    maps: [],
  });
  const attached: Record<Way, () => Attached> = {
    kprobe: () => byFunctions('kprobe', options, attempts, families, target),
    fentry: () => byFunctions('fentry', options, attempts, families, target),
    tp_btf: () => byState(tpBtf),
    raw_tracepoint: () => byState(rawTracepoint),
    trace_event: () => ({
      programs: [
        tracepoint(TRACEPOINT.category, TRACEPOINT.name, target, onRecord(options, attempts, families), {
          name: STATE,
        }),
      ],
      maps: [],
    }),
  };
  const { programs, maps } = attached[way]();
  return {
    name: 'tcpconnlat',
    way,
    programs,
    maps: [...attempts.maps, ...maps],
    events: attempts.events,
    counters: attempts.counters,
    attempts: attempts.table,
    countsFailures: attempts.countsFailures,
    seesUnrouted: isByFunctions(way),
    leftAttempts: leftAttempts(options),
    blindSpots: blindSpots(options),
  };
}

/** Whether a probe type is one of functions. */
function isByFunctions(way: Way): boolean {
  return way === 'kprobe' || way === 'fentry';
}

/**
 * Whether the programs count the connects that fail and aren't sent (`counters.failed`): as many as `outcome: 'failures'` would send
 * besides. A kprobe or fentry sees such an attempt only when its socket is destroyed or connects again: too late to know how long it
 * took (`minNs`), and what its local address was (`filter.from`).
 */
function countsFailures({ way, outcome, minNs, filter }: Options): boolean {
  return outcome === undefined && !(isByFunctions(way) && (minNs || filter?.from));
}

/**
 * What the table of attempts holds when tracing ends: connects in flight, or also failed ones whose socket is still open. Undefined if
 * the filter would have ruled some of them out only at their answer.
 */
function leftAttempts({ way, outcome, family, filter }: Options): 'in-flight' | 'unanswered' | undefined {
  if (!isByFunctions(way)) return 'in-flight';
  if (filter?.from || (family === 4 && !outcome)) return undefined;
  return outcome ? 'in-flight' : 'unanswered';
}

/** What a way of watching doesn't see: refused connects, why a connect failed, and connects that find no route. */
export type BlindSpot = 'refused' | 'errors' | 'unrouted';

/** Those that matter for what is asked for. */
function blindSpots({ way, outcome }: Options): readonly BlindSpot[] {
  if (!outcome) return way === 'trace_event' ? ['refused'] : [];
  if (isByFunctions(way)) return [];
  return way === 'trace_event' ? ['errors', 'unrouted'] : ['unrouted'];
}

function familiesOf({ way, family }: Options, target: Target): Families {
  return {
    only: family && (family === 4 ? AF_INET : AF_INET6),
    v4: family !== 6,
    v6:
      family !== 4 && (way === 'trace_event' || kernelTypes(target).has('sock', '__sk_common.skc_v6_daddr')),
  };
}
