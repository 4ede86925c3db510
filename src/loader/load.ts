/**
 * Loading programs: fields that an old kernel does not know are omitted, and refusals are explained.
 *
 * Source: man 2 bpf, kernel/bpf/syscall.c (`bpf_prog_load`).
 */
import type { Assembled } from '../asm/assemble.ts';
import { instructionText } from '../asm/disassemble.ts';
import { withSourcePosition } from '../asm/error-position.ts';
import { parseFunctionName } from '../asm/function-name.ts';
import type { MapSpec } from '../asm/map.ts';
import { checkObjectName } from '../asm/object-name.ts';
import type { Locate } from '../asm/position.ts';
import type { ProgramSpec } from '../asm/program.ts';
import { PROGRAM_TYPES } from '../asm/program-types.ts';
import { allocateCopy, type Descriptor } from './bpf.ts';
import { Errno } from './errno.ts';
import {
  type KernelError,
  LockdownError,
  UnsupportedError,
  UnsupportedInstructionError,
  VerifierError,
} from './errors.ts';
import type { Kernel } from './kernel.ts';
import type { KernelFacts } from './kernel-facts.ts';
import { isAboutFunction, isCalledByFunction, noSuchFunction } from './load/function.ts';
import { unknownInstruction } from './load/instruction-probe.ts';
import { openTables } from './load/jump-tables.ts';
import { loadLogged, verifierError, withBtf } from './load/log.ts';
import { openModuleBtf } from './load/module-btf.ts';
import {
  buildAttr,
  PLAIN,
  type Request,
  requireKnownKind,
  send,
  type Variant,
  variants,
} from './load/request.ts';
import { loadShortest } from './load/shortest.ts';
import { failureOf, isInconclusive, isVerdict, loadFailure, mayBeVerdict } from './load/verdict.ts';
import { hiddenHelper } from './lockdown.ts';
import type { BpfMap } from './map.ts';
import { Program } from './program.ts';
import { Resources } from './resources.ts';
import { sourceReader } from './source.ts';

/**
 * Options for loading a program.
 *
 * @example
 * ```ts
 * import { Kernel, kprobe, type LoadOptions, loadProgram, target } from 'tsbpf';
 * import { assemble } from 'tsbpf/asm';
 *
 * const options: LoadOptions = { debug: true };
 * const kernel = new Kernel();
 * const spec = kprobe('tcp_v4_connect', target(process.arch, kernel.btf), (b) => b.exit());
 * loadProgram(kernel, spec, assemble(spec.instructions), new Map(), options).close();
 * ```
 */
export interface LoadOptions {
  /**
   * Whether to load function names and source lines with the program, for `bpftool prog dump` (Linux 5.0;
   * ignored before). Default: false.
   */
  readonly debug?: boolean;
  /** Resolves positions to source lines, for `debug` and for errors. Default: reads the source files. */
  readonly locate?: Locate;
}

/**
 * Loads a program into the kernel. The verifier checks it first.
 *
 * The caller owns the program and closes it. A `Session` loads the programs of its tool itself. The first
 * attempt runs without the verifier's log, which would take several times as long as the check; a refused
 * program is loaded again with the log and with source lines. Source: man 2 bpf.
 * @param assembled the instructions of `spec`, by `assemble` of `tsbpf/asm`.
 * @param maps the open map of every map that the instructions refer to.
 * @throws {VerifierError} if the verifier refuses the program. @throws {UnsupportedInstructionError} if this
 * kernel does not know an instruction. @throws {SymbolError} if fentry or fexit cannot trace the
 * function.
 * @throws {LockdownError} @throws {NotPermittedError} @throws {KernelError} @throws {TypeError} for an
 * unknown attachment kind. @throws {RangeError} for an invalid name, and for a map that is not in `maps`.
 * @example
 * ```ts
 * import { Kernel, kprobe, loadProgram, target } from 'tsbpf';
 * import { assemble } from 'tsbpf/asm';
 *
 * const kernel = new Kernel();
 * const spec = kprobe('tcp_v4_connect', target(process.arch, kernel.btf), (b) => b.exit());
 * const program = loadProgram(kernel, spec, assemble(spec.instructions), new Map());
 * console.log(program.info().id);
 * program.close();
 * ```
 */
