/**
 * The attribute of BPF_PROG_LOAD, and its variants for old kernels.
 *
 * Source: man 2 bpf, kernel/bpf/syscall.c (`bpf_prog_load`).
 */
import type { Assembled } from '../../asm/assemble.ts';
import { withSourcePosition } from '../../asm/error-position.ts';
import type { Locate } from '../../asm/position.ts';
import { type Attachment, isMulti, LICENSE, type ProgramSpec } from '../../asm/program.ts';
import { PROGRAM_TYPES } from '../../asm/program-types.ts';
import { Attr, Command, cString, type Descriptor } from '../bpf.ts';
import type { BtfFields } from '../debug-info.ts';
import { isInterruption } from '../errors.ts';
import type { KernelFacts } from '../kernel-facts.ts';
import { hasKprobeMulti } from '../kprobe-multi.ts';
import { withMemlock } from '../permission.ts';
import { uptime } from '../uptime.ts';

/** Program types (`enum bpf_prog_type`) by kind of attachment. */
export const programTypeNumbers = Object.fromEntries(
  Object.entries(PROGRAM_TYPES).map(([kind, { number }]) => [kind, number]),
) as Record<Attachment['kind'], number>;

/**
 * Checks the kind of an attachment, which plain JavaScript can get wrong. @throws {TypeError} for an unknown
 * kind.
 */
export function requireKnownKind(program: string, { kind }: Attachment): void {
  if (Object.hasOwn(programTypeNumbers, kind)) return;
  const kinds = Object.keys(programTypeNumbers).join(', ');
  throw withSourcePosition(
    new TypeError(
      `program '${program}' has the unknown attachment kind '${kind}'; tsbpf has tracing programs: ${kinds}`,
    ),
  );
}

/** Offsets into the attribute of BPF_PROG_LOAD. */
const At = {
  type: 0,
  count: 4,
  instructions: 8,
  license: 16,
  logLevel: 24,
  logSize: 28,
  logBuffer: 32,
  kernelVersion: 40,
  name: 48,
  expectedAttachType: 68,
  attachBtfId: 108,
  attachBtf: 112,
} as const;

/** A program to load. */
export interface Request {
  readonly kernel: KernelFacts;
  readonly spec: ProgramSpec;
  readonly assembled: Assembled;
  /** The instructions, with the descriptors of maps inserted. */
  readonly bytes: Uint8Array;
  readonly locate: Locate;
  /** The BTF object of the module with the function; absent for functions of the kernel itself. */
  readonly module?: Descriptor;
  /** The BTF that the program cannot be loaded without. */
  readonly types?: BtfFields;
}

/** A variant of the attribute: old kernels do not know the name, or require their version. */
export interface Variant {
  readonly name: boolean;
  readonly kernelVersion: number;
}

/** The variant for kernels that know BTF. */
export const PLAIN: Variant = { name: true, kernelVersion: 0 };

/** The variants for a program, in the order of the attempts. */
export function variants(kernel: KernelFacts, { attachment }: ProgramSpec): Variant[] {
  const plain = [PLAIN, { name: false, kernelVersion: 0 }];
  if (programTypeNumbers[attachment.kind] !== programTypeNumbers.kprobe) return plain;
  const kernelVersion = versionCode(kernel.release);
  return [...plain, { name: true, kernelVersion }, { name: false, kernelVersion }];
}

/** `KERNEL_VERSION(a, b, c)`, which kprobe programs must state before Linux 5.0. */
export function versionCode(release: string): number {
  const [, major = '0', minor = '0', patch = '0'] = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(release) ?? [];
  return (Number(major) << 16) | (Number(minor) << 8) | Math.min(Number(patch), 255);
}

/** The buffer and the level of the verifier's log. */
export interface Log {
  readonly buffer: Uint8Array;
  /** `BPF_LOG_*`. */
  readonly level: number;
}

/** Offset of `log_true_size`: the kernel writes the length of the complete log to it (Linux 6.4). */
export const LOG_TRUE_SIZE = 140;

/** Builds the attribute for a variant, optionally with a log and with BTF. */
export function buildAttr(
  { kernel, spec: { name, attachment }, bytes, module, types: needed }: Request,
  variant: Variant,
  { log, types = needed }: { readonly log?: Log; readonly types?: BtfFields } = {},
): Attr {
  const size = attrSize(attachment, variant, log !== undefined, module !== undefined);
  const attr = new Attr(kernel.syscalls, Math.max(size, types?.size ?? 0))
    .u32(At.type, programTypeNumbers[attachment.kind])
    .u32(At.count, bytes.byteLength / 8)
    .pointer(At.instructions, bytes)
    .pointer(At.license, cString(LICENSE))
    .u32(At.kernelVersion, variant.kernelVersion);
  if (log)
    attr.u32(At.logLevel, log.level).u32(At.logSize, log.buffer.length).pointer(At.logBuffer, log.buffer);
  if (variant.name) attr.text(At.name, name);
  const attachType = PROGRAM_TYPES[attachment.kind].expectedAttachType;
  // Without kprobe.multi the program is attached by kprobes, which refuse this attach type.
  if (attachType !== undefined && !(isMulti(attachment) && !hasKprobeMulti(kernel)))
    attr.u32(At.expectedAttachType, attachType);
  if ('btfId' in attachment) attr.u32(At.attachBtfId, attachment.btfId ?? 0);
  if (module) attr.u32(At.attachBtf, module.fd);
  types?.fill(attr);
  return attr;
}

/** The size up to the last used field. The kernel accepts fields that it does not know if they are zero. */
function attrSize(attachment: Attachment, { name }: Variant, logged: boolean, inModule: boolean): number {
  if (logged) return LOG_TRUE_SIZE + 4;
  if (inModule) return At.attachBtf + 4;
  if ('btfId' in attachment) return At.attachBtfId + 4;
  if (isMulti(attachment)) return At.expectedAttachType + 4;
  return name ? At.name + 16 : At.name;
}

/** How long to retry a load that signals interrupt. */
const RETRY_LIMITS = { ms: 10_000, attempts: 10_000 };

/**
 * Loads a program. Returns the descriptor, or minus the errno. The verifier stops when a signal arrives, so
 * an interrupted load is retried.
 */
export function send(kernel: KernelFacts, attr: Attr): number {
  const end = uptime() + RETRY_LIMITS.ms;
  for (let attempt = 1; ; attempt++) {
    const result = withMemlock(kernel, () => attr.send(Command.progLoad));
    if (!isInterruption(-result) || attempt >= RETRY_LIMITS.attempts || uptime() >= end) return result;
  }
}
