/**
 * Kprobes by way of tracefs, for kernels without a perf PMU for them (before 4.17, or where it is hidden).
 *
 * A line in `kprobe_events` makes an event of the kernel, which perf opens by its number like any tracepoint. Unlike
 * everything else of ours such a line outlives the process. So its group names the process, as `tsbpf_PID_START` with the
 * time the process began, in ticks since boot: together they tell it from a later one of the same number. Whoever starts
 * next deletes the lines of processes that are gone. A process of another pid (or time) namespace, or one that /proc hides,
 * looks gone too; what it has attached stays nevertheless, since the kernel refuses to delete an event in use (EBUSY), and
 * between making and opening an event it tries again when the line has vanished. Lines of other groups are never touched.
 *
 * Source: Documentation/trace/kprobetrace.rst, kernel/trace/trace_kprobe.c.
 */
import type { Attachment } from '../asm/program.ts';
import { Attr, Descriptor } from './bpf.ts';
import { Errno } from './errno.ts';
import { MOUNT_TRACEFS, NoSuchSymbolError, UnsupportedError } from './errors.ts';
import type { Kernel } from './kernel.ts';
import { isConfidential } from './lockdown.ts';
import { PERF_FLAG_FD_CLOEXEC, TYPE_TRACEPOINT } from './perf-event.ts';
import { kernelError } from './permission.ts';
import { allOrNothing, type Closeable } from './resources.ts';
import { tracefsRoot } from './tracefs.ts';

/** A line of `kprobe_events` that is ours: group and event, and the process that wrote it. */
const OURS = /^[pr]\d*:(tsbpf_(\d+)_(\d+)\/\S+) /gm;
/** Event names may have 63 bytes; the rest of them is a number. */
const SYMBOL_IN_NAME = 48;
/** Names tried before giving up: other threads of this process number theirs by themselves. */
const NAMES = 100;
/** How often an event is made again that somebody else has deleted before it was opened. */
const ATTEMPTS = 3;

/** Where such an event is made. */
export type KprobeAttachment = Extract<Attachment, { kind: 'kprobe' | 'kretprobe' }>;

/** Events made by this thread. */
let made = 0;

/** A line of `kprobe_events`; closing deletes it. What can't be deleted stays for the sweep of a later process. */
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

/** An event of `kprobe_events`, opened. Closing it deletes the line. */
export class KprobeEvent implements Closeable {
  readonly #descriptor: Descriptor;
  readonly #definition: Definition;

  /** Takes over both. */
  constructor(descriptor: Descriptor, definition: Definition) {
    this.#descriptor = descriptor;
    this.#definition = definition;
  }

  /** The descriptor, which stays owned by this object. @throws after `close()`. */
  get fd(): number {
    return this.#descriptor.fd;
  }

  close(): void {
    // In this order: an event that is open can't be deleted.
    this.#descriptor.close();
    this.#definition.close();
  }
}

/** Why this kernel has no kprobes, or undefined where it has them in one way or the other. */
export function kprobesUnsupportedReason(kernel: Kernel): UnsupportedError | undefined {
  if (kernel.kprobePmu !== undefined) return undefined;
  const root = tracefsRoot(kernel);
  const file = `${root}/kprobe_events`;
  if (root !== undefined && kernel.syscalls.readFile(file) !== -Errno.ENOENT) return undefined;
  const pmu =
    "no perf PMU for them (/sys/bus/event_source/devices/kprobe is missing: built without CONFIG_KPROBES, older than 4.17, or /sys isn't mounted)";
  const tracefs =
    root === undefined
      ? `tracefs isn't mounted (${MOUNT_TRACEFS})`
      : `no ${file} (${isConfidential(kernel) ? 'kernel lockdown hides it' : 'built without CONFIG_KPROBE_EVENTS'})`;
  return new UnsupportedError('kprobes', '4.1', `${pmu}, and ${tracefs}`);
}

/**
 * Makes an event at the beginning of a kernel function, or at its return, and opens it, disabled. The caller owns the result.
 * @throws {NoSuchSymbolError} @throws {UnsupportedError} where there is no `kprobe_events`. @throws {NotPermittedError}
 * @throws {KernelError}
 */
export function openKprobeEvent(kernel: Kernel, attachment: KprobeAttachment): KprobeEvent {
  const lack = kprobesUnsupportedReason(kernel);
  if (lack) throw lack;
  const root = tracefsRoot(kernel) as string;
  for (let attempt = 1; ; attempt++) {
    const event = tryOpen(kernel, root, attachment, attempt === ATTEMPTS);
    if (event) return event;
  }
}

