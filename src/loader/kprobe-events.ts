/**
 * Kprobes through tracefs, for kernels without a perf PMU for them (before 4.17, or if /sys is not mounted).
 *
 * A line in `kprobe_events` defines a kernel event, which perf opens by its id like any tracepoint. Unlike
 * all other resources of the loader, the event outlives the process. Its group is therefore
 * `tsbpf_PID_START`, with the start time of the process in ticks since boot, which distinguishes it from a
 * later process with the same pid. Each start deletes the events of processes that have exited. A process in
 * another pid or time namespace, or one that /proc hides, appears to have exited; its attached probes stay,
 * because the kernel refuses to delete an event in use (EBUSY). If its event is deleted before it has opened
 * it, it defines the event again. Events of other groups are never deleted.
 *
 * Source: Documentation/trace/kprobetrace.rst, kernel/trace/trace_kprobe.c.
 */
import type { Attachment } from '../asm/program.ts';
import { Attr, Descriptor } from './bpf.ts';
import { Errno } from './errno.ts';
import { type Failure, type KernelError, MOUNT_TRACEFS, UnsupportedError } from './errors.ts';
import type { Kernel } from './kernel.ts';
import { isConfidential } from './lockdown.ts';
import { anyCpu, PERF_FLAG_FD_CLOEXEC, TYPE_TRACEPOINT } from './perf-event.ts';
import { kernelError } from './permission.ts';
import { allOrNothing, type Closeable } from './resources.ts';
import { isAboutSymbol, symbolError } from './symbol-error.ts';
import { readText } from './text.ts';
import { tracefsRoot } from './tracefs.ts';

/** A line of `kprobe_events` that a tsbpf process wrote: group and event, pid, and start time. */
const OWN_EVENT = /^[pr]\d*:(tsbpf_(\d+)_(\d+)\/\S+) /gm;
/** Bytes of the symbol in an event's name, which may have 63 bytes; a number follows. */
const MAX_SYMBOL = 48;
/** Event names to try: other threads of this process count their events separately. */
const NAME_ATTEMPTS = 100;
/** How often to define an event if another process deletes it before it is opened. */
const OPEN_ATTEMPTS = 3;

/** The attachment of a kprobe or kretprobe. */
export type KprobeAttachment = Extract<Attachment, { kind: 'kprobe' | 'kretprobe' }>;

/** The number of events that this thread has defined. */
let eventCount = 0;

/** An event defined in `kprobe_events`. Closing deletes it; if that fails, a later process does. */
class Definition implements Closeable {
  readonly #kernel: Kernel;
  readonly #file: string;
  readonly #name: string;
  #deleted = false;

  constructor(kernel: Kernel, file: string, name: string) {
    this.#kernel = kernel;
    this.#file = file;
    this.#name = name;
  }

  close(): void {
    if (!this.#deleted) remove(this.#kernel, this.#file, this.#name);
    this.#deleted = true;
  }
}

/** An open event of `kprobe_events`. Closing also deletes the event. */
export class KprobeEvent implements Closeable {
  readonly #descriptor: Descriptor;
  readonly #definition: Definition;

  /** Takes ownership of both. */
  constructor(descriptor: Descriptor, definition: Definition) {
    this.#descriptor = descriptor;
    this.#definition = definition;
  }

  /** The descriptor, owned by this object. @throws {ClosedError} after `close()`. */
  get fd(): number {
    return this.#descriptor.fd;
  }

