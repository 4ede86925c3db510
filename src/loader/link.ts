/**
 * Attaching programs. A link is a descriptor: when it is closed, or its process ends in whatever way, the program is detached.
 * What a killed process may leave is the name of a kprobe in tracefs, where that is how it is made: see kprobe-events.ts.
 *
 * Source: man 2 perf_event_open, man 2 bpf, kernel/events/core.c (`perf_kprobe`, `perf_tracepoint`), include/uapi/linux/bpf.h
 * (`struct bpf_link_info`).
 */
import type { Attachment } from '../asm/program.ts';
import { PROGRAM_TYPES } from '../asm/program-types.ts';
import { Attr, Command, cString, Descriptor } from './bpf.ts';
import { Errno } from './errno.ts';
import { type Failure, type KernelError, NoSuchSymbolError } from './errors.ts';
import type { Kernel } from './kernel.ts';
import {
  type KprobeAttachment,
  type KprobeEvent,
  openKprobeEvent,
  removeStaleKprobeEvents,
} from './kprobe-events.ts';
import { type FunctionAttachment, isCalledByFunction } from './load/function.ts';
import { objectInfo } from './object-info.ts';
import { IOC_ENABLE, IOC_SET_BPF, PERF_FLAG_FD_CLOEXEC, TYPE_TRACEPOINT } from './perf-event.ts';
import { kernelError } from './permission.ts';
import type { Program } from './program.ts';
import { allOrNothing, type Closeable } from './resources.ts';
import { tracepointId } from './tracefs.ts';

/** An attached program; closing it detaches. The program may be closed before. */
export class Link implements Closeable {
  readonly attachment: Attachment;
  readonly #held: Closeable;
  readonly #countMissed: () => number | undefined;
  #missedAtLast: { readonly hits: number | undefined } | undefined;

  /** Takes over what holds the program where it is. `countMissed` asks for what `missedHits` says, as long as that is held. */
  constructor(attachment: Attachment, held: Closeable, countMissed: () => number | undefined) {
    this.attachment = attachment;
    this.#held = held;
    this.#countMissed = countMissed;
  }

  /**
   * Hits that the kernel dropped before it came to the program, which therefore counts none of them (`recursionMisses`): a kprobe that
   * was hit while another was handled on that CPU, the return of a call that a kretprobe had no room to follow. Undefined where the
   * kernel doesn't tell: kprobes and classic tracepoints before Linux 6.7, whose programs' `recursionMisses` lack some there, too.
   * Closing keeps the last count.
   * @throws {KernelError}
   */
  missedHits(): number | undefined {
    return this.#missedAtLast ? this.#missedAtLast.hits : this.#countMissed();
  }