const swept = new WeakSet<Kernel>();

/** Deletes the events that processes of ours left behind when they were killed. Once a kernel object; never fails. */
export function removeStaleKprobeEvents(kernel: Kernel): void {
  if (swept.has(kernel)) return;
  swept.add(kernel);
  const root = tracefsRoot(kernel);
  const bytes = root === undefined ? -Errno.ENOENT : kernel.syscalls.readFile(`${root}/kprobe_events`);
  if (typeof bytes === 'number') return;
  for (const [, name, pid, start] of Buffer.from(bytes).toString('latin1').matchAll(OURS)) {
    if (processAt(kernel, `/proc/${pid}/stat`)?.start === start) continue;
    remove(kernel, `${root}/kprobe_events`, name as string);
  }
}

/** Undefined where the event has vanished before it was open, unless this was the last attempt. */
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
    if (fd >= 0) return new KprobeEvent(new Descriptor(kernel.syscalls, fd), definition);
    if (!last && (fd === -Errno.ENOENT || fd === -Errno.EINVAL)) {
      definition.close();
      return undefined;
    }
    const tried = `open the event ${name} of the kernel function ${attachment.symbol}`;
    throw kernelError(kernel, {
      ...{ syscall: 'perf_event_open', errno: -fd, tried },
      forbiddenByLockdown: 'kprobes',
    });
  });
}

/** Writes the line. The result is `GROUP/EVENT`. */
function define(kernel: Kernel, file: string, { kind, symbol }: KprobeAttachment): string {
  const tried = `probe the kernel function ${symbol}`;
  const self = processAt(kernel, '/proc/self/stat');
  if (!self) throw new UnsupportedError('/proc', '2.0', 'events in kprobe_events are named by it');
  let errno = 0;
  for (let attempt = 0; attempt < NAMES; attempt++) {
    const event = `${symbol.replaceAll(/\W/g, '_').slice(0, SYMBOL_IN_NAME)}_${++made}`;
    const name = `tsbpf_${self.pid}_${self.start}/${event}`;
    errno = -kernel.syscalls.appendFile(file, `${kind === 'kretprobe' ? 'r' : 'p'}:${name} ${symbol}\n`);
    if (errno <= 0) return name;
    if (errno !== Errno.EEXIST) break;
  }
  const failure = { syscall: `write(${file})`, errno, tried };
  // EINVAL since 6.11, for several functions of that name too.
  if (errno === Errno.ENOENT || errno === Errno.EINVAL)
    throw new NoSuchSymbolError(symbol, {
      ...failure,
      hint: 'this kernel has no such function that may be probed, or several; it may be renamed or inlined: see /proc/kallsyms',
    });
  if (errno === Errno.EADDRNOTAVAIL)
    throw kernelError(kernel, { ...failure, hint: 'several functions of the kernel have that name' });
  throw kernelError(kernel, { ...failure, forbiddenByLockdown: 'kprobes' });
}

function remove(kernel: Kernel, file: string, name: string): void {
  kernel.syscalls.appendFile(file, `-:${name}\n`);
}

/** A descriptor of the event, or minus the errno. */
function openByName(kernel: Kernel, root: string, name: string): number {
  const bytes = kernel.syscalls.readFile(`${root}/events/${name}/id`);
  if (typeof bytes === 'number') return bytes;
  const id = Number(Buffer.from(bytes).toString('latin1'));
  return new Attr(kernel.syscalls, 72)
    .u32(0, TYPE_TRACEPOINT)
    .u32(4, 72)
    .u64(8, BigInt(id))
    .use((attr) =>
      kernel.syscalls.perfEventOpen(attr, -1, kernel.onlineCpus[0] ?? 0, -1, PERF_FLAG_FD_CLOEXEC),
    );
}

/** A process as /proc/PID/stat tells it (man 5 proc): its number, and when it began in ticks since boot. */
function processAt(
  kernel: Kernel,
  path: string,
): { readonly pid: string; readonly start: string } | undefined {
  const bytes = kernel.syscalls.readFile(path);
  if (typeof bytes === 'number') return undefined;
  const text = Buffer.from(bytes).toString('latin1');
  // The second field is the name, in parentheses, and may hold anything.
  const [pid = ''] = text.split(' ', 1);
  const start = text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  return { pid, start };
}
