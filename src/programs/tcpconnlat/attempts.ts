/**
 * One attempt to connect, from its begin to its event: the table of connects in flight, and the reads of a
 * socket.
 */
import type { Builder } from '../../asm/builder/builder.ts';
import type { KernelPointer } from '../../asm/builder/kernel-pointer.ts';
import type { Memory } from '../../asm/builder/memory.ts';
import type { Operand } from '../../asm/builder/operand.ts';
import type { Place, StructMemory } from '../../asm/builder/place.ts';
import type { Value } from '../../asm/builder/value.ts';
import { perfEventArray } from '../../asm/events.ts';
import { BPF_NOEXIST } from '../../asm/flags.ts';
import {
  getCurrentCgroupId,
  getCurrentComm,
  getCurrentPidTgid,
  getCurrentTask,
  getCurrentTaskBtf,
  getCurrentUidGid,
  ktimeGetNs,
  skcToTcpSock,
} from '../../asm/helpers.ts';
import { type StructSchema, s32, s64, u16be, u32 } from '../../asm/layout.ts';
import { array, type MapSpec } from '../../asm/map.ts';
import type { ProgramSpec } from '../../asm/program.ts';
import type { Target } from '../../asm/target.ts';
import type { Aggregate } from './aggregate.ts';
import { attemptTable } from './attempt-table.ts';
import {
  countersOf,
  ECONNREFUSED,
  EEXIST,
  type EndpointFields,
  type EventFields,
  entryOf,
  type Families,
  PF_EXITING,
  type Process,
  type Requested,
  TCP_ESTABLISHED,
  TCP_SYN_RECV,
  TCP_SYN_SENT,
  V4,
} from './events.ts';
import type { ConnectFilter, Endpoints } from './filter.ts';
import { DEFAULT_MAX_ATTEMPTS, hasDetails, type Options } from './options.ts';

/**
 * Programs in the order of attachment (first those that remove entries from the table), and their additional
 * maps.
 */
export interface ProgramSet {
  readonly programs: readonly ProgramSpec[];
  readonly maps: readonly MapSpec[];
}

/**
 * Writes the fields of an event that come from the probe. `tcp` is the socket as a `tcp_sock`, if it is known
 * already.
 */
export type FillEvent = (event: Memory<StructSchema<EventFields>>, tcp?: KernelPointer) => void;

/** Writes the endpoints of a connect into an event or an entry of the table. */
export type FillEndpoints = (memory: Memory<StructSchema<EndpointFields>>) => void;

/**
 * Examines an attempt that may have ended. It jumps to `skip` to send nothing and to `fail` to count a
 * failure instead, or returns the function that fills the event.
 */
export type Examine = (skip: () => void, fail: () => void) => FillEvent;

/**
 * What programs can read by plain loads, because their pointers have types that the verifier knows.
 * Everything else is read by `bpf_probe_read_kernel`, which kernel lockdown forbids.
 */
export interface TypedReads {
  /** The fields of `struct sock`. */
  readonly sock: boolean;
  /** The fields of `tcp_sock` past `struct sock`, through bpf_skc_to_tcp_sock (Linux 5.9). */
  readonly tcpSock: boolean;
  /**
   * Whether the programs read without options how many segments a socket received. Before Linux 5.9 `fentry`
   * and `tp_btf` do not: they would need bpf_probe_read_kernel, and would not load under lockdown.
   */
  readonly segments: boolean;
  /** The current task, through bpf_get_current_task_btf (Linux 5.11). */
  readonly task: boolean;
  /** The address families of `struct sockaddr`, through bpf_rdonly_cast (Linux 6.2). */
  readonly cast: boolean;
  /** The registers of a system call, through bpf_task_pt_regs (Linux 5.15). */
  readonly registers: boolean;
}

/**
 * The typed reads of a probe type on the target's kernel, whose types include its helpers. Each is looked up
 * when a program first needs it: a look-up searches all types.
 */
export function typedReads({ probe }: Options, { kernel }: Target): TypedReads {
  const isTyped = probe === 'fentry' || probe === 'tp_btf';
  const has = (name: string) => isTyped && kernel?.find('func', name) !== undefined;
  return {
    sock: isTyped,
    get tcpSock() {
      return has('bpf_skc_to_tcp_sock');
    },
    get segments() {
      return !isTyped || this.tcpSock;
    },
    get task() {
      return has('bpf_get_current_task_btf');
    },
    get cast() {
      return has('bpf_rdonly_cast');
    },
    get registers() {
      return has('bpf_task_pt_regs');
    },
  };
}

