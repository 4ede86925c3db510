/** A running tool: its maps, programs, rings and links, owned together. */
import { assemble } from '../asm/assemble.ts';
import { reportAtCaller, withSourcePosition } from '../asm/error-position.ts';
import {
  type EventOf,
  type EventsSpec,
  eventReader,
  isEvents,
  isPerfEventArray,
  isRingBuffer,
  type PerfEventArraySpec,
  type RingBufferSpec,
  schemasOf,
} from '../asm/events.ts';
import { layoutOf } from '../asm/layout.ts';
import type { MapSpec, ProgramArraySpec } from '../asm/map.ts';
import { listNearest } from '../asm/nearest.ts';
import type { Locate } from '../asm/position.ts';
import type { ProgramSpec, Tool, ToolEvents } from '../asm/program.ts';
import type { StackTraceSpec } from '../asm/stack-trace.ts';
import { eventsMapsOf, mapsOf, tailCalledSlots } from '../asm/tool-parts.ts';
import { NoSuchSymbolError, SymbolError } from './errors.ts';
import { guarded, reportLater } from './handlers.ts';
import { similarSymbols } from './kallsyms.ts';
import { Kernel } from './kernel.ts';
import { attach, type Link } from './link.ts';
import { loadProgram } from './load.ts';
import { BpfMap } from './map.ts';
import type { CpuChange, Wakeup } from './perf-buffer/options.ts';
import { PerfBuffer } from './perf-buffer.ts';
import type { Program } from './program.ts';
import { checkTailCalled, ProgramArray } from './program-array.ts';
import { missingFeatures, requireDeclared } from './requirements.ts';
import { allOrNothing, type Closeable, Resources } from './resources.ts';
import { RingBuffer } from './ring-buffer.ts';
import { type StackFrame, Symbolizer } from './symbolizer.ts';
import { TICK_MS } from './turns.ts';

/**
 * The default size of each CPU's perf ring in pages: 128, which is 512 KiB with pages of 4 KiB.
 *
 * @example
 * ```ts
 * import { DEFAULT_PAGES, Kernel } from 'tsbpf';
 *
 * console.log(`${DEFAULT_PAGES * new Kernel().pageSize} bytes for each CPU`);
 * ```
 */
export const DEFAULT_PAGES = 128;

/** The number of the CPU that sent an event: perf rings know it, ring buffers do not. */
export type CpuOf<M extends EventsSpec> = M extends PerfEventArraySpec ? number : undefined;

/** Receives each event of a map, decoded, and the number of its CPU (undefined for a ring buffer). */
export type EventHandler<M extends EventsSpec> = (event: EventOf<M['event']>, cpu: CpuOf<M>) => void;

/** The handler of a tool's events, or a handler for each of its events maps by name. */
export type EventHandlers<E extends ToolEvents> = [E] extends [EventsSpec]
  ? EventHandler<E>
  : [E] extends [Readonly<Record<string, EventsSpec>>]
    ? { readonly [K in keyof E]?: EventHandler<E[K]> }
    : EventHandler<EventsSpec> | Readonly<Record<string, EventHandler<EventsSpec>>>;

/** The events maps of a tool. */
export type EventsMapsOf<E extends ToolEvents> = E extends EventsSpec
  ? E
  : E extends Readonly<Record<string, EventsSpec>>
    ? E[keyof E]
    : never;

/**
 * Options of `Session.open`: the handlers of a tool's events, and how its rings are read.
 *
 * Handlers run from the event loop, and in `detach` and `close`; never in `open`. `onEvent`, `onSample` and
 * `onLost` are for tools with events only, `onCpus`, `wakeup` and `pagesPerCpu` for perf event arrays, and
 * `flushMs` for ring buffers. In a worker thread, events are delivered within 10 ms instead of at once.
 * @example
 * ```ts
 * import { chars, perfEventArray, type SessionOptions, struct } from 'tsbpf';
 *
 * const execs = perfEventArray('execs', struct({ comm: chars(16) }));
 * const options: SessionOptions<typeof execs> = {
 *   onEvent: ({ comm }) => console.log(comm),
 *   onLost: (count, cpu) => console.warn(`${count} events lost on CPU ${cpu}`),
 *   pagesPerCpu: 128,
 * };
 * console.log(Object.keys(options).length);
 * ```
 */
