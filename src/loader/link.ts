/**
 * Attaching programs. A link is a descriptor: closing it, or the end of its process for any reason, detaches
 * the program. Only a kprobe that was created through tracefs leaves its event behind after SIGKILL: see
 * kprobe-events.ts.
 *
 * Source: man 2 perf_event_open, man 2 bpf, kernel/events/core.c (`perf_kprobe`, `perf_tracepoint`),
 * include/uapi/linux/bpf.h (`struct bpf_link_info`).
 */
import { reportAtCaller } from '../asm/error-position.ts';
import { addressName, type FunctionName, parseFunctionName } from '../asm/function-name.ts';
import type { Attachment, MultiAttachment, ProgramSpec } from '../asm/program.ts';
import { PROGRAM_TYPES } from '../asm/program-types.ts';
import { Attr, Command, cString, Descriptor } from './bpf.ts';
import { Errno } from './errno.ts';
import {
  type Failure,
  type KernelError,
  LinkMismatchError,
  NoSuchSymbolError,
  SymbolError,
  UnsupportedError,
  UntraceableSymbolError,
} from './errors.ts';
import { functionsNamed } from './kallsyms.ts';
import type { Kernel } from './kernel.ts';
import {
  type KprobeAttachment,
  type KprobeEvent,
  kprobeError,
  openKprobeEvent,
  removeStaleKprobeEvents,
} from './kprobe-events.ts';
import {
  attachAll,
  createMultiLink,
  hasKprobeMulti,
  type MatchedFunction,
  type MultiLink,
  matchFunctions,
} from './kprobe-multi.ts';
import { type FunctionAttachment, isCalledByFunction } from './load/function.ts';
import { objectInfo } from './object-info.ts';
import {
  anyCpu,
  IOC_ENABLE,
  IOC_SET_BPF,
  LINK_TO_PERF_EVENT,
  PERF_FLAG_FD_CLOEXEC,
  TYPE_TRACEPOINT,
} from './perf-event.ts';
import { kernelError } from './permission.ts';
import { nothingPinned, openPin, pinObject } from './pin.ts';
import { linkDifferences } from './pinned-differences.ts';
import type { Program } from './program.ts';
import { allOrNothing, type Closeable } from './resources.ts';
import { isAboutSymbol, symbolError } from './symbol-error.ts';
import { readKallsyms } from './symbol-table.ts';
import { readText } from './text.ts';
import { tracepointId } from './tracefs.ts';

/**
 * A program attached to a kernel function or tracepoint. Closing the link detaches the program.
 *
 * Returned by `attach`; its caller closes it. The `Program` may be closed before. The end of the process
 * closes every link.
 * @example
 * ```ts
 * import { attach, Kernel, type Program } from 'tsbpf';
 *
 * function run(kernel: Kernel, program: Program): void {
 *   const link = attach(kernel, program);
 *   console.log(`missed hits: ${link.missedHits() ?? 'unknown'}`);
 *   link.close();
 * }
 * ```
 */
export class Link implements Closeable {
  /** The kernel function or tracepoint that the program is attached to. */
  readonly attachment: Attachment;
  /** What a kprobe.multi program is attached to. Absent for other programs. */
  readonly multi: MultiLink | undefined;
  readonly #resource: Closeable;
  readonly #countMissed: () => number | undefined;
  /** The link in the kernel; undefined for perf events before Linux 5.15. */
  readonly #pinnable: Pinnable | undefined;
  #missedAtClose: { readonly hits: number | undefined } | undefined;

  /**
   * Takes ownership of `resource`, which attaches the program. `countMissed` reads `missedHits` while it is
   * open. `pinnable` is the link in the kernel, if there is one.
   */
  constructor(
    attachment: Attachment,
    resource: Closeable,
    countMissed: () => number | undefined,
    pinnable?: Pinnable,
    multi?: MultiLink,
  ) {
    this.attachment = attachment;
    this.multi = multi;
    this.#resource = resource;
    this.#countMissed = countMissed;
    this.#pinnable = pinnable;
  }

