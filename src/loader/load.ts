/**
 * Loading programs: what the kernel doesn't know is left out, and what it refuses is verifierError.
 *
 * Source: man 2 bpf, kernel/bpf/syscall.c (`bpf_prog_load`).
 */
import type { Assembled } from '../asm/assemble.ts';
import { instructionText } from '../asm/disassemble.ts';
import { withSourcePosition } from '../asm/error-position.ts';
import { formOf } from '../asm/isa.ts';
import type { MapSpec } from '../asm/map.ts';
import { checkObjectName } from '../asm/object-name.ts';
import type { Locate } from '../asm/position.ts';
import type { ProgramSpec } from '../asm/program.ts';
import { allocateCopy } from './bpf.ts';
import { Errno } from './errno.ts';
import {
  type KernelError,
  LockdownError,
  UnsupportedError,
  UnsupportedInstructionError,
  VerifierError,
} from './errors.ts';
import type { Kernel } from './kernel.ts';
import { isAboutFunction, isCalledByFunction, noSuchFunction } from './load/function.ts';
import { unknownInstruction } from './load/instruction-probe.ts';
import { openTables } from './load/jump-tables.ts';
import { loadLogged, verifierError, withBtf } from './load/log.ts';
import {
  buildAttr,
  PLAIN,
  type Request,
  requireKnownKind,
  send,
  type Variant,
  variants,
} from './load/request.ts';
import { failureOf, isInconclusive, isVerdict, loadFailure, mayBeVerdict } from './load/verdict.ts';
import { hiddenHelper } from './lockdown.ts';
import type { BpfMap } from './map.ts';
import { Program } from './program.ts';
import { Resources } from './resources.ts';
import { sourceReader } from './source.ts';

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
 * can't be traced so. @throws {NotPermittedError} @throws {KernelError} @throws {TypeError} for a kind of attachment that isn't one.
 * @throws {RangeError} for a name that the kernel would cut or drop.
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
    throw noSuchFunction(spec.name, spec.attachment.symbol, Errno.ENOENT, "isn't among the kernel's types");
  const resources = new Resources();
  try {
    const tables = tablesOf(kernel, spec, assembled, resources);
    const bytes = withMaps(spec, assembled, maps, tables);
    const request = { kernel, spec, assembled, bytes, locate };
    const typed = needsTypes(assembled)
      ? withBtf(request, (types) => loadAs({ ...request, types }, debug))
      : undefined;
    return typed ?? loadAs(request, debug);
  } finally {
    resources.close();
  }
}

/**
 * Whether the kernel has to be told of its functions: it takes for a callback only what types say is one (Linux 5.13), and from those it knows how many
 * arguments are on the stack (7.2).
 */
function needsTypes(assembled: Assembled): boolean {
  return assembled.instructions.some(({ instruction }) =>
    NEED_TYPES.some((name) => name === formOf(instruction)?.name),
  );
}
const NEED_TYPES = ['loadFunction', 'loadArgument'];

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
    ? withBtf(request, (types) => send(kernel, buildAttr(request, PLAIN, { types })))
    : undefined;
  if (described !== undefined && described >= 0) return new Program(kernel, spec, described);
  if (described !== undefined && isInconclusive(-described)) throw loadFailure(kernel, spec.name, -described);
  let failure: KernelError | undefined;
  for (const variant of variants(kernel, spec)) {
    const result = loadVariant(request, variant);
    if (typeof result === 'number') return new Program(kernel, spec, result);
    // The verifier has spoken, or this isn't about what the kernel knows of attributes.
    if (result instanceof LockdownError) throw result;
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
  return new UnsupportedInstructionError(name, placed, instructionText(placed.instruction), form.since);
}

/** The descriptor, or why not. */
function loadVariant(request: Request, variant: Variant): number | KernelError {
  const { kernel, spec } = request;
  const quick = send(kernel, buildAttr(request, variant));
  if (quick >= 0) return quick;
  // The verifier has nothing to say of that, and its log would be of a program that it takes.
  if (isInconclusive(-quick)) return loadFailure(kernel, spec.name, -quick);
  const logged = loadLogged(request, variant);
  if (logged.result >= 0) return logged.result;
  // A log that is too large for its buffer hides what the verifier answered.
  const errno = logged.wanted > 0 ? -quick : -logged.result;
  if (isInconclusive(errno)) return loadFailure(kernel, spec.name, errno);
  const { attachment } = spec;
  const calledByFunction = isCalledByFunction(attachment);
  if (calledByFunction && errno === Errno.ENOENT)
    return noSuchFunction(spec.name, attachment.symbol, Errno.ENOENT, 'has no address');
  if (calledByFunction && isAboutFunction(logged.log, attachment.symbol))
    return noSuchFunction(spec.name, attachment.symbol, errno, "is one that programs aren't called from");
  const hidden = hiddenHelper(kernel, failureOf(spec.name, errno), logged.log);
  if (hidden) return hidden;
  if (logged.wanted > 0 ? mayBeVerdict(errno) : isVerdict(errno, logged.log))
    return verifierError(request, variant, errno, logged);
  return loadFailure(kernel, spec.name, errno, loadHint(spec, errno));
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
  const patched = allocateCopy(bytes);
  const view = new DataView(patched.buffer);
  for (const { slot, map } of references) {
    const opened = tables.get(slot) ?? maps.get(map);
    if (!opened)
      throw withSourcePosition(
        new RangeError(
          `program '${spec.name}' uses the map '${map.name}', which isn't among those that it is loaded with`,
        ),
      );
    // The immediate of the first slot of lddw; that of the second, the offset into a map's value, is the assembler's.
    view.setInt32(slot * 8 + 4, opened.fd, true);
  }
  return patched;
}