export interface SessionOptions<E extends ToolEvents> {
  /** The kernel to run on. Default: the running kernel, `new Kernel()`. */
  readonly kernel?: Kernel;
  /** The size of each CPU's ring in pages of memory, a power of two. Default: 128. */
  readonly pagesPerCpu?: number;
  /**
   * Whether to load the types of maps and the source lines of programs, for `bpftool map dump` and `bpftool
   * prog dump` (Linux 4.18 and 5.0; ignored before). Default: false.
   */
  readonly debug?: boolean;
  /** Resolves positions to source lines, for `debug` and for errors. Default: reads the source files. */
  readonly locate?: Locate;
  /**
   * When the kernel wakes the reader of perf rings. Default: `'adaptive'`, at each event, but every 15 ms
   * while a CPU sends more than 2,000 events per second.
   */
  readonly wakeup?: Wakeup;
  /**
   * How often ring buffers are read without a wake-up, in ms, for events that programs send with
   * `BPF_RB_NO_WAKEUP`. Default: 1000, which is also the longest time.
   */
  readonly flushMs?: number;
  /**
   * Receives each event, decoded, and the number of its CPU (undefined for a ring buffer). A tool with events
   * needs either this or `onSample`. For several events maps: a handler for each, by the names of the maps.
   *
   * The events of a map keep their order; those of different maps may overtake each other.
   */
  readonly onEvent?: EventHandlers<E>;
  /**
   * Receives each event as a view of its bytes in the ring, and the number of its CPU: `onEvent` for high
   * rates. The view is the same object each time and valid only during the call; read the fields that you
   * need, and keep no array of bytes. The schema of the events must be a struct. See `sampleView`.
   */
  readonly onSample?: EventHandlers<E>;
  /**
   * Receives the number of events that were lost because a ring was full, the number of its CPU (undefined
   * for a ring buffer), and the name of the map.
   */
  readonly onLost?: (count: number, cpu: CpuOf<EventsMapsOf<E>>, map: string) => void;
  /**
   * Receives the exceptions of all handlers and the errors of reading; reading continues with the next event.
   * Without `onError`, or if it throws, the error is thrown: by `close` and `detach` after they have
   * delivered every event, otherwise from the event loop (`uncaughtException`).
   */
  readonly onError?: (error: unknown) => void;
  /** Called after CPUs came online or went offline, within two seconds. */
  readonly onCpus?: (change: CpuChange) => void;
  /** Called once a second, with or without events. */
  readonly onTick?: () => void;
}

/**
 * An optional program that a session could not load or attach, because the kernel has no such function or
 * tracepoint, several functions with this name, or one that cannot be traced.
 *
 * @example
 * ```ts
 * import type { Session, SkippedProgram } from 'tsbpf';
 *
 * function warn(session: Session): void {
 *   const skipped: readonly SkippedProgram[] = session.skipped;
 *   for (const { program, reason } of skipped) console.warn(`${program.name}: ${reason.message}`);
 * }
 * ```
 */
export interface SkippedProgram {
  /** The program's spec, which has `optional: true`. */
  readonly program: ProgramSpec;
  /** The error that a program without `optional` throws. */
  readonly reason: SymbolError;
}

/**
 * The number of program runs that the kernel skipped.
 *
 * @example
 * ```ts
 * import type { MissedRuns, Session } from 'tsbpf';
 *
 * function report(session: Session): void {
 *   const { counted, uncounted }: MissedRuns = session.missedRuns();
 *   console.log(`${counted} runs missed`);
 *   if (uncounted.length > 0) console.log('this kernel does not count all of them');
 * }
 * ```
 */
export interface MissedRuns {
  /** The missed runs that the kernel counts. */
  readonly counted: number;
  /**
   * The programs whose missed runs the kernel does not count, or not all of them: kprobes and classic
   * tracepoints before Linux 6.7, all programs before 5.12.
   */
  readonly uncounted: readonly Program[];
}

