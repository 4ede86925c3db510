/**
 * Loads programs without the loader: with arbitrary types and lines, and without errors when the kernel
 * refuses them.
 */
import { assemble } from '../../src/asm/assemble.ts';
import type { Item } from '../../src/asm/instruction.ts';
import { Attr, allocate, Command, Descriptor } from '../../src/loader/bpf.ts';
import type { Kernel } from '../../src/loader/kernel.ts';
import type { BpfMap } from '../../src/loader/map.ts';
import type { BtfWriter } from '../asm/btf-writer.ts';

/** `enum bpf_prog_type`. */
const SOCKET_FILTER = 1;
export const RAW_TRACEPOINT = 17;
const BTF_LOAD = 18;

export interface RawOptions {
  readonly type?: number;
  readonly expectedAttachType?: number;
  readonly name?: string;
  readonly maps?: ReadonlyMap<unknown, BpfMap>;
  /** BTF, and for each function its first slot and type id. */
  readonly types?: { readonly writer: BtfWriter; readonly functions: readonly (readonly [number, number])[] };
  /** `struct bpf_line_info`, four words each. */
  readonly lines?: readonly number[];
  /** A buffer for the verifier's log, which ends with a zero byte. */
  readonly log?: Uint8Array;
}

/** The verifier's log for a refused program; empty if the kernel accepts the program. */
export function verifierLog(kernel: Kernel, items: readonly Item[], options: RawOptions = {}): string {
  const log = allocate(64 * 1024);
  const loaded = loadRaw(kernel, items, { ...options, log });
  loaded?.close();
  return loaded ? '' : (Buffer.from(log).toString('latin1').split('\0', 1)[0] as string);
}

/** The program's descriptor, or undefined if the kernel refuses the program. */
export function loadRaw(
  { syscalls }: Kernel,
  items: readonly Item[],
  {
    type = SOCKET_FILTER,
    expectedAttachType = 0,
    name = 'tsbpf.raw',
    maps = new Map(),
    types,
    lines = [],
    log,
  }: RawOptions = {},
): Descriptor | undefined {
  const assembled = assemble(items);
  const bytes = copied(assembled.bytes);
  const view = new DataView(bytes.buffer);
  for (const { slot, map } of assembled.references)
    view.setInt32(slot * 8 + 4, maps.get(map)?.fd ?? -1, true);
  const attr = new Attr(syscalls, 112)
    .u32(0, type)
    .u32(4, bytes.length / 8)
    .pointer(8, bytes)
    .pointer(16, copied(Buffer.from('GPL\0')))
    .text(48, name)
    .u32(68, expectedAttachType);
  if (log) attr.u32(24, 1).u32(28, log.length).pointer(32, log);
  let btf: Descriptor | undefined;
  if (types) {
    const blob = copied(types.writer.blob());
    const loaded = new Attr(syscalls, 32).pointer(0, blob).u32(16, blob.length).send(BTF_LOAD);
    if (loaded < 0) return undefined;
    btf = new Descriptor(syscalls, loaded, 'the test program');
    const functions = words(types.functions.flat());
    attr.u32(72, btf.fd).u32(76, 8).pointer(80, functions).u32(88, types.functions.length);
    if (lines.length > 0)
      attr
        .u32(92, 16)
        .pointer(96, words(lines))
        .u32(104, lines.length / 4);
  }
  const fd = attr.send(Command.progLoad);
  btf?.close();
  return fd < 0 ? undefined : new Descriptor(syscalls, fd, 'the test program');
}

function copied(bytes: Uint8Array): Uint8Array {
  const copy = allocate(bytes.length);
  copy.set(bytes);
  return copy;
}

function words(numbers: readonly number[]): Uint8Array {
  const bytes = allocate(4 * numbers.length);
  new Uint32Array(bytes.buffer).set(numbers);
  return bytes;
}