/**
 * The same structure, for reads of its pointers. If the verifier trusts a structure, as it does the arguments
 * of `tp_btf` and the current task, it searches the names of all types up to four times for each pointer that
 * a program reads from it (since Linux 6.2; more than 1 ms). It does not trust the result of
 * `bpf_rdonly_cast`, which is a temporary.
 */
export function untrusted(pointer: KernelPointer, { cast }: TypedReads): KernelPointer {
  return cast ? pointer.cast(pointer.type, { typed: true }) : pointer;
}

/**
 * The socket as a `tcp_sock`: typed, or else a cast, which emits nothing. A typed one is a temporary, and
 * `skip` runs if the socket is of another kind, which the tool does not trace.
 */
export function tcpSock(b: Builder, sk: KernelPointer, typed: TypedReads, skip: () => void): KernelPointer {
  if (!typed.tcpSock) return sk.cast('tcp_sock');
  const found = b.call(skcToTcpSock, sk);
  b.if(found.eq(0), skip);
  return b.kernel('tcp_sock', found);
}

/** The current task, in a temporary: typed, if it can be. */
function currentTask(b: Builder, typed: TypedReads): KernelPointer {
  return b.kernel('task_struct', b.call(typed.task ? getCurrentTaskBtf : getCurrentTask));
}

/**
 * Whether the programs read `process`, which `who` asks for: a part of the caller that has no helper. It
 * needs the kernel's types, and `fentry` and `tp_btf` need typed reads, to load under lockdown.
 */
export function readsProcess({ probe, who }: Options, { kernel }: Target, typed: TypedReads): boolean {
  if (!who) return false;
  const isTyped = probe === 'fentry' || probe === 'tp_btf';
  const fields = ['group_leader', 'start_boottime', 'self_exec_id', 'cgroups'];
  return (typed.task || !isTyped) && fields.every((field) => kernel?.has('task_struct', field));
}

/** Statements of the probe that `begin` includes. */
interface BeginOptions {
  /** Runs if the socket still has an older attempt. */
  readonly again?: () => void;
  /** Writes the endpoints, if the table has them and they are known. */
  readonly fill?: FillEndpoints;
  /** Reads the requested destination, for the option `requested`. */
  readonly readRequested?: (requested: Memory<typeof Requested>) => void;
}

/** The maps of the tool, and the statements that begin and end an attempt. */
export type Attempts = ReturnType<typeof attemptsOf>;