/**
 * A running tool: its maps, programs, rings and attachments.
 *
 * `Session.open` starts it. The caller owns the session and closes it, which detaches and frees everything;
 * so does the end of the process, even by SIGKILL. An open session keeps the process alive until `detach` or
 * `close`.
 * @example
 * ```ts
 * import { chars, getCurrentComm, perfEventArray, rawTracepoint, Session, struct, target } from 'tsbpf';
 *
 * const Exec = struct({ comm: chars(16) });
 * const events = perfEventArray('events', Exec);
 * const onExec = rawTracepoint('sched_process_exec', target(process.arch), (b) => {
 *   b.keep(b.context); // outlives the call of getCurrentComm
 *   const exec = b.stack(Exec);
 *   b.call(getCurrentComm, exec.comm);
 *   b.output(events, exec);
 * });
 *
 * const session = Session.open(
 *   { name: 'execs', programs: [onExec], events },
 *   { onEvent: ({ comm }) => console.log(comm) },
 * );
 * setTimeout(() => session.close(), 1000);
 * ```
 */
export class Session<E extends ToolEvents = ToolEvents> implements Closeable {
  /** The tool that runs. */
  readonly tool: Tool<E>;
  /** The kernel that the session runs on. */
  readonly kernel: Kernel;
  /** The optional programs that were skipped, because the kernel cannot attach them (`SymbolError`). */
  readonly skipped: readonly SkippedProgram[];
  readonly #resources: Resources;
  readonly #parts: Parts;
  #symbolizer: Symbolizer | undefined;

  private constructor(tool: Tool<E>, kernel: Kernel, resources: Resources, parts: Parts) {
    this.tool = tool;
    this.kernel = kernel;
    this.skipped = parts.skipped;
    this.#resources = resources;
    this.#parts = parts;
  }

  /**
   * Creates the maps, loads the programs, fills the program arrays, opens the rings, and attaches the
   * programs in the order of the tool. If any step fails, frees everything and throws; only optional programs
   * without a symbol are skipped. If the kernel lacks features that the tool needs, the error lists all of
   * them.
   *
   * The caller owns the session and closes it. A message ends with the source line of the program's
   * statement, or else of the call of `open`.
   * @throws {VerifierError} @throws {SymbolError} @throws {MissingFeaturesError}
   * @throws {UnsupportedError} @throws {LockdownError} @throws {NotPermittedError} @throws {NoTracefsError}
   * @throws {KernelError}
   * @throws {RangeError} if an event does not fit the rings. @throws {TypeError} if the tool has events and
   * not exactly one of `onEvent` and `onSample`, or if there is an option for events and the tool has none.
   */
  static open<E extends ToolEvents>(tool: Tool<E>, options: SessionOptions<E> = {}): Session<E> {
    const kernel = options.kernel ?? new Kernel();
    return reportAtCaller(() =>
      allOrNothing((resources) => {
        requireDeclared(kernel, tool);
        try {
          const parts = openParts(tool, kernel, options, resources);
          return new Session(tool, kernel, resources, parts);
        } catch (error) {
          throw missingFeatures(kernel, tool, error) ?? error;
        }
      }),
    );
  }

  /**
   * Returns the open map of a spec. The session closes it. @throws {RangeError} if the tool does not use the
   * map.
   */
  map<M extends MapSpec>(spec: M): BpfMap<M> {
    const map = this.#parts.maps.get(spec);
    if (!map)
      throw withSourcePosition(
        new RangeError(
          `the tool ${this.tool.name} does not use the map '${spec.name}'; add it to the tool's maps, or use it in a program`,
        ),
      );
    return map as unknown as BpfMap<M>;
  }

  /**
   * Returns the frames of a stack, innermost first, by its number in a `stackTrace` map (`b.stackId`).
   * Undefined if the map has no such stack, also for a negative number, which says why there is none.
   *
   * `pid` is the process of a user stack (`b.stackId` with `user`); without it the stack is the kernel's.
   * Each call reads the mappings of the process. For many stacks of one process, use `Symbolizer`.
   * @throws {RangeError} if the tool does not use the map. @throws {KernelError} @throws {ClosedError}
   * @example
   * ```ts
   * import { frameText, type Session, type StackTraceSpec } from 'tsbpf';
   *
   * function print(session: Session, stacks: StackTraceSpec, id: number, pid?: number): void {
   *   for (const frame of session.stack(stacks, id, { pid }) ?? []) console.log(frameText(frame));
   * }
   * console.log(print.length);
   * ```
   */
  stack(
    map: StackTraceSpec,
    id: number,
    { pid }: { readonly pid?: number | undefined } = {},
  ): StackFrame[] | undefined {
    const addresses = this.map(map).stack(id);
    if (addresses === undefined) return undefined;
    this.#symbolizer ??= new Symbolizer(this.kernel);
    return pid === undefined
      ? this.#symbolizer.kernelFrames(addresses)
      : this.#symbolizer.process(pid).frames(addresses);
  }

