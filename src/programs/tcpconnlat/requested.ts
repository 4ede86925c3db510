/**
 * The destination that a program asked for, which a cgroup program (BPF_CGROUP_INET4_CONNECT or
 * BPF_CGROUP_INET6_CONNECT) may rewrite before the socket has it.
 *
 * - `kprobe`, `fentry`: tcp_v4_pre_connect and tcp_v6_pre_connect run the cgroup programs; the kernel calls
 *   them only if there are any. Their entry stores the destination, and the connect function takes it. If
 *   nothing is stored, the connect function has the destination in its own argument.
 * - The tracepoint: a socket enters SYN_SENT during the system call `connect`, so the registers of the caller
 *   still have the address of its `struct sockaddr`. `tp_btf` finds the registers by bpf_task_pt_regs (Linux
 *   5.15). Otherwise a program at sys_enter stores their address, which slows every system call down. The
 *   destination of a connect by io_uring is not known.
 *
 * Sources: net/ipv4/af_inet.c (`__inet_stream_connect`), net/ipv4/tcp_ipv4.c (`tcp_v4_pre_connect`),
 * net/mptcp/protocol.c (`mptcp_connect`, for each subflow).
 */
import type { Builder } from '../../asm/builder/builder.ts';
import type { KernelPointer } from '../../asm/builder/kernel-pointer.ts';
import type { Memory } from '../../asm/builder/memory.ts';
import type { Place } from '../../asm/builder/place.ts';
import { getCurrentPidTgid, getCurrentTaskBtf, probeReadUser, taskPtRegs } from '../../asm/helpers.ts';
import { fentry, fexit, kprobe, kretprobe, rawTracepoint } from '../../asm/hooks.ts';
import { bytes, s32, struct, u16, u16be, u64 } from '../../asm/layout.ts';
import { hash, lruHash } from '../../asm/map.ts';
import { systemCallNumber } from '../../asm/system-calls.ts';
import type { Target } from '../../asm/target.ts';
import type { Attempts, ProgramSet, TypedReads } from './attempts.ts';
import { AF_INET, AF_INET6, type Families, PF_IO_WORKER, PF_KTHREAD, Requested } from './events.ts';
import type { Options } from './options.ts';

type RequestedMemory = Memory<typeof Requested>;

/** An IPv4-mapped IPv6 address. */
const Mapped = struct({ zeros: bytes(8), reserved: u16, ones: u16be, address: bytes(4) });

function setIPv4(b: Builder, requested: RequestedMemory, { port, address }: Destination): void {
  requested.family.set(AF_INET);
  requested.port.set(port);
  const mapped = b.as(requested.address, Mapped);
  mapped.zeros.set(0);
  mapped.reserved.set(0);
  mapped.ones.set(0xffff);
  mapped.address.set(address);
}

function setIPv6(requested: RequestedMemory, { port, address }: Destination): void {
  requested.family.set(AF_INET6);
  requested.port.set(port);
  requested.address.set(address);
}

// --- kprobe and fentry ---------------------------------------------------------------------------

interface Destination {
  readonly port: Place;
  readonly address: Place;
}

/** Reads a `struct sockaddr` in the kernel. */
export function destinationIn(
  sockaddr: KernelPointer,
  family: 4 | 6,
  { cast: typed }: TypedReads,
): Destination {
  return family === 4
    ? sockaddr.cast('sockaddr_in', { typed }).fields({ port: 'sin_port', address: 'sin_addr' })
    : sockaddr.cast('sockaddr_in6', { typed }).fields({ port: 'sin6_port', address: 'sin6_addr' });
}

/** A destination that has not reached the connect function, by the thread that connects. */
const Request = struct({ socket: u64, requested: Requested });

/** The capacity for concurrent calls: an entry exists only from one function to the next. */
const MAX_REQUESTS = 1024;

/** Reads the requested destination at the start of an attempt. */
export type ReadRequested = (requested: RequestedMemory) => void;

/** The programs before the connect functions, and what these functions do. */
export interface RequestedAtFunctions extends ProgramSet {
  /**
   * Keeps the argument of a connect function, and returns the statements that read the destination. Call it
   * before any helper call, and the result after them. `socket` is the address of the socket.
   */
  readonly reader: (b: Builder, family: 4 | 6, socket: Place) => ReadRequested;
}

