/**
 * A program on its way into the kernel: the attribute of BPF_PROG_LOAD.
 *
 * Source: man 2 bpf, kernel/bpf/syscall.c (`bpf_prog_load`).
 */
import type { Assembled } from '../../asm/assemble.ts';
import { withSourcePosition } from '../../asm/error-position.ts';
import type { Locate } from '../../asm/position.ts';
import { type Attachment, LICENSE, type ProgramSpec } from '../../asm/program.ts';
import { PROGRAM_TYPES } from '../../asm/program-types.ts';
import { Attr, Command, cString } from '../bpf.ts';
import type { BtfFields } from '../debug-info.ts';
import { isInterruption } from '../errors.ts';
import type { Kernel } from '../kernel.ts';
import { withMemlock } from '../permission.ts';
import { uptime } from '../uptime.ts';

/** Program types (`enum bpf_prog_type`) by what a program is attached to. */
export const programTypeNumbers = Object.fromEntries(
  Object.entries(PROGRAM_TYPES).map(([kind, { number }]) => [kind, number]),
) as Record<Attachment['kind'], number>;

/** Throws TypeError for a kind that there is no program type for, as plain JavaScript can ask for one. */
export function requireKnownKind(program: string, { kind }: Attachment): void {
  if (Object.hasOwn(programTypeNumbers, kind)) return;
  const kinds = Object.keys(programTypeNumbers).join(', ');
  throw withSourcePosition(
    new TypeError(
      `program '${program}' is to be attached as '${kind}', and tsbpf has programs that trace only: ${kinds}`,
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
} as const;

/** A program on its way into the kernel. */
export interface Request {
  readonly kernel: Kernel;
  readonly spec: ProgramSpec;
  readonly assembled: Assembled;
  /** The instructions, with the maps' descriptors. */
  readonly bytes: Uint8Array;
  readonly locate: Locate;
  /** What the kernel has to be told in any case. */
  readonly types?: BtfFields;
}

/** One way to ask for a program: what old kernels can't take is left out, or added, one after the other. */
export interface Variant {
  readonly name: boolean;
  readonly kernelVersion: number;
}

/** What kernels take that know of types. */
export const PLAIN: Variant = { name: true, kernelVersion: 0 };

/** The ways to ask for a program, in the order in which they are tried. */
export function variants(kernel: Kernel, { attachment }: ProgramSpec): Variant[] {
  const plain = [PLAIN, { name: false, kernelVersion: 0 }];
  if (programTypeNumbers[attachment.kind] !== programTypeNumbers.kprobe) return plain;
  const kernelVersion = versionCode(kernel.release);
  return [...plain, { name: true, kernelVersion }, { name: false, kernelVersion }];
}

/** `KERNEL_VERSION(a, b, c)`, which kprobe programs had to name before Linux 5.0. */
function versionCode(release: string): number {
  const [, major = '0', minor = '0', patch = '0'] = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(release) ?? [];
  return (Number(major) << 16) | (Number(minor) << 8) | Math.min(Number(patch), 255);
}

/** Where the verifier is to write, and what. */
export interface Log {
  readonly buffer: Uint8Array;
  /** `BPF_LOG_*`. */
  readonly level: number;
}

/** Offset of what the kernel tells of a log's length, whatever the buffer's (Linux 6.4). */
export const LOG_TRUE_SIZE = 140;

/** The attribute for one way to ask, with a log, and with what the kernel is told for people to read. */
export function buildAttr(
  { kernel, spec: { name, attachment }, bytes, types: needed }: Request,
  variant: Variant,
  { log, types = needed }: { readonly log?: Log; readonly types?: BtfFields } = {},
): Attr {
  const least = attrSize(attachment, variant, log !== undefined);
  const attr = new Attr(kernel.syscalls, Math.max(least, types?.size ?? 0))
    .u32(At.type, programTypeNumbers[attachment.kind])
    .u32(At.count, bytes.byteLength / 8)
    .pointer(At.instructions, bytes)
    .pointer(At.license, cString(LICENSE))
    .u32(At.kernelVersion, variant.kernelVersion);
  if (log)
    attr.u32(At.logLevel, log.level).u32(At.logSize, log.buffer.length).pointer(At.logBuffer, log.buffer);
  if (variant.name) attr.text(At.name, name);
  const attachType = PROGRAM_TYPES[attachment.kind].expectedAttachType;
  if (attachType !== undefined) attr.u32(At.expectedAttachType, attachType);
  if ('btfId' in attachment) attr.u32(At.attachBtfId, attachment.btfId ?? 0);
  types?.fill(attr);
  return attr;
}

/** Up to the last field in use. Fields past the kernel's own are no harm as long as they are zero. */
function attrSize(attachment: Attachment, { name }: Variant, logged: boolean): number {
  if (logged) return LOG_TRUE_SIZE + 4;
  if ('btfId' in attachment) return At.attachBtfId + 4;
  return name ? At.name + 16 : At.name;
}

/** Limits for the attempts of a load that signals interrupt. */
const PATIENCE = { ms: 10_000, attempts: 10_000 };

/**
 * Asks the kernel to load a program. Returns the descriptor, or minus the errno. The verifier stops when a
 * signal arrives, so an interrupted load is tried again.
 */
export function send(kernel: Kernel, attr: Attr): number {
  const end = uptime() + PATIENCE.ms;
  for (let attempt = 1; ; attempt++) {
    const result = withMemlock(kernel, () => attr.send(Command.progLoad));
    if (!isInterruption(-result) || attempt >= PATIENCE.attempts || uptime() >= end) return result;
  }
}
