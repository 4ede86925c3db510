/**
 * Compares a pinned program or link with the spec that this process opens it by, as far as the kernel reports
 * it.
 *
 * Source: include/uapi/linux/bpf.h (`struct bpf_prog_info`, `struct bpf_link_info`); kernel/bpf/core.c
 * (`bpf_prog_calc_tag`).
 */
import type * as Crypto from 'node:crypto';
import { assemble } from '../asm/assemble.ts';
import { type FunctionName, parseFunctionName } from '../asm/function-name.ts';
import type { Attachment, ProgramSpec } from '../asm/program.ts';
import { PROGRAM_TYPES } from '../asm/program-types.ts';
import { Command, Descriptor } from './bpf.ts';
import type { Kernel } from './kernel.ts';
import { fdById } from './loaded/find.ts';
import { linkInfo } from './loaded/objects.ts';
import { objectInfo, objectNameAt } from './object-info.ts';
import { requireLate } from './require-late.ts';

/** Collects the properties that differ. */
class Differences {
  readonly found: string[] = [];

  /** Compares a property, unless the kernel or the spec does not have it. */
  compare(what: string, inKernel: number | string | undefined, inSpec: number | string | undefined): void {
    if (inKernel !== undefined && inSpec !== undefined && inKernel !== inSpec)
      this.found.push(`${what} is ${inKernel} in the kernel, and ${inSpec} in the spec`);
  }
}

/** Offsets into `struct bpf_prog_info`. */
const Program = { type: 0, tag: 8, name: 64, attachBtfId: 224, size: 228 } as const;

/**
 * Returns how a program in the kernel differs from a spec: type, name, function by its BTF id (Linux 5.18),
 * and instructions. `object` names it in messages.
 * @throws {KernelError}
 */
export function programDifferences(kernel: Kernel, spec: ProgramSpec, fd: number, object: string): string[] {
  const { bytes, view, known } = objectInfo(kernel, fd, Program.size, undefined, object);
  const differences = new Differences();
  const type = PROGRAM_TYPES[spec.attachment.kind].number;
  differences.compare('type', typeName(view.getUint32(Program.type, true)), typeName(type));
  // Before Linux 4.15 programs have no names.
  const name = objectNameAt(bytes, Program.name);
  differences.compare('name', name === '' ? undefined : name, spec.name.slice(0, 15));
  const btfId = known < Program.size ? 0 : view.getUint32(Program.attachBtfId, true);
  const wanted = 'btfId' in spec.attachment ? spec.attachment.btfId : undefined;
  differences.compare('BTF id of its function', btfId === 0 ? undefined : btfId, wanted);
  const tag = Buffer.from(bytes.subarray(Program.tag, Program.tag + 8)).toString('hex');
  const tags = tagsOf(spec);
  if (differences.found.length === 0 && !tags.includes(tag))
    differences.compare('tag of its instructions', tag, tags[0]);
  return differences.found;
}

/** The kinds of programs of a type: `kprobe`, or `fentry, fexit or tp_btf`. */
function typeName(type: number): string {
  const kinds = Object.entries(PROGRAM_TYPES).filter(([, row]) => row.number === type);
  return kinds.length === 0 ? `number ${type}` : kinds.map(([kind]) => kind).join('/');
}

/** The first byte of `lddw`, and the sources (high half of the second byte) that name a map. */
const [LDDW, MAP_FD, MAP_VALUE] = [0x18, 1, 2];

/** The tags that kernels give to the instructions of a spec: by SHA-1, and by SHA-256 on newer ones. */
function tagsOf({ instructions }: ProgramSpec): string[] {
  const { createHash } = requireLate('node:crypto') as typeof Crypto;
  const { bytes } = assemble(instructions);
  const code = Uint8Array.from(bytes);
  for (let at = 0; at < code.length; at += 8) {
    if (code[at] !== LDDW) continue;
    const source = (code[at + 1] as number) >> 4;
    // Descriptors of maps do not count, nor do offsets in their values.
    if (source === MAP_FD || source === MAP_VALUE)
      for (const part of [at + 4, at + 12]) code.fill(0, part, part + 4);
    at += 8;
  }
  return ['sha1', 'sha256'].map((algorithm) => createHash(algorithm).update(code).digest('hex').slice(0, 16));
}