export function loadProgram(
  kernel: Kernel,
  spec: ProgramSpec,
  assembled: Assembled,
  maps: ReadonlyMap<MapSpec, BpfMap>,
  { debug = false, locate = sourceReader(kernel.syscalls) }: LoadOptions = {},
): Program {
  checkObjectName('program', spec.name);
  requireKnownKind(spec.name, spec.attachment);
  if (isCalledByFunction(spec.attachment) && spec.attachment.btfId === undefined)
    throw noSuchFunction(
      kernel,
      spec.name,
      spec.attachment.symbol,
      Errno.ENOENT,
      "is not in the kernel's BTF",
    );
  const resources = new Resources();
  try {
    const tables = tablesOf(kernel, spec, assembled, resources);
    const bytes = withMaps(spec, assembled, maps, tables);
    const module = moduleOf(kernel, spec, resources);
    const request = { kernel, spec, assembled, bytes, locate, module };
    const typed = assembled.needsTypes
      ? withBtf(request, (types) => loadAs(kernel, { ...request, types }, debug))
      : undefined;
    return typed ?? loadAs(kernel, request, debug);
  } finally {
    resources.close();
  }
}

/**
 * Opens the BTF of the module whose function an fentry or fexit program traces. Undefined for functions of
 * the kernel itself.
 */
function moduleOf(
  kernel: Kernel,
  { name, attachment }: ProgramSpec,
  resources: Resources,
): Descriptor | undefined {
  const module = isCalledByFunction(attachment) ? parseFunctionName(attachment.symbol).module : undefined;
  if (module === undefined || !isCalledByFunction(attachment)) return undefined;
  const btf = openModuleBtf(kernel, module);
  if (btf) return resources.add(btf);
  throw noSuchFunction(
    kernel,
    name,
    attachment.symbol,
    Errno.ENOENT,
    `needs the BTF of its module, and no loaded module ${module} has any`,
  );
}

/**
 * Creates the program's jump tables. A kernel without jump tables lacks gotox, which the error names instead.
 */
function tablesOf(
  kernel: Kernel,
  spec: ProgramSpec,
  assembled: Assembled,
  resources: Resources,
): ReadonlyMap<number, BpfMap> {
  try {
    return openTables(kernel, assembled, resources);
  } catch (error) {
    throw (error instanceof UnsupportedError && unsupportedInstruction(kernel, spec, assembled)) || error;
  }
}

/** Loads a program by the first variant of the request that this kernel accepts. */
function loadAs(kernel: Kernel, request: Request, debug: boolean): Program {
  const { spec, assembled } = request;
  const described = debug
    ? withBtf(request, (types) => send(kernel, buildAttr(request, PLAIN, { types })))
    : undefined;
  if (described !== undefined && described >= 0) return new Program(kernel, spec, described);
  if (described !== undefined && isInconclusive(-described)) throw loadFailure(kernel, spec.name, -described);
  let failure: KernelError | undefined;
  for (const variant of variants(kernel, spec)) {
    const result = loadVariant(request, variant);
    if (typeof result === 'number') return new Program(kernel, spec, result);
    // Other variants cannot help after a verdict, or an error that is not about the attribute.
    if (result instanceof LockdownError) throw result;
    if (result instanceof VerifierError) throw unsupportedInstruction(kernel, spec, assembled) ?? result;
    if (result.errno !== Errno.E2BIG && result.errno !== Errno.EINVAL) throw result;
    failure ??= result;
  }
  throw failure ?? new Error(`the program '${spec.name}' was not tried`);
}