/** Without `outcome`, the programs count connects that fail and are not sent. */
export function attemptsOf(
  { minNs, who, requested, outcome, pending = false, maxAttempts = DEFAULT_MAX_ATTEMPTS }: Options,
  Event: StructSchema<EventFields>,
  filter: ConnectFilter,
  typed: TypedReads,
  aggregate?: Aggregate,
) {
  const Entry = entryOf(Event, pending);
  const table = attemptTable(Entry, maxAttempts, !pending && (aggregate?.compareExchange ?? false));
  const counters = array('counters', {
    value: countersOf({ failures: outcome === undefined, belowMin: Boolean(minNs) }),
  });
  const events = perfEventArray('events', Event, { timestamp: 'endNs' });
  return {
    table,
    counters,
    events,
    filter,
    typed,
    aggregate,
    maps: [...table.maps, counters, ...filter.maps, events, ...(aggregate?.maps ?? [])],

    /**
     * Adds an attempt of the current task to connect `socket`, if the filter matches. `endpoints` reads what
     * is known already.
     */
    begin(
      b: Builder,
      socket: Place,
      endpoints: () => Endpoints,
      { again, fill = clearEndpoints, readRequested }: BeginOptions = {},
    ): void {
      const attempt = b.stack(Entry);
      readRequested?.(attempt.requested);
      const task = b.call(getCurrentPidTgid);
      attempt.task.set(task);
      filter.process(b, task);
      filter.user(b);
      filter.endpoints(b, { ...endpoints(), ...(requested && { requested: attempt.requested }) });
      filter.cgroup(b);
      const hasName = filter.name(b, attempt.comm);
      attempt.startNs.set(b.call(ktimeGetNs));
      if (!hasName) b.call(getCurrentComm, attempt.comm);
      if (who) {
        attempt.user.set(b.call(getCurrentUidGid));
        attempt.cgroup.set(b.call(getCurrentCgroupId));
      }
      if ('process' in Entry.properties) fillProcess(b, attempt.process, typed);
      if (pending) fill(attempt);
      if (again) this.insertNew(b, socket, attempt, again);
      else
        b.block((done) => {
          table.claimSlot(b, socket, attempt, done);
          this.insert(b, table.hash, socket, attempt);
        });
    },

    /** Inserts or replaces an entry of a map, and counts a failed update. */
    insert(b: Builder, map: MapSpec, key: Operand, value: StructMemory): void {
      const result = b.update(map, key, value);
      b.if(result.ne(0), () => this.countFailedUpdate(b, result));
    },

    /** Inserts an attempt. If the socket has one already, calls `again` and replaces it. */
    insertNew(b: Builder, socket: Place, attempt: Memory<typeof Entry>, again: () => void): void {
      const created = b.update(table.hash, socket, attempt, BPF_NOEXIST);
      b.if(created.ne(0), () => {
        const result = b.stack(s32, created);
        b.if(created.eq(-EEXIST), () => {
          again();
          result.set(b.update(table.hash, socket, attempt));
        });
        const failed = result.get();
        b.if(failed.ne(0), () => this.countFailedUpdate(b, failed));
      });
    },

    /** Counts an update of a table that failed with `result`, a negative errno. */
    countFailedUpdate(b: Builder, result: Value): void {
      const { failedUpdates } = b.global(counters);
      failedUpdates.at(
        result.as(u32).neg().as(u32),
        (updates) => updates.atomicAdd(1),
        () => failedUpdates.at(0).atomicAdd(1),
      );
    },

    /** Counts a failed attempt that is not sent. */
    countFailure(b: Builder): void {
      b.global(counters).failed.atomicAdd(1);
    },

    /**
     * Exits unless the old state of a socket is a connecting state: SYN_SENT, or SYN_RECV after a
     * simultaneous open, of which a connect to itself is one. `inSynRecv` runs after SYN_RECV. `result` is
     * the exit value.
     */
    exitUnlessConnecting(
      b: Builder,
      oldState: Value,
      { inSynRecv, result }: { readonly inSynRecv?: () => void; readonly result?: Value } = {},
    ): void {
      b.if(oldState.ne(TCP_SYN_SENT), () => {
        b.if(oldState.ne(TCP_SYN_RECV), () => b.exit(result));
        inSynRecv?.();
      });
    },

    /**
     * Exits if a socket in SYN_RECV belongs to an accepted connection: accept has not returned it yet. Only
     * for typed reads: others would take as long as the search of the table, which does not have the socket.
     */
    exitIfAccepted(b: Builder, sk: KernelPointer): void {
      b.if(sk.fields({ socket: 'sk_socket' }).socket.eq(0), () => b.exit());
    },

    /**
     * Removes the attempt to connect `socket`, and sends its event unless `examine` skips it. Exits if there
     * is no attempt.
     */
    end(b: Builder, socket: Place, examine: Examine): void {
      const event = b.stack(Event);
      const { attempt } = event;
      table.take(b, socket, (entry) => attempt.set(b.as(entry, Event.properties.attempt)));
      b.block((skip) => {
        const fast = () => {
          b.global(counters).belowMin.atomicAdd(1);
          skip();
        };
        const fail = () => {
          if (minNs) b.if(b.call(ktimeGetNs).sub(attempt.startNs).lt(minNs), fast);
          this.countFailure(b);
          skip();
        };
        const fill = examine(skip, fail);
        const end = b.call(ktimeGetNs);
        event.endNs.set(end);
        const latency = end.sub(attempt.startNs);
        if (minNs) b.if(latency.lt(minNs), fast);
        event.latencyNs.set(latency.as(s64));
        fill(event);
        if (aggregate) aggregate.add(b, event, events);
        else b.output(events, event);
      });
    },
  };
}

/** Each read may need all temporaries, so the task is not kept: with filters, no register may be free. */
function fillProcess(b: Builder, process: Memory<typeof Process>, typed: TypedReads): void {
  const task = () => untrusted(currentTask(b, typed), typed);
  process.cgroups.set(task().fields({ set: 'cgroups' }).set.get());
  process.execs.set(task().fields({ count: 'self_exec_id' }).count.get());
  const leader = task().follow('group_leader', { typed: true });
  process.startNs.set(leader.fields({ time: 'start_boottime' }).time);
}

// --- addresses and ports of a socket --------------------------------------------------------------

/** The paths of fields in `struct sock`. All are within its first bytes, so one probe read covers them. */
export function socketPaths({ v4, v6 }: Families) {
  return {
    state: '__sk_common.skc_state',
    family: '__sk_common.skc_family',
    ports: '__sk_common.skc_portpair',
    ...(v4 && { v4: '__sk_common.skc_addrpair' }),
    ...(v6 && { v6Remote: '__sk_common.skc_v6_daddr', v6Local: '__sk_common.skc_v6_rcv_saddr' }),
  };
}

/** The fields of `struct sock` at `socketPaths`. */
export interface SocketFields {
  readonly ports: Place;
  readonly family: Place;
  readonly [optional: string]: Place | undefined;
}

