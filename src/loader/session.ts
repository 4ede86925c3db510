/** A tool running: its maps, programs, rings and links, owned together. */
import type { Static, TSchema } from '@sinclair/typebox';
import { assemble } from '../asm/assemble.ts';
import { reportAtCaller, withSourcePosition } from '../asm/error-position.ts';
import { layoutOf, valueDecoder } from '../asm/layout.ts';
import { type EventsSpec, isEvents, type MapSpec, type ProgramArraySpec } from '../asm/map.ts';
import { listNearest } from '../asm/nearest.ts';
import type { Locate } from '../asm/position.ts';
import type { ProgramSpec, Tool } from '../asm/program.ts';
import { mapsOf, tailCalledSlots } from '../asm/tool-parts.ts';
import { NoSuchSymbolError } from './errors.ts';
import { guarded, reportLater } from './handlers.ts';
import { similarSymbols } from './kallsyms.ts';
import { Kernel } from './kernel.ts';
import { attach, type Link } from './link.ts';
import { loadProgram } from './load.ts';
import { BpfMap } from './map.ts';
import type { CpuChange, Wakeup } from './perf-buffer/options.ts';
import type { LostHandler } from './perf-buffer/perf-ring.ts';
import { PerfBuffer } from './perf-buffer.ts';
import type { Program } from './program.ts';
import { checkTailCalled, ProgramArray } from './program-array.ts';
import { allOrNothing, type Closeable, Resources } from './resources.ts';

/** Pages of a ring where nothing else is asked for: 256 KiB with pages of 4 KiB, as the peers have. */
export const DEFAULT_PAGES = 64;

/** How to run a tool, and who gets its events. Handlers are called from the event loop and in `close`, never in `open`. */
export interface SessionOptions<E extends TSchema> {
  /** The running kernel if not given. */
  readonly kernel?: Kernel;
  /** Pages of memory of each CPU's ring, a power of two; 64 if not given. */
  readonly pagesPerCpu?: number;
  /**
   * Whether the kernel is told the shapes of maps and the lines of programs, where it takes them: `bpftool map dump` and `bpftool prog
   * dump` show those.
   */
  readonly debug?: boolean;
  /** Reads positions, for that and for errors; from the source files themselves if not given. */
  readonly locate?: Locate;
  /** Each event by itself if not given. */
  readonly wakeup?: Wakeup;
  /** Gets the events. A tool that has some asks for it, and one that has none has nothing for it. */
  readonly onEvent?: (event: Static<E>, cpu: number) => void;
  /** Events that found a ring full. */
  readonly onLost?: LostHandler;
  /**
   * Gets the exceptions of all handlers and the errors of reading; reading continues with the next event.
   * Without `onError`, or if it throws, the error is thrown: by `close` and `detach` after they have
   * delivered every event, otherwise from the event loop (`uncaughtException`).
   */
  readonly onError?: (error: unknown) => void;
  /** CPUs came or went while tracing: see `CpuChange`. */
  readonly onCpus?: (change: CpuChange) => void;
  /** Called once a second. */
  readonly onTick?: () => void;
}

/** An optional program that isn't running, and why. */
export interface SkippedProgram {
  readonly program: ProgramSpec;
  readonly reason: NoSuchSymbolError;
}

/** Runs of programs that the kernel left out. */
export interface MissedRuns {
  /** As far as it counts them. */
  readonly counted: number;
  /** The programs of which it doesn't, or not of all: kprobes and classic tracepoints before Linux 6.7, all programs before 5.12. */
  readonly uncounted: readonly Program[];
}

/** A running tool. Closing it, like the end of the process, detaches everything. Keeps the process alive until it is closed or detached. */
export class Session<E extends TSchema = TSchema> implements Closeable {
  readonly tool: Tool<E>;
  readonly kernel: Kernel;
  /** The optional programs that the kernel has nothing to attach to for. */
  readonly skipped: readonly SkippedProgram[];
  readonly #resources: Resources;
  readonly #parts: Parts;

  private constructor(tool: Tool<E>, kernel: Kernel, resources: Resources, parts: Parts) {
    this.tool = tool;
    this.kernel = kernel;
    this.skipped = parts.skipped;
    this.#resources = resources;
    this.#parts = parts;
  }

  /**
   * Creates the maps, loads the programs, fills program arrays, opens the rings, and attaches in the order of the tool. Either all of it runs (but for
   * optional programs without a symbol), or nothing is left behind. The caller owns the result. What it throws says from which line it
   * was called, where it isn't about another line of the tool.
   * @throws {VerifierError} @throws {NoSuchSymbolError} @throws {UnsupportedError} @throws {NotPermittedError} @throws {KernelError}
   * @throws {RangeError} where an event doesn't fit the rings. @throws {TypeError} where the tool has events and nobody gets them, or none and
   * somebody waits for them.
   */
  static open<E extends TSchema>(tool: Tool<E>, options: SessionOptions<E> = {}): Session<E> {
    const kernel = options.kernel ?? new Kernel();
    return reportAtCaller(() =>
      allOrNothing((resources) => {
        const parts = openParts(tool, kernel, options, resources);
        return new Session(tool, kernel, resources, parts);
      }),
    );
  }

  /** The running map of a spec. @throws {RangeError} where the tool has no such map. */
  map<M extends MapSpec>(spec: M): BpfMap<M> {
    const map = this.#parts.maps.get(spec);
    if (!map)
      throw withSourcePosition(new RangeError(`the tool ${this.tool.name} has no map '${spec.name}'`));
    return map as unknown as BpfMap<M>;
  }