/** The kinds of links (`enum bpf_link_type`) of each attachment. */
const LINK_TYPES: Readonly<Record<Attachment['kind'], string>> = {
  ...{ kprobe: 'perf_event', kretprobe: 'perf_event', tracepoint: 'perf_event' },
  ...{ kprobe_multi: 'kprobe_multi', kretprobe_multi: 'kprobe_multi' },
  ...{ fentry: 'tracing', fexit: 'tracing', lsm: 'tracing' },
  ...{ tp_btf: 'raw_tracepoint', raw_tracepoint: 'raw_tracepoint' },
};

/** Offsets into `struct bpf_link_info`: those of perf events, of tracing, and of kprobe.multi. */
const Link = { kind: 16, offset: 36, size: 40, attachType: 16, multiCount: 24, multiFlags: 28 } as const;
/** `enum bpf_perf_event_type` (Linux 6.6), by number. */
const EVENTS: readonly (Attachment['kind'] | undefined)[] = [
  ...[undefined, undefined, undefined],
  ...(['kprobe', 'kretprobe', 'tracepoint'] as const),
];
const KPROBE_MULTI_RETURN = 1;

/**
 * Returns how a link in the kernel differs from the attachment and the program of a spec. `object` names it
 * in messages.
 * @throws {KernelError}
 */
export function linkDifferences(kernel: Kernel, spec: ProgramSpec, fd: number, object: string): string[] {
  const { attachment } = spec;
  const { type, target, programId } = linkInfo(kernel, fd, object);
  const differences = new Differences();
  differences.compare('type', type, LINK_TYPES[attachment.kind]);
  if (differences.found.length > 0) return differences.found;
  // A kernel that does not know a field leaves it zero.
  const { view } = objectInfo(kernel, fd, Link.size, undefined, object);
  if (type === 'tracing')
    differences.compare('attach type', attachKind(view.getUint32(Link.attachType, true)), attachment.kind);
  else if (type === 'perf_event')
    differences.compare('kind of event', EVENTS[view.getUint32(Link.kind, true)], attachment.kind);
  else if (type === 'kprobe_multi' && view.getUint32(Link.multiCount, true) > 0) {
    const atReturn = (view.getUint32(Link.multiFlags, true) & KPROBE_MULTI_RETURN) !== 0;
    differences.compare('kind', atReturn ? 'kretprobe_multi' : 'kprobe_multi', attachment.kind);
  }
  const wanted = targetOf(attachment);
  differences.compare('target', target, wanted?.symbol);
  if (target !== undefined && wanted?.symbol === target && type === 'perf_event')
    differences.compare('offset in the function', view.getUint32(Link.offset, true), wanted.offset);
  differences.found.push(...linkedProgramDifferences(kernel, spec, programId));
  return differences.found;
}

/** The kind of a tracing program by its attach type. */
function attachKind(attachType: number): string | undefined {
  return Object.entries(PROGRAM_TYPES).find(([, row]) => row.expectedAttachType === attachType)?.[0];
}

function targetOf(attachment: Attachment): Pick<FunctionName, 'symbol' | 'offset'> | undefined {
  if ('tracepoint' in attachment) return { symbol: attachment.tracepoint, offset: 0 };
  return 'symbol' in attachment ? parseFunctionName(attachment.symbol) : undefined;
}

/** The differences of a link's program. None if this process may not open programs by their ids. */
function linkedProgramDifferences(kernel: Kernel, spec: ProgramSpec, id: number): string[] {
  const fd = fdById(kernel, Command.progGetFdById, id);
  if (fd < 0) return [];
  const program = new Descriptor(kernel.syscalls, fd, `the program ${id}`);
  try {
    return programDifferences(kernel, spec, program.fd, `the program ${id}`).map(
      (each) => `${each} (of its program)`,
    );
  } finally {
    program.close();
  }
}