/** Fills endpoints from a socket. `sport` is the local port of a socket that may be closed already. */
export function fillFromSocket(sock: SocketFields, sport?: Place): FillEndpoints {
  return (memory) => {
    memory.ports.set(sock.ports);
    if (sport) memory.ports.local.set(sport);
    memory.family.set(sock.family);
    if (sock.v4) memory.v4.set(sock.v4);
    if (sock.v6Remote) memory.v6.remote.set(sock.v6Remote);
    if (sock.v6Local) memory.v6.local.set(sock.v6Local);
  };
}

/** Writes zeros for endpoints that are not known yet. Fields of families that are not traced are absent. */
function clearEndpoints({ ports, family, v4, v6 }: Memory<StructSchema<EndpointFields>>): void {
  for (const field of [ports, family, v4, v6]) field?.set(0);
}

/** The endpoints of a socket that has its route. */
export function socketEndpoints(b: Builder, sock: SocketFields): Endpoints {
  return {
    port: () => b.as(sock.ports, u16be).get(),
    remote: () => sock.v6Remote ?? (sock.v4 && b.as(sock.v4, V4).remote),
    local: () => localAddress(b, sock),
  };
}

/**
 * The local address, if addresses are read. The IPv6 fields also hold IPv4 addresses, as IPv4-mapped
 * addresses.
 */
export function localAddress(b: Builder, sock: SocketFields): Place | undefined {
  return sock.v6Local ?? (sock.v4 && b.as(sock.v4, V4).local);
}

/** The inode number of a socket's network namespace. */
export function networkNamespace(sk: KernelPointer): Value {
  const net = sk.follow('__sk_common.skc_net.net', { typed: true });
  return net.fields({ number: 'ns.inum' }).number.get();
}

// --- the end of an attempt ------------------------------------------------------------------------

/** A socket that leaves the connecting states. */
export interface StateChange {
  readonly sk: KernelPointer;
  /** The new state, a kept value. */
  readonly state: Value;
}

/**
 * Selects an end by `outcome`, and returns the function that fills the event. A connect is answered if a
 * SYN-ACK established it, or if it was refused (ECONNREFUSED). Every other end is a failure: also that of a
 * socket in repair mode (TCP_REPAIR), which is established without a packet. `fillAddresses` fills the rest.
 */
export function examineEnd(
  b: Builder,
  options: Options,
  typed: TypedReads,
  { sk, state }: StateChange,
  { skip, fail }: { readonly skip: () => void; readonly fail: () => void },
  fillAddresses: () => FillEvent,
): FillEvent {
  const { outcome } = options;
  const received = (tcp = tcpSock(b, sk, typed, skip)) => tcp.fields({ count: 'segs_in' }).count;
  if (!outcome)
    b.block((answered) => {
      b.if(
        state.eq(TCP_ESTABLISHED),
        typed.segments ? () => b.if(received().ne(0), answered) : answered,
        () => b.if(sk.fields({ error: 'sk_err' }).error.eq(ECONNREFUSED), answered),
      );
      fail();
    });
  if (outcome === 'failures') b.if(state.eq(TCP_ESTABLISHED), () => b.if(received().ne(0), skip));
  const fill = fillAddresses();
  if (!hasDetails(options)) return fill;
  return (event) => {
    const tcp = tcpSock(b, sk, typed, skip);
    fill(event, tcp);
    event.ended.state.set(state);
    event.ended.retransmits.set(tcp.fields({ count: 'total_retrans' }).count);
    event.cause.set(0);
    event.cause.segmentsIn.set(received(tcp));
    b.if(state.ne(TCP_ESTABLISHED), () =>
      outcome ? fillCause(b, sk, tcp, typed)(event) : event.cause.error.set(ECONNREFUSED),
    );
  };
}

/** The fields are far apart, so each needs its own read. */
function fillCause(b: Builder, sk: KernelPointer, tcp: KernelPointer, typed: TypedReads): FillEvent {
  return ({ cause }) => {
    cause.segmentsOut.set(tcp.fields({ count: 'segs_out' }).count);
    cause.softError.set(sk.fields({ error: 'sk_err_soft' }).error);
    cause.error.set(sk.fields({ error: 'sk_err' }).error);
    b.if(cause.error.eq(0), () => {
      const socket = untrusted(sk, typed).follow('sk_socket', { typed: true });
      cause.socketState.set(socket.fields({ state: 'state' }).state);
      // Called twice: an attempt that ends by an exiting task is rare, and no register is free to keep it.
      const task = () => currentTask(b, typed);
      b.if(task().fields({ flags: 'flags' }).flags.bits(PF_EXITING), () =>
        cause.exitCode.set(task().fields({ code: 'exit_code' }).code.as(u32)),
      );
    });
  };
}