/** Returns the error for the first instruction that this kernel does not know, if there is one. */
function unsupportedInstruction(
  kernel: Kernel,
  { name }: ProgramSpec,
  assembled: Assembled,
): UnsupportedInstructionError | undefined {
  const unknown = unknownInstruction(kernel, assembled);
  if (unknown === undefined) return undefined;
  const { placed, form } = unknown;
  return new UnsupportedInstructionError(name, placed, instructionText(placed.instruction), form.since);
}

/** Loads a program by one variant of the request. Returns the descriptor, or the error. */
function loadVariant(request: Request, variant: Variant): number | KernelError {
  const { kernel, spec } = request;
  const quick = send(kernel, buildAttr(request, variant));
  if (quick >= 0) return quick;
  // Not a verdict: the log of another attempt could be that of an accepted program.
  if (isInconclusive(-quick)) return loadFailure(kernel, spec.name, -quick);
  const logged = loadLogged(request, variant);
  if (logged.result >= 0) return logged.result;
  // If the log exceeds its buffer, the errno is ENOSPC instead of the verifier's.
  const errno = logged.neededBytes > 0 ? -quick : -logged.result;
  if (isInconclusive(errno)) return loadFailure(kernel, spec.name, errno);
  const { attachment } = spec;
  const calledByFunction = isCalledByFunction(attachment);
  if (calledByFunction && errno === Errno.ENOENT)
    return noSuchFunction(kernel, spec.name, attachment.symbol, Errno.ENOENT, 'has no address');
  if (calledByFunction && isAboutFunction(logged.log, parseFunctionName(attachment.symbol).symbol ?? ''))
    return noSuchFunction(
      kernel,
      spec.name,
      attachment.symbol,
      errno,
      'cannot be traced by fentry and fexit',
    );
  const hidden = hiddenHelper(kernel, failureOf(spec.name, errno), logged.log);
  if (hidden) return hidden;
  if (logged.neededBytes > 0 ? mayBeVerdict(errno) : isVerdict(errno, logged.log))
    return verifierError(request, variant, errno, logged);
  return loadFailure(kernel, spec.name, errno, loadHint(kernel, spec, errno));
}

function loadHint(kernel: KernelFacts, { attachment }: ProgramSpec, errno: number): string | undefined {
  if (errno === Errno.EINVAL)
    return `this kernel may not support ${attachment.kind} programs; see bpftool feature probe`;
  if (errno === Errno.EPERM && isCalledByFunction(attachment) && loadsOthers(kernel))
    return (
      `this kernel forbids ${attachment.kind} programs, although others load: ` +
      'a security module, or a kernel that is hardened against changes of its code; use a tracepoint or a kprobe'
    );
  if (errno === Errno.E2BIG)
    return 'the program has more instructions than this kernel accepts (4096 before Linux 5.2, then a million)';
  return undefined;
}

/** Whether this process can load programs of another type. */
function loadsOthers(kernel: KernelFacts): boolean {
  const fd = loadShortest(kernel, PROGRAM_TYPES.raw_tracepoint.number);
  if (fd >= 0) kernel.syscalls.close(fd);
  return fd >= 0;
}

/** Copies the program's bytes and inserts the descriptors of its maps. */
function withMaps(
  spec: ProgramSpec,
  { bytes, references }: Assembled,
  maps: ReadonlyMap<MapSpec, BpfMap>,
  tables: ReadonlyMap<number, BpfMap>,
): Uint8Array {
  const patched = allocateCopy(bytes);
  const view = new DataView(patched.buffer);
  for (const { slot, map } of references) {
    const opened = tables.get(slot) ?? maps.get(map);
    if (!opened)
      throw withSourcePosition(
        new RangeError(
          `program '${spec.name}' uses the map '${map.name}', which is not open; pass it to loadProgram in maps`,
        ),
      );
    // The immediate of lddw's first slot. The second slot's is an offset into the map's value, set by the
    // assembler.
    view.setInt32(slot * 8 + 4, opened.fd, true);
  }
  return patched;
}