  close(): void {
    // The kernel refuses to delete an open event, so the descriptor goes first.
    this.#descriptor.close();
    this.#definition.close();
  }
}

/** Returns why this kernel has no kprobes, or undefined if it has them through the perf PMU or tracefs. */
export function kprobesUnsupportedReason(kernel: Kernel): UnsupportedError | undefined {
  if (kernel.kprobePmu !== undefined) return undefined;
  const root = tracefsRoot(kernel);
  const file = `${root}/kprobe_events`;
  if (root !== undefined && kernel.syscalls.readFile(file) !== -Errno.ENOENT) return undefined;
  const pmu =
    'no perf PMU (/sys/bus/event_source/devices/kprobe is missing: ' +
    'built without CONFIG_KPROBES, older than 4.17, or /sys is not mounted)';
  const tracefs =
    root === undefined
      ? `tracefs is not mounted (${MOUNT_TRACEFS})`
      : `no ${file} (${isConfidential(kernel) ? 'kernel lockdown hides it' : 'built without CONFIG_KPROBE_EVENTS'})`;
  return new UnsupportedError('kprobes', '4.1', `${pmu}, and ${tracefs}`);
}

/**
 * Defines an event at the entry or the return of a kernel function and opens it, disabled. The caller closes
 * it.
 * @throws {SymbolError} @throws {UnsupportedError} if there is no `kprobe_events`. @throws
 * {NotPermittedError}
 * @throws {KernelError}
 */
export function openKprobeEvent(kernel: Kernel, attachment: KprobeAttachment): KprobeEvent {
  const reason = kprobesUnsupportedReason(kernel);
  if (reason) throw reason;
  const root = tracefsRoot(kernel) as string;
  for (let attempt = 1; ; attempt++) {
    const event = tryOpen(kernel, root, attachment, attempt === OPEN_ATTEMPTS);
    if (event) return event;
  }
}

const cleaned = new WeakSet<Kernel>();

/** Deletes the events of killed tsbpf processes, once for each `Kernel` object. Ignores errors. */
export function removeStaleKprobeEvents(kernel: Kernel): void {
  if (cleaned.has(kernel)) return;
  cleaned.add(kernel);
  const root = tracefsRoot(kernel);
  const text = root === undefined ? -Errno.ENOENT : readText(kernel.syscalls, `${root}/kprobe_events`);
  if (typeof text === 'number') return;
  for (const [, name, pid, start] of text.matchAll(OWN_EVENT)) {
    if (processAt(kernel, `/proc/${pid}/stat`)?.start === start) continue;
    remove(kernel, `${root}/kprobe_events`, name as string);
  }
}

/**
 * Returns undefined if another process deleted the event before it was open, unless this is the last attempt.
 */
function tryOpen(
  kernel: Kernel,
  root: string,
  attachment: KprobeAttachment,
  last: boolean,
): KprobeEvent | undefined {
  return allOrNothing((resources) => {
    const file = `${root}/kprobe_events`;
    const name = define(kernel, file, attachment);
    const definition = resources.add(new Definition(kernel, file, name));
    const fd = openByName(kernel, root, name);
    if (fd >= 0) return new KprobeEvent(new Descriptor(kernel.syscalls, fd, `the event ${name}`), definition);
    if (!last && (fd === -Errno.ENOENT || fd === -Errno.EINVAL)) {
      definition.close();
      return undefined;
    }
    const tried = `open the event ${name} for the kernel function ${attachment.symbol}`;
    throw kernelError(kernel, {
      ...{ syscall: 'perf_event_open', errno: -fd, tried },
      forbiddenByLockdown: 'kprobes',
    });
  });
}

/** Writes the line of an event. Returns the event's name, `GROUP/EVENT`. */
function define(kernel: Kernel, file: string, { kind, symbol }: KprobeAttachment): string {
  const tried = `probe the kernel function ${symbol}`;
  const self = processAt(kernel, '/proc/self/stat');
  if (!self)
    throw new UnsupportedError(
      '/proc',
      '2.0',
      'names in kprobe_events need it; mount it: mount -t proc proc /proc',
    );
  let errno = 0;
  for (let attempt = 0; attempt < NAME_ATTEMPTS; attempt++) {
    // A name cannot begin with a digit, as an address does.
    const event = `${symbol.replace(/^\d/, 'at_$&').replaceAll(/\W/g, '_').slice(0, MAX_SYMBOL)}_${++eventCount}`;
    const name = `tsbpf_${self.pid}_${self.start}/${event}`;
    errno = -kernel.syscalls.appendFile(file, `${kind === 'kretprobe' ? 'r' : 'p'}:${name} ${symbol}\n`);
    if (errno <= 0) return name;
    if (errno !== Errno.EEXIST) break;
  }
  throw kprobeError(kernel, symbol, { syscall: `write(${file})`, errno, tried });
}

/** Creates the error for a kprobe that the kernel did not create, in the PMU or in `kprobe_events`. */
export function kprobeError(kernel: Kernel, symbol: string, failure: Failure): KernelError {
  return isAboutSymbol(failure.errno)
    ? symbolError(kernel, symbol, 'kprobe', failure)
    : kernelError(kernel, { ...failure, forbiddenByLockdown: 'kprobes' });
}

function remove(kernel: Kernel, file: string, name: string): void {
  kernel.syscalls.appendFile(file, `-:${name}\n`);
}

/** Opens an event. Returns its descriptor, or minus the errno. */
function openByName(kernel: Kernel, root: string, name: string): number {
  const id = readText(kernel.syscalls, `${root}/events/${name}/id`);
  if (typeof id === 'number') return id;
  return new Attr(kernel.syscalls, 72)
    .u32(0, TYPE_TRACEPOINT)
    .u32(4, 72)
    .u64(8, BigInt(id.trim()))
    .use((attr) => kernel.syscalls.perfEventOpen(attr, -1, anyCpu(kernel), -1, PERF_FLAG_FD_CLOEXEC));
}

/**
 * Reads a process's pid and its start time, in ticks since boot, from /proc/PID/stat (man 5 proc_pid_stat).
 */
function processAt(
  kernel: Kernel,
  path: string,
): { readonly pid: string; readonly start: string } | undefined {
  const text = readText(kernel.syscalls, path);
  if (typeof text === 'number') return undefined;
  // The second field is the name, in parentheses. It can contain spaces and parentheses.
  const [pid = ''] = text.split(' ', 1);
  const start = text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  return { pid, start };
}