  /**
   * Opens a link that is pinned at a path. The caller owns it and closes it, which does not detach the
   * program as long as the pin exists.
   *
   * The link must have the kind of `spec`'s attachment, and its tracepoint or function if the kernel reports
   * it (raw tracepoints; kprobes and classic tracepoints since Linux 6.6). Its program must be that of
   * `spec`, as for `Program.open`, if this process may open programs by their ids (CAP_SYS_ADMIN).
   * @throws {LinkMismatchError} if the link differs from the spec. @throws {PathError} if the path is not the
   * pin of a link. @throws {NotPermittedError} @throws {KernelError}
   */
  static open(kernel: Kernel, spec: ProgramSpec, path: string): Link {
    return reportAtCaller(() => {
      const link = openPin(kernel, path, 'link');
      if (!link) throw nothingPinned(path);
      try {
        const differences = linkDifferences(kernel, spec, link.fd, `the link pinned at ${path}`);
        if (differences.length > 0) throw new LinkMismatchError(spec.name, path, differences);
        return new Link(spec.attachment, link, missedCounter(kernel, spec.attachment, link), {
          kernel,
          descriptor: link,
        });
      } catch (error) {
        link.close();
        throw error;
      }
    });
  }

  /**
   * Pins the link at a path in a bpffs. The program stays attached after `close()` and the end of the
   * process, until the pin is removed (`unpin`).
   *
   * Minimum kernel: 5.7; for kprobes and classic tracepoints 5.15. Source: man 2 bpf (BPF_OBJ_PIN).
   * @throws {PathError} if the path is not in a bpffs, or its last part has a dot. @throws {UnsupportedError}
   * @throws {KernelError} `EEXIST` if the path exists. @throws {NotPermittedError} @throws {ClosedError}
   */
  pin(path: string): void {
    reportAtCaller(() => {
      const pinnable = this.#pinnable;
      if (!pinnable)
        throw new UnsupportedError(
          'links of perf events',
          '5.15',
          'kprobes and tracepoints cannot be pinned',
        );
      const refused = 'this kernel cannot pin the link (perf events: Linux 5.15 and later, others: 5.7)';
      pinObject(pinnable.kernel, pinnable.descriptor.fd, 'the link', path, refused);
    });
  }

  /**
   * Returns the number of hits that the kernel dropped before the program ran, so that the program's
   * `recursionMisses` does not include them: a kprobe hit while this CPU handled another kprobe, or the
   * return of a call beyond the number that a kretprobe can track.
   *
   * Undefined for kprobes and classic tracepoints before Linux 6.7, where `recursionMisses` is also
   * incomplete. After
   * `close()` it returns the last count. Source: `struct bpf_link_info`.
   * @throws {KernelError}
   */
  missedHits(): number | undefined {
    return this.#missedAtClose ? this.#missedAtClose.hits : this.#countMissed();
  }