  /** Returns the slots of a program array. @throws {RangeError} if the tool does not use the array. */
  programArray<N extends string>(spec: ProgramArraySpec<N>): ProgramArray<N> {
    return new ProgramArray(this.kernel, this.map(spec));
  }

  /**
   * Loads another program with the tool's maps without attaching it, for a slot of a program array. The
   * session closes it. Throws the errors of `open`.
   */
  load(spec: ProgramSpec): Program {
    return reportAtCaller(() => this.#resources.add(this.#parts.load(spec)));
  }

  /** The attached programs. The session closes them. */
  get programs(): readonly Program[] {
    return [...this.#parts.attached.keys()];
  }

  /**
   * The links of the attached programs, in the same order. The session closes them. `multi` of a link has the
   * functions of a kprobe.multi program.
   */
  get links(): readonly Link[] {
    return [...this.#parts.attached.values()];
  }

  /**
   * The number of events lost so far because a ring was full. The kernel reports a loss with the next event,
   * or in `detach`.
   */
  get lost(): number {
    return this.#parts.reader.lost;
  }

  /**
   * The number of events so far that were delivered after one with a later time. Events come in the order of
   * their times, but a program that is interrupted before the output can send one too late for it.
   */
  get outOfOrder(): number {
    return this.#parts.reader.outOfOrder ?? 0;
  }

  /**
   * Returns the number of program runs that the kernel skipped until now or until `detach()`: the CPU was
   * running another program or handling another probe, or there were more concurrent calls than a kretprobe
   * can track.
   * @throws {ClosedError} after `close()`. @throws {KernelError}
   */
  missedRuns(): MissedRuns {
    let counted = 0;
    const uncounted: Program[] = [];
    for (const [program, link] of this.#parts.attached) {
      const { recursionMisses } = program.info();
      const missedHits = link.missedHits();
      counted += (recursionMisses ?? 0) + (missedHits ?? 0);
      if (recursionMisses === undefined || missedHits === undefined) uncounted.push(program);
    }
    return { counted, uncounted };
  }

  /**
   * Detaches the programs and delivers every event that is still in the rings. Maps and counts can be read
   * until `close()`. Without `onError`, it throws the exceptions of handlers at the end: a single one as it
   * is, several as an `AggregateError`.
   */
  detach(): void {
    const { links, reader } = this.#parts;
    const parts = new Resources();
    parts.add(reader);
    parts.add(links);
    parts.close();
  }

  /**
   * Calls `detach` and closes the programs and maps. Throws the errors of `detach` after everything is
   * closed.
   */
  close(): void {
    this.#resources.close();
  }

  /** Calls `close`, at the end of a `using` declaration's block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Reads the rings, if the tool has events, and calls `onTick`. */
interface Reader extends Closeable {
  readonly lost: number;
  /** Undefined if events cannot be out of order. */
  readonly outOfOrder?: number;
}

interface Parts {
  readonly maps: ReadonlyMap<MapSpec, BpfMap>;
  readonly attached: ReadonlyMap<Program, Link>;
  readonly reader: Reader;
  readonly links: Resources;
  readonly skipped: readonly SkippedProgram[];
  readonly load: (spec: ProgramSpec) => Program;
}

function openParts<E extends ToolEvents>(
  tool: Tool<E>,
  kernel: Kernel,
  options: SessionOptions<E>,
  resources: Resources,
): Parts {
  checkHandlers(tool, options);
  const maps = new Map<MapSpec, BpfMap>();
  const { tailCalled = [] } = tool;
  for (const spec of mapsOf(tool))
    maps.set(spec, resources.add(BpfMap.create(kernel, spec, { debug: options.debug, maps })));
  const skipped: SkippedProgram[] = [];
  const load = (spec: ProgramSpec): Program =>
    loadProgram(kernel, spec, spec.assembled ?? assemble(spec.instructions), maps, options);
  const loaded = new Map<ProgramSpec, Program>();
  const loadOnce = (spec: ProgramSpec): Program => {
    const program = loaded.get(spec) ?? resources.add(load(spec));
    loaded.set(spec, program);
    return program;
  };
  checkTailCalled(tailCalled, tool.programs);
  for (const spec of tool.programs) orSkip(kernel, spec, skipped, () => loadOnce(spec));
  // Before any program is attached, so that no tail call finds an empty slot.
  for (const { array, slot, program } of tailCalledSlots(tailCalled))
    orSkip(kernel, program, skipped, () =>
      new ProgramArray(kernel, maps.get(array) as BpfMap<ProgramArraySpec>).update(slot, loadOnce(program)),
    );
  const reader = resources.add(openReaders(tool.events, kernel, maps, options));
  const links = resources.add(new Resources());
  const attached = new Map<Program, Link>();
  for (const spec of tool.programs) {
    const program = loaded.get(spec);
    if (!program) continue;
    const runs = orSkip(kernel, spec, skipped, () => {
      attached.set(program, links.add(attach(kernel, program)));
    });
    if (!runs) program.close();
  }
  return { maps, attached, reader, links, skipped, load };
}

/**
 * Runs `work`, or adds an optional program without a symbol to `skipped`. Returns whether `work` succeeded.
 */
function orSkip(kernel: Kernel, program: ProgramSpec, skipped: SkippedProgram[], work: () => void): boolean {
  try {
    work();
    return true;
  } catch (reason) {
    if (!(reason instanceof SymbolError)) throw reason;
    if (!program.optional) throw withSuggestions(kernel, program, reason);
    skipped.push({ program, reason });
    return false;
  }
}

/** Adds similar names to the message. */
function withSuggestions(kernel: Kernel, { attachment }: ProgramSpec, reason: SymbolError): Error {
  if (!(reason instanceof NoSuchSymbolError)) return reason;
  const similar = listNearest(similarSymbols(kernel, attachment));
  return similar
    ? new NoSuchSymbolError(reason.symbol, { ...reason, hint: `${reason.hint}${similar}` })
    : reason;
}

/** The options that need events, or a kind of events map. */
const NEEDS = [
  {
    options: ['onEvent', 'onSample', 'onLost'],
    needs: isEvents,
    lacks: 'events',
    remedy: "set the tool's events to a perf event array or a ring buffer",
  },
  {
    options: ['onCpus', 'wakeup', 'pagesPerCpu'],
    needs: isPerfEventArray,
    lacks: 'events in a perf event array',
    remedy: 'set bytes of ringBuffer(), or flags of b.output, for a ring buffer',
  },
  {
    options: ['flushMs'],
    needs: isRingBuffer,
    lacks: 'events in a ring buffer',
    remedy: 'use wakeup: { flushMs } for perf rings',
  },
] as const;

function checkHandlers<E extends ToolEvents>({ name, events }: Tool<E>, options: SessionOptions<E>): void {
  const maps = eventsMapsOf(events);
  for (const each of maps)
    if (!isEvents(each.map))
      throw new TypeError(
        `the events of the tool ${name} are neither a perf event array nor a ring buffer: pass maps made by perfEventArray or ringBuffer`,
      );
  for (const { options: names, needs, lacks, remedy } of NEEDS) {
    const unused = names.find((option) => options[option] !== undefined);
    if (unused && !maps.some(({ map }) => needs(map)))
      throw new TypeError(
        `the tool ${name} has no ${lacks}, so ${unused} has no effect; ${remedy}, or remove ${unused}`,
      );
  }
  for (const each of maps) {
    const [onEvent, onSample] = [options.onEvent, options.onSample].map((on) => handlerOf(on, each.name));
    if (!onEvent !== !onSample) continue;
    const events = each.name === undefined ? 'events' : `events '${each.name}'`;
    const handler = each.name === undefined ? 'onEvent' : `onEvent: { ${each.name}: (event) => ... }`;
    throw new TypeError(
      onEvent
        ? `the tool ${name} cannot have two handlers of its ${events}; pass onEvent or onSample to Session.open`
        : `the tool ${name} has ${events}, but no handler for them; pass ${handler} to Session.open`,
    );
  }
}

/** The handler of the events map of that name. A tool with a single map has no name for it. */
function handlerOf(handlers: unknown, name: string | undefined): EventHandler<EventsSpec> | undefined {
  const handler =
    name === undefined ? handlers : (handlers as Readonly<Record<string, unknown>> | undefined)?.[name];
  return typeof handler === 'function' ? (handler as EventHandler<EventsSpec>) : undefined;
}

/** Reads an event of `size` bytes at `offset`, and calls its handler. */
type Deliver = (view: DataView, offset: number, size: number, cpu: number | undefined) => void;

function deliveryTo<E extends ToolEvents>(
  { onEvent, onSample }: SessionOptions<E>,
  name: string | undefined,
  map: EventsSpec,
): Deliver {
  const inPlace = handlerOf(onSample, name);
  const handle = inPlace ?? (handlerOf(onEvent, name) as EventHandler<EventsSpec>);
  const read = eventReader(map, inPlace !== undefined);
  return (view, offset, size, cpu) => handle(read(view, offset, size), cpu);
}

/** Opens a reader for each events map. The first one calls `onTick`, or a timer if there is none. */
function openReaders<E extends ToolEvents>(
  events: E | undefined,
  kernel: Kernel,
  maps: ReadonlyMap<MapSpec, BpfMap>,
  options: SessionOptions<E>,
): Reader {
  const all = eventsMapsOf(events);
  if (all.length === 0) return everySecond(options);
  return allOrNothing((resources) => {
    let { onTick, onCpus } = options;
    const readers = all.map(({ name, map }): Reader => {
      const each = {
        ...options,
        ...{ onTick, onCpus, deliver: deliveryTo(options, name, map) },
        onLost: options.onLost as MapOptions['onLost'],
      };
      onTick = undefined;
      if (isRingBuffer(map)) return resources.add(openRingBuffer(map, kernel, maps, each));
      onCpus = undefined;
      return resources.add(openPerfBuffer(map, kernel, maps, each));
    });
    return {
      get lost() {
        return readers.reduce((sum, { lost }) => sum + lost, 0);
      },
      get outOfOrder() {
        return readers.reduce((sum, { outOfOrder = 0 }) => sum + outOfOrder, 0);
      },
      close: () => resources.close(),
    };
  });
}

/** Calls `onTick` for tools without events. For the others the timer of the rings does. */
function everySecond({ onTick, onError }: Pick<SessionOptions<ToolEvents>, 'onTick' | 'onError'>): Reader {
  const timer = setInterval(guarded(onTick, reportLater(onError)), TICK_MS);
  return { lost: 0, close: () => clearInterval(timer) };
}

/** The options of a session for one events map. */
type MapOptions = Omit<SessionOptions<EventsSpec>, 'onEvent' | 'onSample'> & { readonly deliver: Deliver };

function openPerfBuffer(
  events: PerfEventArraySpec,
  kernel: Kernel,
  maps: ReadonlyMap<MapSpec, BpfMap>,
  { deliver, onLost, onError, onCpus, onTick, wakeup, pagesPerCpu = DEFAULT_PAGES }: MapOptions,
): PerfBuffer {
  return PerfBuffer.open(kernel, maps.get(events) as BpfMap, {
    pagesPerCpu,
    wakeup,
    sampleBytes: Math.max(...schemasOf(events).map((schema) => layoutOf(schema).size)),
    timestamp: events.timestamp,
    onSample: deliver,
    onLost: onLost && ((count, cpu) => onLost(count, cpu, events.name)),
    onError,
    onCpus,
    onTick,
  });
}

function openRingBuffer(
  events: RingBufferSpec,
  kernel: Kernel,
  maps: ReadonlyMap<MapSpec, BpfMap>,
  { deliver, onLost, onError, onTick, flushMs }: MapOptions,
): RingBuffer {
  return RingBuffer.open(kernel, maps.get(events) as BpfMap, {
    lost: maps.get(events.lost) as BpfMap<typeof events.lost> | undefined,
    flushMs,
    onSample: (view, offset, size) => deliver(view, offset, size, undefined),
    onLost: onLost && ((count) => onLost(count, undefined, events.name)),
    onError,
    onTick,
  });
}