  close(): void {
    if (this.#missedAtLast) return;
    this.#missedAtLast = { hits: undefined };
    try {
      this.#missedAtLast = { hits: this.#countMissed() };
    } finally {
      this.#held.close();
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Attaches a program where its spec says; it runs from now on. The caller owns the result.
 * @throws {NoSuchSymbolError} where the kernel has no such function or tracepoint. @throws {UnsupportedError} where it has no
 * kprobes. @throws {NoTracefsError} for a classic tracepoint. @throws {NotPermittedError} @throws {KernelError}
 */
export function attach(kernel: Kernel, program: Program): Link {
  const { attachment } = program.spec;
  removeStaleKprobeEvents(kernel);
  switch (PROGRAM_TYPES[attachment.kind].attach) {
    case 'kprobe_event': {
      const at = attachment as KprobeAttachment;
      return start(kernel, program, openKprobe(kernel, at), at.symbol);
    }
    case 'tracepoint_event': {
      const at = attachment as TracepointAttachment;
      return start(kernel, program, openTracepoint(kernel, at), at.tracepoint);
    }
    case 'raw_tracepoint_open':
      return attachRaw(kernel, program, attachment as RawAttachment);
  }
}

/** Lets a program run at a perf event, which is part of the link from now on. */
function start(kernel: Kernel, program: Program, event: Descriptor | KprobeEvent, symbol: string): Link {
  const { syscalls } = kernel;
  const { name, attachment } = program.spec;
  const done = (syscall: string, result: number): number => {
    if (result >= 0) return result;
    throw kernelError(kernel, {
      syscall,
      errno: -result,
      tried: `attach the program '${name}' to ${symbol}`,
    });
  };
  return allOrNothing((resources) => {
    resources.add(event);
    const fd = createPerfLink(kernel, program, event);
    // Before Linux 5.15 perf events have no links, which tell of missed hits.
    const link =
      fd === -Errno.EINVAL
        ? undefined
        : new Descriptor(syscalls, done('bpf(BPF_LINK_CREATE)', fd), `the link of the program '${name}'`);
    if (link) resources.add(link);
    else done('ioctl(PERF_EVENT_IOC_SET_BPF)', syscalls.ioctl(event.fd, IOC_SET_BPF, program.fd));
    done('ioctl(PERF_EVENT_IOC_ENABLE)', syscalls.ioctl(event.fd, IOC_ENABLE, 0));
    return new Link(attachment, resources, () => link && missedAt(kernel, link));
  });
}

/** A descriptor, or minus the errno. */
function createPerfLink(kernel: Kernel, program: Program, event: Descriptor | KprobeEvent): number {
  const PERF_EVENT = 41;
  return new Attr(kernel.syscalls, 16)
    .u32(0, program.fd)
    .u32(4, event.fd)
    .u32(8, PERF_EVENT)
    .send(Command.linkCreate);
}

/** Hits that were missed at a perf event; undefined before Linux 6.7, which counts neither these nor all misses of the programs there. */
function missedAt(kernel: Kernel, link: Descriptor): number | undefined {
  const [KIND, MISSED, size] = [16, 48, 56];
  const [KPROBE, KRETPROBE] = [3, 4];
  const { view, known } = objectInfo(kernel, link.fd, size, undefined, 'a link');
  if (known < size) return undefined;
  const kind = view.getUint32(KIND, true);
  return kind === KPROBE || kind === KRETPROBE ? Number(view.getBigUint64(MISSED, true)) : 0;
}

function openKprobe(kernel: Kernel, attachment: KprobeAttachment): Descriptor | KprobeEvent {
  const pmu = kernel.kprobePmu;
  return pmu === undefined ? openKprobeEvent(kernel, attachment) : openPmuKprobe(kernel, pmu, attachment);
}

/** Bit 0 of an event's config: /sys/bus/event_source/devices/kprobe/format/retprobe. */
const AT_RETURN = 1n;

function openPmuKprobe(kernel: Kernel, pmu: number, { kind, symbol }: KprobeAttachment): Descriptor {
  // struct perf_event_attr up to config2, PERF_ATTR_SIZE_VER1: type, size, config; config1 is the symbol's address.
  const attr = new Attr(kernel.syscalls, 72).u32(0, pmu).u32(4, 72).pointer(56, cString(symbol));
  if (kind === 'kretprobe') attr.u64(8, AT_RETURN);
  // The program runs on every CPU; the event has to be of one that is online.
  const cpu = kernel.onlineCpus[0] ?? 0;
  const fd = attr.use((bytes) => kernel.syscalls.perfEventOpen(bytes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC));
  if (fd >= 0) return new Descriptor(kernel.syscalls, fd, `the kprobe of ${symbol}`);
  const failure: Failure = {
    syscall: 'perf_event_open',
    errno: -fd,
    tried: `probe the kernel function ${symbol}`,
  };
  if (fd === -Errno.ENOENT || fd === -Errno.EINVAL)
    throw new NoSuchSymbolError(symbol, {
      ...failure,
      hint: 'this kernel has no such function that may be probed; it may be renamed or inlined: see /proc/kallsyms',
    });
  if (fd === -Errno.EADDRNOTAVAIL)
    throw kernelError(kernel, { ...failure, hint: 'several functions of the kernel have that name' });
  throw kernelError(kernel, { ...failure, forbiddenByLockdown: 'kprobes' });
}

type TracepointAttachment = Extract<Attachment, { kind: 'tracepoint' }>;

function openTracepoint(kernel: Kernel, { category, tracepoint }: TracepointAttachment): Descriptor {
  const id = tracepointId(kernel, category, tracepoint);
  // struct perf_event_attr in its first version, PERF_ATTR_SIZE_VER0: type, size, and config, which is the id.
  const attr = new Attr(kernel.syscalls, 64).u32(0, TYPE_TRACEPOINT).u32(4, 64).u64(8, BigInt(id));
  const fd = attr.use((bytes) => kernel.syscalls.perfEventOpen(bytes, -1, 0, -1, PERF_FLAG_FD_CLOEXEC));
  if (fd >= 0) return new Descriptor(kernel.syscalls, fd, `the tracepoint ${category}:${tracepoint}`);
  throw kernelError(kernel, {
    syscall: 'perf_event_open',
    errno: -fd,
    tried: `open the tracepoint ${category}:${tracepoint}`,
  });
}

/** Where a program is attached by BPF_RAW_TRACEPOINT_OPEN. */
type RawAttachment = FunctionAttachment | Extract<Attachment, { kind: 'raw_tracepoint' | 'tp_btf' }>;

function attachRaw(kernel: Kernel, program: Program, attachment: RawAttachment): Link {
  const attr = new Attr(kernel.syscalls, 16).u32(8, program.fd);
  // What the others are attached to was named by its BTF id when they were loaded.
  if (attachment.kind === 'raw_tracepoint') attr.pointer(0, cString(attachment.tracepoint));
  const fd = attr.send(Command.rawTracepointOpen);
  // Nothing is missed before the program there.
  if (fd >= 0)
    return new Link(
      attachment,
      new Descriptor(kernel.syscalls, fd, `the link of the program '${program.spec.name}'`),
      () => 0,
    );
  throw notAttached(kernel, program, attachment, -fd);
}

/** How the kernel says that a function has no place to call programs from. */
const NOT_TRACEABLE: ReadonlySet<number> = new Set([Errno.ENOENT, Errno.EINVAL, Errno.EBUSY]);

function notAttached(
  kernel: Kernel,
  program: Program,
  attachment: RawAttachment,
  errno: number,
): KernelError {
  const isFunction = isCalledByFunction(attachment);
  const symbol = isFunction ? attachment.symbol : attachment.tracepoint;
  const failure: Failure = {
    syscall: 'bpf(BPF_RAW_TRACEPOINT_OPEN)',
    errno,
    tried: `attach the program '${program.spec.name}' to the ${isFunction ? 'function' : 'tracepoint'} ${symbol}`,
  };
  if (isFunction && errno === Errno.ENOTSUPP)
    return kernelError(kernel, {
      ...failure,
      hint: 'this kernel cannot call programs from functions (arm64: Linux 6.0)',
    });
  const missing = isFunction ? NOT_TRACEABLE.has(errno) : errno === Errno.ENOENT;
  if (!missing) return kernelError(kernel, failure);
  const hint = isFunction
    ? 'it has no place to call programs from, or another tracer holds it'
    : 'this kernel has no such tracepoint';
  return new NoSuchSymbolError(symbol, { ...failure, hint });
}