  /**
   * Detaches the program. A second call does nothing. @throws {KernelError} after detaching, if the last
   * count cannot be read.
   */
  close(): void {
    if (this.#missedAtClose) return;
    this.#missedAtClose = { hits: undefined };
    try {
      this.#missedAtClose = { hits: this.#countMissed() };
    } finally {
      this.#resource.close();
    }
  }

  /** Calls `close`, at the end of a `using` declaration's block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Counts the missed hits of a link that was opened by its pin. */
function missedCounter(kernel: Kernel, { kind }: Attachment, link: Descriptor): () => number | undefined {
  switch (PROGRAM_TYPES[kind].attach) {
    case 'kprobe_multi':
      return () => missedAtMulti(kernel, link);
    case 'raw_tracepoint_open':
      return () => 0;
    default:
      return () => missedAt(kernel, link);
  }
}

/** A link in the kernel, for its pin. */
interface Pinnable {
  readonly kernel: Kernel;
  readonly descriptor: Descriptor;
}

/**
 * Attaches a loaded program to the function or tracepoint of its spec. The program runs from now on.
 *
 * The caller owns the link and closes it, which detaches the program. A `Session` attaches its programs
 * itself.
 * @throws {SymbolError} if the kernel cannot attach it there. @throws {UnsupportedError} if
 * it has no kprobes. @throws {NoTracefsError} for a classic tracepoint without tracefs. @throws
 * {NotPermittedError}
 * @throws {LockdownError} @throws {KernelError}
 * @example
 * ```ts
 * import { attach, Kernel, kprobe, loadProgram, target } from 'tsbpf';
 * import { assemble } from 'tsbpf/asm';
 *
 * const kernel = new Kernel();
 * const spec = kprobe('tcp_v4_connect', target(process.arch, kernel.btf), (b) => b.exit());
 * const program = loadProgram(kernel, spec, assemble(spec.instructions), new Map());
 * const link = attach(kernel, program);
 * link.close();
 * program.close();
 * ```
 */
export function attach(kernel: Kernel, program: Program): Link {
  const { attachment } = program.spec;
  removeStaleKprobeEvents(kernel);
  switch (PROGRAM_TYPES[attachment.kind].attach) {
    case 'kprobe_event': {
      const at = attachment as KprobeAttachment;
      return attachToEvent(kernel, program, openKprobe(kernel, at), at.symbol);
    }
    case 'kprobe_multi':
      return attachMulti(kernel, program, attachment as MultiAttachment);
    case 'tracepoint_event': {
      const at = attachment as TracepointAttachment;
      return attachToEvent(kernel, program, openTracepoint(kernel, at), at.tracepoint);
    }
    case 'raw_tracepoint_open':
      return attachRaw(kernel, program, attachment as RawAttachment);
  }
}

const [FULL, ATTACHED] = [
  'an event takes 64 programs, and has as many; close some',
  'the program is attached there already; load it once more to attach it twice',
];

/** The likely cause of an errno of attaching to a perf event. */
const EVENT_HINTS: { readonly [errno: number]: { readonly kprobe?: string; readonly tracepoint?: string } } =
  {
    [Errno.E2BIG]: { kprobe: FULL, tracepoint: FULL },
    [Errno.EEXIST]: { kprobe: ATTACHED, tracepoint: ATTACHED },
    [Errno.EINVAL]: {
      kprobe:
        'if the program calls bpf_override_return, the function must allow it (ALLOW_ERROR_INJECTION in the kernel)',
    },
    [Errno.EACCES]: {
      tracepoint:
        "the program reads beyond the tracepoint's record; compare it with the format file in tracefs",
    },
  };

/** The likely cause of an errno of attaching to a raw tracepoint. */
const RAW_HINTS: { readonly [errno: number]: string } = {
  [Errno.EEXIST]: ATTACHED,
  [Errno.EINVAL]: 'the program reads more arguments than the tracepoint has; see its TP_PROTO in the kernel',
};

/** Attaches a program to a perf event. The link owns the event. */
function attachToEvent(
  kernel: Kernel,
  program: Program,
  event: Descriptor | KprobeEvent,
  symbol: string,
  cookie = 0n,
): Link {
  const { syscalls } = kernel;
  const { name, attachment } = program.spec;
  const checked = (syscall: string, result: number): number => {
    if (result >= 0) return result;
    throw kernelError(kernel, {
      syscall,
      errno: -result,
      tried: `attach the program '${name}' to ${symbol}`,
      hint: EVENT_HINTS[-result]?.[attachment.kind === 'tracepoint' ? 'tracepoint' : 'kprobe'],
    });
  };
  return allOrNothing((resources) => {
    resources.add(event);
    const fd = createPerfLink(kernel, program, event, cookie);
    // Since Linux 5.15 a perf event can have a link, which counts missed hits.
    const link =
      fd === -Errno.EINVAL
        ? undefined
        : new Descriptor(syscalls, checked('bpf(BPF_LINK_CREATE)', fd), `the link of the program '${name}'`);
    if (link) resources.add(link);
    else checked('ioctl(PERF_EVENT_IOC_SET_BPF)', syscalls.ioctl(event.fd, IOC_SET_BPF, program.fd));
    checked('ioctl(PERF_EVENT_IOC_ENABLE)', syscalls.ioctl(event.fd, IOC_ENABLE, 0));
    const pinnable = link && { kernel, descriptor: link };
    return new Link(attachment, resources, () => link && missedAt(kernel, link), pinnable);
  });
}

/** Creates a link. Returns its descriptor, or minus the errno. */
function createPerfLink(
  kernel: Kernel,
  program: Program,
  event: Descriptor | KprobeEvent,
  cookie: bigint,
): number {
  const attr = new Attr(kernel.syscalls, cookie === 0n ? 16 : 24)
    .u32(0, program.fd)
    .u32(4, event.fd)
    .u32(8, LINK_TO_PERF_EVENT);
  if (cookie !== 0n) attr.u64(16, cookie);
  return attr.send(Command.linkCreate);
}

/** A part of the functions of a kprobe.multi program that is attached. */
interface AttachedPart {
  readonly missed: () => number | undefined;
  /** The link of kprobe.multi. */
  readonly link?: Descriptor;
}

/** Attaches a program to many functions: by one link, or by a kprobe for each of them. */
function attachMulti(kernel: Kernel, program: Program, attachment: MultiAttachment): Link {
  const { name } = program.spec;
  const failure = (errno: number): Failure => ({
    syscall: 'bpf(BPF_LINK_CREATE)',
    errno,
    tried: `attach the program '${name}' to ${attachment.functions.join(', ')}`,
    hint:
      errno === Errno.E2BIG
        ? 'the patterns match more functions than one link takes; narrow them'
        : undefined,
  });
  const { matched, skipped } = matchFunctions(kernel, attachment, failure(Errno.ENOENT));
  const byKprobe = !hasKprobeMulti(kernel);
  const kind = attachment.kind === 'kprobe_multi' ? 'kprobe' : 'kretprobe';
  return allOrNothing((resources) => {
    const byLink = (part: readonly MatchedFunction[]): AttachedPart | Error => {
      const fd = createMultiLink(kernel, program.fd, attachment.kind, part);
      if (fd >= 0) {
        const link = resources.add(new Descriptor(kernel.syscalls, fd, `a link of the program '${name}'`));
        return { link, missed: () => missedAtMulti(kernel, link) };
      }
      const [first, second] = part;
      if (fd !== -Errno.ESRCH && !isAboutSymbol(-fd)) throw kernelError(kernel, failure(-fd));
      if (first === undefined || second) return ONE_AT_A_TIME;
      const { module, symbol } = first;
      return symbolError(
        kernel,
        module === undefined ? symbol : `${module}:${symbol}`,
        'ftrace',
        failure(-fd),
      );
    };
    const byEvent = ([first, second]: readonly MatchedFunction[]): AttachedPart | Error => {
      if (first === undefined || second) return ONE_AT_A_TIME;
      const { symbol, address, cookie } = first;
      try {
        const event = openKprobe(kernel, { kind, symbol: address === 0n ? symbol : addressName(address) });
        const link = resources.add(attachToEvent(kernel, program, event, symbol, cookie));
        return { missed: () => link.missedHits() };
      } catch (error) {
        if (error instanceof SymbolError) return error;
        throw error;
      }
    };
    const { links, functions, skipped: refused } = attachAll(matched, byKprobe ? byEvent : byLink);
    const countMissed = () =>
      links.reduce<number | undefined>((sum, { missed }) => {
        const count = missed();
        return sum === undefined || count === undefined ? undefined : sum + count;
      }, 0);
    const [first, second] = links;
    const pinnable = first?.link && !second ? { kernel, descriptor: first.link } : undefined;
    return new Link(attachment, resources, countMissed, pinnable, {
      method: byKprobe ? 'kprobe' : 'kprobe.multi',
      functions: functions.map(({ isNamed, ...each }) => each),
      skipped: [...skipped, ...refused],
    });
  });
}

/** Why several functions are not attached at once. No message contains it. */
const ONE_AT_A_TIME = new Error('one function at a time');

/** Reads the missed hits of a kprobe.multi link. Undefined before Linux 6.7, which does not count them. */
function missedAtMulti(kernel: Kernel, link: Descriptor): number | undefined {
  const [MISSED, size] = [32, 40];
  const { view, known } = objectInfo(kernel, link.fd, size, undefined, 'a link');
  return known < size ? undefined : Number(view.getBigUint64(MISSED, true));
}

/** Reads the missed hits of a perf event's link. Undefined before Linux 6.7, which does not count them. */
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

/** Bit 0 of the event's config field: /sys/bus/event_source/devices/kprobe/format/retprobe. */
const AT_RETURN = 1n;

function openPmuKprobe(kernel: Kernel, pmu: number, { kind, symbol }: KprobeAttachment): Descriptor {
  const name = parseFunctionName(symbol);
  const open = ({ module, symbol = '', offset, address }: FunctionName): number => {
    // struct perf_event_attr up to config2 (PERF_ATTR_SIZE_VER1): type, size, config; config1 points to the
    // symbol's name, and config2 is the offset. Without a name config2 is the address.
    const attr = new Attr(kernel.syscalls, 72).u32(0, pmu).u32(4, 72);
    if (kind === 'kretprobe') attr.u64(8, AT_RETURN);
    if (address === undefined)
      attr.pointer(56, cString(module === undefined ? symbol : `${module}:${symbol}`));
    attr.u64(64, address ?? BigInt(offset));
    return attr.use((bytes) =>
      kernel.syscalls.perfEventOpen(bytes, -1, anyCpu(kernel), -1, PERF_FLAG_FD_CLOEXEC),
    );
  };
  let fd = open(name);
  if (fd < 0 && name.module !== undefined && isAboutSymbol(-fd)) {
    // Some kernels (6.6) do not know a module in the name.
    const [only, other] = functionsNamed(readKallsyms(kernel.syscalls), name.symbol ?? '', name.module);
    if (only && !other && only.address !== 0n)
      fd = open({ address: only.address + BigInt(name.offset), offset: 0 });
  }
  if (fd >= 0) return new Descriptor(kernel.syscalls, fd, `the kprobe of ${symbol}`);
  throw kprobeError(kernel, symbol, {
    syscall: 'perf_event_open',
    errno: -fd,
    tried: `probe the kernel function ${symbol}`,
  });
}

type TracepointAttachment = Extract<Attachment, { kind: 'tracepoint' }>;

function openTracepoint(kernel: Kernel, { category, tracepoint }: TracepointAttachment): Descriptor {
  const id = tracepointId(kernel, category, tracepoint);
  // struct perf_event_attr up to PERF_ATTR_SIZE_VER0: type, size, and the tracepoint's id as config.
  const attr = new Attr(kernel.syscalls, 64).u32(0, TYPE_TRACEPOINT).u32(4, 64).u64(8, BigInt(id));
  const fd = attr.use((bytes) =>
    kernel.syscalls.perfEventOpen(bytes, -1, anyCpu(kernel), -1, PERF_FLAG_FD_CLOEXEC),
  );
  if (fd >= 0) return new Descriptor(kernel.syscalls, fd, `the tracepoint ${category}:${tracepoint}`);
  throw kernelError(kernel, {
    syscall: 'perf_event_open',
    errno: -fd,
    tried: `open the tracepoint ${category}:${tracepoint}`,
  });
}

/** The attachments of BPF_RAW_TRACEPOINT_OPEN. */
type RawAttachment = FunctionAttachment | Extract<Attachment, { kind: 'raw_tracepoint' | 'tp_btf' }>;

/** Throws UnsupportedError if the kernel would attach an LSM program but never run it. */
function requireBpfModule({ syscalls }: Pick<Kernel, 'syscalls'>, program: string): void {
  const modules = readText(syscalls, '/sys/kernel/security/lsm');
  if (typeof modules === 'number' || modules.trim().split(',').includes('bpf')) return;
  throw new UnsupportedError(
    'active BPF LSM',
    '5.7',
    `the program '${program}' would never run; boot with lsm=${modules.trim()},bpf`,
  );
}

function attachRaw(kernel: Kernel, program: Program, attachment: RawAttachment): Link {
  if (attachment.kind === 'lsm') requireBpfModule(kernel, program.spec.name);
  const attr = new Attr(kernel.syscalls, 16).u32(8, program.fd);
  // The other types have their BTF id since the load.
  if (attachment.kind === 'raw_tracepoint') attr.pointer(0, cString(attachment.tracepoint));
  const fd = attr.send(Command.rawTracepointOpen);
  // These attachments have no hits that are missed before the program runs.
  if (fd >= 0) {
    const link = new Descriptor(kernel.syscalls, fd, `the link of the program '${program.spec.name}'`);
    return new Link(attachment, link, () => 0, { kernel, descriptor: link });
  }
  throw notAttached(kernel, program, attachment, -fd);
}

/** The errnos for a function that the kernel cannot trace by fentry or fexit. */
const NOT_TRACEABLE: ReadonlySet<number> = new Set([Errno.ENOENT, Errno.EINVAL]);

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
  if (!isFunction)
    return errno === Errno.ENOENT
      ? new NoSuchSymbolError(symbol, {
          ...failure,
          hint: 'this kernel has no such tracepoint; see available_events in tracefs',
        })
      : kernelError(kernel, { ...failure, hint: RAW_HINTS[errno] });
  if (errno === Errno.EEXIST) return kernelError(kernel, { ...failure, hint: ATTACHED });
  if (errno === Errno.ENOTSUPP)
    return kernelError(kernel, {
      ...failure,
      hint: 'this kernel has no fentry and fexit on this architecture (arm64: Linux 6.0 and later); use a kprobe',
    });
  if (errno === Errno.EBUSY)
    return new UntraceableSymbolError(symbol, {
      ...failure,
      hint: 'another tracer has this function for itself (a live patch, or ftrace with IPMODIFY); stop it, or use a kprobe',
    });
  if (errno === Errno.E2BIG)
    return kernelError(kernel, {
      ...failure,
      hint: 'too many programs trace this function (38 fentry and fexit programs for each function); close some',
    });
  if (!NOT_TRACEABLE.has(errno)) return kernelError(kernel, failure);
  const hint =
    'this function cannot be traced by fentry and fexit (notrace), or another tracer uses it; use a kprobe';
  return symbolError(kernel, symbol, 'ftrace', { ...failure, hint });
}
