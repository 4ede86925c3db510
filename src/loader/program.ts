/**
 * Programs in the kernel.
 *
 * Source: man 2 bpf, kernel/bpf/syscall.c (`bpf_prog_load`).
 */
import type { Assembled } from '../asm/assemble.ts';
import { blame } from '../asm/blame.ts';
import { textOf } from '../asm/disassemble.ts';
import { formOf } from '../asm/isa.ts';
import type { MapSpec } from '../asm/map.ts';
import type { Locate } from '../asm/position.ts';
import type { Attachment, ProgramSpec } from '../asm/program.ts';
import { Attr, Command, Descriptor, inPlace } from './bpf.ts';
import { Errno } from './errno.ts';
import {
  type KernelError,
  NoSuchSymbolError,
  UnsupportedError,
  UnsupportedInstructionError,
  VerifierError,
} from './errors.ts';
import type { Kernel } from './kernel.ts';
import { unknownInstruction } from './load/instruction-probe.ts';
import { openTables } from './load/jump-tables.ts';
import { explained, loadLogged, withTypesOf } from './load/log.ts';
import { buildAttr, PLAIN, programTypes, type Request, send, type Variant } from './load/request.ts';
import type { BpfMap } from './map.ts';
import { objectInfo } from './object-info.ts';
import { refused } from './permission.ts';
import { type Closeable, Resources } from './resources.ts';
import { sourceReader } from './source.ts';

/** What the kernel says about a loaded program (`struct bpf_prog_info`). */
export interface ProgramInfo {
  /** As in `bpftool prog show id ...`. */
  readonly id: number;
  /**
   * Runs left out since another program was running on that CPU; undefined before Linux 5.12. Those of kprobes and classic tracepoints
   * are counted from 6.7 on, and a kprobe may be missed before its program is reached: see `Link.missedHits`.
   */
  readonly recursionMisses: number | undefined;
  /** Runs, and the ns that they took together, while `measureRuns` held; 0 before Linux 5.1. */
  readonly runs: number;
  readonly runNs: number;
}

/**
 * Lets the kernel measure the runs of all programs, until the result is closed (Linux 5.8). That costs each run some 20 ns.
 * @throws {NotPermittedError} @throws {KernelError}
 */
export function measureRuns(kernel: Kernel): Descriptor {
  const RUN_TIME = 0;
  const result = new Attr(kernel.syscalls, 4).u32(0, RUN_TIME).send(Command.enableStats);
  if (result >= 0) return new Descriptor(kernel.syscalls, result);
  throw refused(kernel, {
    syscall: 'bpf(BPF_ENABLE_STATS)',
    errno: -result,
    tried: 'measure the runs of programs',
  });
}

/** A loaded program. It is gone when it and its links are closed. */
export class Program implements Closeable {
  readonly spec: ProgramSpec;
  readonly #kernel: Kernel;
  readonly #descriptor: Descriptor;

  /** Takes over `fd`. */
  constructor(kernel: Kernel, spec: ProgramSpec, fd: number) {
    this.spec = spec;
    this.#kernel = kernel;
    this.#descriptor = new Descriptor(kernel.syscalls, fd);
  }

  /** The descriptor, which stays owned by this object. @throws after `close()`. */
  get fd(): number {
    return this.#descriptor.fd;
  }