/** The programs for the option `requested`; undefined without it. */
export function requestedAtFunctions(
  probe: 'kprobe' | 'fentry',
  options: Options,
  attempts: Attempts,
  families: Families,
  target: Target,
): RequestedAtFunctions | undefined {
  if (!options.requested) return undefined;
  const requests = hash('requests', { key: u64, value: Request, maxEntries: MAX_REQUESTS });
  const [atEntry, atReturn] = probe === 'kprobe' ? [kprobe, kretprobe] : [fentry, fexit];
  const read = (b: Builder, family: 4 | 6, sockaddr: KernelPointer, requested: RequestedMemory) => {
    const destination = destinationIn(sockaddr, family, attempts.typed);
    if (family === 4) setIPv4(b, requested, destination);
    else setIPv6(requested, destination);
  };
  const onEntry = (family: 4 | 6) => (b: Builder) => {
    const sockaddr = b.keep(b.kernel('sockaddr', b.arg(1)));
    const request = b.stack(Request);
    request.socket.set(b.arg(0));
    read(b, family, sockaddr, request.requested);
    attempts.insert(b, requests, b.call(getCurrentPidTgid), request);
  };
  /** A cgroup program may have denied the connect. */
  const onReturn = (b: Builder) => {
    b.if(b.retval.as(s32).eq(0), () => b.exit());
    b.delete(requests, b.call(getCurrentPidTgid));
  };
  return {
    programs: [...(families.v4 ? [4 as const] : []), ...(families.v6 ? [6 as const] : [])].flatMap(
      (family) => {
        const symbol = `tcp_v${family}_pre_connect`;
        const optional = family === 6 && families.v4;
        return [
          atReturn(symbol, target, onReturn, { optional, name: `tcp_v${family}_denied` }),
          atEntry(symbol, target, onEntry(family), { optional, name: `tcp_v${family}_request` }),
        ];
      },
    ),
    maps: [requests],
    reader(b, family, socket) {
      const sockaddr = b.keep(b.kernel('sockaddr', b.arg(1)));
      return (requested) => {
        const thread = b.stack(u64, b.call(getCurrentPidTgid));
        b.block((done) => {
          b.lookup(requests, thread, {
            found: (request) => {
              const kept = b.keep(request);
              // Another socket's request is left if the kernel missed the return of a denied call.
              b.if(kept.socket.eq(socket), () => {
                requested.set(kept.requested);
                b.delete(requests, thread);
                done();
              });
              b.delete(requests, thread);
            },
          });
          read(b, family, sockaddr, requested);
        });
      };
    },
  };
}

// --- the tracepoint ------------------------------------------------------------------------------

/** The beginning of sockaddr_in6. In sockaddr_in the address follows the port. */
const UserAddress = struct({ family: u16, port: u16be, v4: bytes(4), v6: bytes(16) });
/** The part of both that sockaddr_in has. */
const UserAddress4 = struct({ family: u16, port: u16be, v4: bytes(4) });

/** The capacity for threads in calls of connect. The oldest of others are replaced. */
const MAX_CALLERS = 10_240;

/** The programs besides the one at the tracepoint, and what it does when a socket enters SYN_SENT. */
export interface RequestedInCall extends ProgramSet {
  readonly reader: (b: Builder) => ReadRequested;
}

/** The programs for the option `requested`; undefined without it. */
export function requestedInCall(
  options: Options,
  { typed }: Attempts,
  target: Target,
): RequestedInCall | undefined {
  if (!options.requested) return undefined;
  const connect = systemCallNumber(target, 'connect');
  if (typed.registers)
    return {
      programs: [],
      maps: [],
      reader: (b) => (requested) => {
        requested.set(0);
        b.block((unknown) => {
          const task = b.kernel('task_struct', b.call(getCurrentTaskBtf));
          // Their registers are those of the thread that created them.
          b.if(task.fields({ flags: 'flags' }).flags.bits(PF_IO_WORKER | PF_KTHREAD), unknown);
          const registers = b.keep(b.kernel('pt_regs', b.call(taskPtRegs, task)));
          readUserAddress(b, registers, connect, requested, unknown);
        });
      },
    };
  const callers = lruHash('callers', { key: u64, value: u64, maxEntries: MAX_CALLERS });
  const onCall = (b: Builder) => {
    b.if(b.arg(1).ne(connect), () => b.exit());
    const registers = b.keep(b.arg(0));
    b.update(callers, b.call(getCurrentPidTgid), registers);
  };
  return {
    programs: [rawTracepoint('sys_enter', target, onCall)],
    maps: [callers],
    reader: (b) => (requested) => {
      requested.set(0);
      const thread = b.stack(u64, b.call(getCurrentPidTgid));
      b.block((unknown) => {
        b.lookup(callers, thread, {
          missing: unknown,
          found(address) {
            const registers = b.keep(b.kernel('pt_regs', address));
            b.delete(callers, thread);
            readUserAddress(b, registers, connect, requested, unknown);
          },
        });
      });
    },
  };
}

/** Reads the address in the memory of the caller. Jumps to `unknown` outside of the system call `connect`. */
function readUserAddress(
  b: Builder,
  registers: KernelPointer,
  connect: number,
  requested: RequestedMemory,
  unknown: () => void,
): void {
  // An entry of an earlier call that did not connect a TCP socket.
  b.if(registers.systemCallNumber().ne(connect), unknown);
  const { address } = registers.systemCallArguments({ address: 1 });
  const user = b.keep(address);
  const found = b.stack(UserAddress, 0);
  b.if(b.call(probeReadUser, b.as(found, UserAddress4), user).ne(0), unknown);
  b.if(found.family.eq(AF_INET), () => setIPv4(b, requested, { port: found.port, address: found.v4 }));
  b.if(found.family.eq(AF_INET6), () => {
    b.if(b.call(probeReadUser, found, user).ne(0), unknown);
    setIPv6(requested, { port: found.port, address: found.v6 });
  });
}