  /** The slots of a program array of the tool's. @throws {RangeError} where the tool has no such map. */
  programArray<N extends string>(spec: ProgramArraySpec<N>): ProgramArray<N> {
    return new ProgramArray(this.kernel, this.map(spec));
  }

  /**
   * Loads one more program with the tool's maps, attached to nothing: for a slot of a program array. It is closed with the session.
   * @throws as `open` does.
   */
  load(spec: ProgramSpec): Program {
    return reportAtCaller(() => this.#resources.add(this.#parts.load(spec)));
  }

  /** The programs that are attached. */
  get programs(): readonly Program[] {
    return [...this.#parts.attached.keys()];
  }

  /** Events that found a ring full, as far as they have been reported. */
  get lost(): number {
    return this.#parts.reader.lost;
  }

  /**
   * Runs that the kernel left out until now or until `detach()`, since it was busy with another program or probe on that CPU, or with
   * more calls at once than a kretprobe follows. @throws {KernelError}
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
   * until `close()`.
   * @throws the exceptions of handlers, at the end, if there is no `onError`: one as it is, several as an
   * `AggregateError`.
   */
  detach(): void {
    const { links, reader } = this.#parts;
    const parts = new Resources();
    parts.add(reader);
    parts.add(links);
    parts.close();
  }

  /**
   * Detaches, as `detach` does, and frees the rest. @throws as `detach` does, after it has freed everything.
   */
  close(): void {
    this.#resources.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** What reads the rings, where there are some, and tells the turn of seconds. */
interface Reader extends Closeable {
  readonly lost: number;
}

interface Parts {
  readonly maps: ReadonlyMap<MapSpec, BpfMap>;
  readonly attached: ReadonlyMap<Program, Link>;
  readonly reader: Reader;
  readonly links: Resources;
  readonly skipped: readonly SkippedProgram[];
  readonly load: (spec: ProgramSpec) => Program;
}

function openParts<E extends TSchema>(
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
    loadProgram(kernel, spec, assemble(spec.instructions), maps, options);
  const loaded = new Map<ProgramSpec, Program>();
  const loadOnce = (spec: ProgramSpec): Program => {
    const program = loaded.get(spec) ?? resources.add(load(spec));
    loaded.set(spec, program);
    return program;
  };
  checkTailCalled(tailCalled, tool.programs);
  for (const spec of tool.programs) orSkip(kernel, spec, skipped, () => loadOnce(spec));
  // Before anything is attached, so that nobody finds a slot empty that isn't to be.
  for (const { array, slot, program } of tailCalledSlots(tailCalled))
    orSkip(kernel, program, skipped, () =>
      new ProgramArray(kernel, maps.get(array) as BpfMap<ProgramArraySpec>).update(slot, loadOnce(program)),
    );
  const reader = resources.add(
    tool.events ? openBuffer(tool.events, kernel, maps, options) : everySecond(options),
  );
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

/** Whether `work` was done; an optional program that there is no symbol for is noted as left out instead. */
function orSkip(kernel: Kernel, program: ProgramSpec, skipped: SkippedProgram[], work: () => void): boolean {
  try {
    work();
    return true;
  } catch (reason) {
    if (!(reason instanceof NoSuchSymbolError)) throw reason;
    if (!program.optional) throw withNamesLike(kernel, program, reason);
    skipped.push({ program, reason });
    return false;
  }
}

/** The error that says what its author may have meant. */
function withNamesLike(kernel: Kernel, { attachment }: ProgramSpec, reason: NoSuchSymbolError): Error {
  const near = listNearest(similarSymbols(kernel, attachment));
  return near ? new NoSuchSymbolError(reason.symbol, { ...reason, hint: `${reason.hint}${near}` }) : reason;
}

/** What only rings have a use for. */
const OF_RINGS = ['onEvent', 'onLost', 'onCpus', 'wakeup', 'pagesPerCpu'] as const;

function checkHandlers<E extends TSchema>({ name, events }: Tool<E>, options: SessionOptions<E>): void {
  if (events && !isEvents(events))
    throw new TypeError(
      `the events of the tool ${name} are not a perf event array: pass one, made by perfEventArray(name, schema)`,
    );
  if (events && !options.onEvent)
    throw new TypeError(`the tool ${name} has events, and nobody gets them: pass onEvent to Session.open`);
  const vain = OF_RINGS.find((option) => options[option] !== undefined);
  if (!events && vain)
    throw new TypeError(
      `the tool ${name} has no events, so ${vain} is of no use: pass their map in its 'events', or leave ${vain} out`,
    );
}

/** In the place of rings, whose timer does the same. */
function everySecond({ onTick, onError }: Pick<SessionOptions<TSchema>, 'onTick' | 'onError'>): Reader {
  const timer = setInterval(guarded(onTick, reportLater(onError)), 1000);
  return { lost: 0, close: () => clearInterval(timer) };
}

function openBuffer<E extends TSchema>(
  events: EventsSpec<E>,
  kernel: Kernel,
  maps: ReadonlyMap<MapSpec, BpfMap>,
  options: SessionOptions<E>,
): PerfBuffer {
  const decode = valueDecoder(events.event);
  const bytes = layoutOf(events.event).size;
  const { onEvent, onLost, onError, onCpus, onTick, wakeup, pagesPerCpu = DEFAULT_PAGES } = options;
  return PerfBuffer.open(kernel, maps.get(events) as BpfMap, {
    pagesPerCpu,
    wakeup,
    sampleBytes: bytes,
    onSample(view, offset, size, cpu) {
      if (size < bytes) throw new RangeError(`an event of ${size} bytes in the place of ${bytes}`);
      onEvent?.(decode(view, offset), cpu);
    },
    onLost,
    onError,
    onCpus,
    onTick,
  });
}