  /** Asks the kernel. @throws {KernelError} */
  info(): ProgramInfo {
    const [ID, RUN_NS, RUNS, MISSES, size] = [4, 192, 200, 208, 216];
    const what = `the program '${this.spec.name}'`;
    const { view, known } = objectInfo(this.#kernel, this.fd, size, undefined, what);
    return {
      id: view.getUint32(ID, true),
      recursionMisses: known >= size ? Number(view.getBigUint64(MISSES, true)) : undefined,
      runs: Number(view.getBigUint64(RUNS, true)),
      runNs: Number(view.getBigUint64(RUN_NS, true)),
    };
  }

  /**
   * Runs it once with that context, and nothing attached: for tests of raw tracepoint programs (Linux 5.10), whose context is
   * their arguments, 8 bytes each. The result is what the program returned, as 32 bits.
   * @throws {KernelError}
   */
  run(context: Uint8Array): number {
    const [FD, RESULT, CONTEXT_SIZE, CONTEXT] = [0, 4, 40, 48];
    const input = inPlace(context);
    const attr = new Attr(this.#kernel.syscalls, 64)
      .u32(FD, this.fd)
      .u32(CONTEXT_SIZE, input.length)
      .pointer(CONTEXT, input);
    const result = attr.send(Command.progTestRun);
    if (result < 0)
      throw refused(this.#kernel, {
        syscall: 'bpf(BPF_PROG_TEST_RUN)',
        errno: -result,
        tried: `run the program '${this.spec.name}'`,
      });
    return attr.getU32(RESULT);
  }

  close(): void {
    this.#descriptor.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** How a program is loaded. */
export interface LoadOptions {
  /** Whether the kernel is told the names of functions and the author's lines, where it takes them: bpftool shows those. */
  readonly debug?: boolean;
  /** Reads positions; from the source files themselves if not given. */
  readonly locate?: Locate;
}

/**
 * Loads a program, with the descriptors of its maps put in. The caller owns the result.
 *
 * The verifier's log is off at first, since it costs several times the check itself, and asked for when the program was refused, with
 * the author's lines in it.
 * @throws {VerifierError} where the verifier refused it. @throws {UnsupportedInstructionError} where that was for an instruction
 * that this kernel doesn't know. @throws {NoSuchSymbolError} where it is an fentry or fexit of a function that
 * can't be traced so. @throws {NotPermittedError} @throws {KernelError}
 */
export function loadProgram(
  kernel: Kernel,
  spec: ProgramSpec,
  assembled: Assembled,
  maps: ReadonlyMap<MapSpec, BpfMap>,
  { debug = false, locate = sourceReader(kernel.syscalls) }: LoadOptions = {},
): Program {
  if (isCalledByFunction(spec.attachment) && spec.attachment.btfId === undefined)
    throw noSuchFunction(spec.name, spec.attachment.symbol, Errno.ENOENT, "isn't among the kernel's types");
  const resources = new Resources();
  try {
    const tables = tablesOf(kernel, spec, assembled, resources);
    const bytes = withMaps(spec, assembled, maps, tables);
    const request = { kernel, spec, assembled, bytes, locate };
    // The kernel takes for a callback only what types say is a function (Linux 5.13).
    const typed = loadsFunction(assembled)
      ? withTypesOf(request, (types) => loadAs({ ...request, types }, debug))
      : undefined;
    return typed ?? loadAs(request, debug);
  } finally {
    resources.close();
  }
}

function loadsFunction({ instructions }: Assembled): boolean {
  return instructions.some(({ instruction }) => formOf(instruction)?.name === 'loadFunction');
}

/** Its jump tables. What a kernel lacks that has none is the instruction that goes through them. */
function tablesOf(
  kernel: Kernel,
  spec: ProgramSpec,
  assembled: Assembled,
  resources: Resources,
): ReadonlyMap<number, BpfMap> {
  try {
    return openTables(kernel, assembled, resources);
  } catch (error) {
    throw (error instanceof UnsupportedError && lackOfInstruction(kernel, spec, assembled)) || error;
  }
}

/** Loads it, one way or another. */
function loadAs(request: Request, debug: boolean): Program {
  const { kernel, spec, assembled } = request;
  const described = debug
    ? withTypesOf(request, (types) => send(kernel, buildAttr(request, PLAIN, { types })))
    : undefined;
  if (described !== undefined && described >= 0) return new Program(kernel, spec, described);
  let failure: KernelError | undefined;
  for (const variant of variants(kernel, spec)) {
    const result = loadVariant(request, variant);
    if (typeof result === 'number') return new Program(kernel, spec, result);
    // The verifier has spoken, or this isn't about what the kernel knows of attributes.
    if (result instanceof VerifierError) throw lackOfInstruction(kernel, spec, assembled) ?? result;
    if (result.errno !== Errno.E2BIG && result.errno !== Errno.EINVAL) throw result;
    failure ??= result;
  }
  throw failure ?? new Error(`the program '${spec.name}' was not tried`);
}

/** Why a program was refused, if it is for an instruction that this kernel doesn't know yet. */
function lackOfInstruction(
  kernel: Kernel,
  { name }: ProgramSpec,
  assembled: Assembled,
): UnsupportedInstructionError | undefined {
  const unknown = unknownInstruction(kernel, assembled);
  if (unknown === undefined) return undefined;
  const { placed, form } = unknown;
  return new UnsupportedInstructionError(name, placed, textOf(placed.instruction), form.since);
}

function variants(kernel: Kernel, { attachment }: ProgramSpec): Variant[] {
  const plain = [PLAIN, { name: false, kernelVersion: 0 }];
  if (programTypes[attachment.kind] !== programTypes.kprobe) return plain;
  const kernelVersion = versionCode(kernel.release);
  return [...plain, { name: true, kernelVersion }, { name: false, kernelVersion }];
}

/** `KERNEL_VERSION(a, b, c)`, which kprobe programs had to name before Linux 5.0. */
function versionCode(release: string): number {
  const [, major = '0', minor = '0', patch = '0'] = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(release) ?? [];
  return (Number(major) << 16) | (Number(minor) << 8) | Math.min(Number(patch), 255);
}

/** The descriptor, or why not. */
function loadVariant(request: Request, variant: Variant): number | KernelError {
  const { kernel, spec } = request;
  const quick = send(kernel, buildAttr(request, variant));
  if (quick >= 0) return quick;
  const logged = loadLogged(request, variant);
  if (logged.result >= 0) return logged.result;
  // A log that is too large for its buffer hides what the verifier answered.
  const errno = logged.wanted > 0 ? -quick : -logged.result;
  const { attachment } = spec;
  const calledByFunction = isCalledByFunction(attachment);
  if (calledByFunction && logged.result === -Errno.ENOENT)
    return noSuchFunction(spec.name, attachment.symbol, Errno.ENOENT, 'has no address');
  if (calledByFunction && isAboutFunction(logged.log, attachment.symbol))
    return noSuchFunction(
      spec.name,
      attachment.symbol,
      -logged.result,
      "is one that programs aren't called from",
    );
  if (logged.log !== '') return explained(request, variant, errno, logged);
  return refused(kernel, {
    syscall: 'bpf(BPF_PROG_LOAD)',
    errno: -logged.result,
    tried: `load the program '${spec.name}'`,
    hint: loadHint(spec, -logged.result),
  });
}

/** What a kernel function itself calls, at its entry or its return, known by BTF. */
export type FunctionAttachment = Extract<Attachment, { kind: 'fentry' | 'fexit' }>;

export function isCalledByFunction(attachment: Attachment): attachment is FunctionAttachment {
  return attachment.kind === 'fentry' || attachment.kind === 'fexit';
}

/** Whether the verifier refused the function, by its name (Linux 7) or without a word, before it looked at any instruction. */
function isAboutFunction(log: string, symbol: string): boolean {
  const named = [`unction ${symbol} `, `unction '${symbol}'`].some((name) => log.includes(name));
  return /^processed 0 insns/.test(log) || (named && /^processed 0 insns/m.test(log));
}

/** For a function that programs can't be called from. `fault` says what it lacks. */
function noSuchFunction(program: string, symbol: string, errno: number, fault: string): NoSuchSymbolError {
  return new NoSuchSymbolError(symbol, {
    syscall: 'bpf(BPF_PROG_LOAD)',
    errno,
    tried: `load the program '${program}' for the kernel function ${symbol}`,
    hint: `it ${fault}; it may be inlined, in a module, or renamed: see /proc/kallsyms`,
  });
}

function loadHint({ attachment }: ProgramSpec, errno: number): string | undefined {
  if (errno === Errno.EINVAL) return `this kernel may not know programs of the kind ${attachment.kind}`;
  if (errno === Errno.E2BIG) return 'it has more instructions than this kernel takes';
  return undefined;
}

/** The program's bytes with descriptors in the place of maps. */
function withMaps(
  spec: ProgramSpec,
  { bytes, references }: Assembled,
  maps: ReadonlyMap<MapSpec, BpfMap>,
  tables: ReadonlyMap<number, BpfMap>,
): Uint8Array {
  const patched = inPlace(bytes);
  const view = new DataView(patched.buffer);
  for (const { slot, map } of references) {
    const opened = tables.get(slot) ?? maps.get(map);
    if (!opened)
      throw blame(
        new RangeError(`program '${spec.name}' uses the map '${map.name}', which the tool doesn't list`),
      );
    // The immediate of the first slot of lddw; that of the second, the offset into a map's value, is the assembler's.
    view.setInt32(slot * 8 + 4, opened.fd, true);
  }
  return patched;
}
