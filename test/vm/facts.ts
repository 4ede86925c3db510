/**
 * Probes the running kernel's features. `npm run test:vm -- --docs` runs this in a guest; it prints one line
 * of JSON.
 * It uses plain system calls instead of the loader's probes, so that the table shows what the kernel supports
 * and not what tsbpf uses.
 */
import { existsSync, realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { assemble } from '../../src/asm/assemble.ts';
import { call, exit, loadAcquire, mov, movsx, st } from '../../src/asm/constructors.ts';
import { getAttachCookie, type Helper, probeReadKernel } from '../../src/asm/helpers.ts';
import type { Item } from '../../src/asm/instruction.ts';
import { s8, u64 } from '../../src/asm/layout.ts';
import { r0, r1, r2, r3, r10 } from '../../src/asm/registers.ts';
import { Attr, allocate } from '../../src/loader/bpf.ts';
import { errnoName } from '../../src/loader/errno.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { noStage, type OutcomeRow, outcomeTable } from '../live/outcomes.ts';

/** The features of a kernel. Each row has a title and the result. */
export interface Facts {
  readonly release: string;
  readonly rows: readonly (readonly [title: string, found: string])[];
  /** The outcomes of connects with each probe; absent if the connects cannot be made. */
  readonly outcomes?: readonly OutcomeRow[];
}

/** `enum bpf_cmd`. */
const Bpf = { mapCreate: 0, progLoad: 5, rawTracepointOpen: 17, linkCreate: 28 } as const;
/** `enum bpf_prog_type`. */
const Type = { kprobe: 2, tracepoint: 5, rawTracepoint: 17, tracing: 26 } as const;
/** `enum bpf_attach_type`. */
const AttachTo = { rawTp: 23, fentry: 24, perfEvent: 41, kprobeMulti: 42 } as const;
const RINGBUF = 27;
const TRACEPOINT = 'inet_sock_set_state';
const FUNCTION = 'tcp_v4_connect';

interface Load {
  readonly type: number;
  readonly attachType?: number;
  readonly btfId?: number;
  readonly items?: readonly Item[];
}

const kernel = new Kernel();
const kept: Uint8Array[] = [];

function text(value: string): Uint8Array {
  const bytes = allocate(Buffer.byteLength(value) + 1);
  bytes.set(Buffer.from(value));
  kept.push(bytes);
  return bytes;
}

/** Loads a program; returns a descriptor or a negative errno. With `log`, the verifier's log is enabled. */
function load(
  { type, attachType = 0, btfId = 0, items = [mov(r0, 0), exit()] }: Load,
  log?: Uint8Array,
): number {
  const assembled = assemble(items).bytes;
  const bytes = allocate(assembled.length);
  bytes.set(assembled);
  const attr = new Attr(kernel.syscalls, 112)
    .u32(0, type)
    .u32(4, bytes.length / 8)
    .pointer(8, bytes)
    .pointer(16, text('Dual MIT/GPL'))
    .u32(68, attachType)
    .u32(108, btfId);
  if (log) attr.u32(24, 1).u32(28, log.length).pointer(32, log);
  return attr.send(Bpf.progLoad);
}

/** `yes`, or `no` with the error. Closes the descriptor. */
function answer(result: number): string {
  if (result < 0) return `no (${errnoName(-result)})`;
  kernel.syscalls.close(result);
  return 'yes';
}

/** Loads a program, then attaches it. */
function attached(program: Load, attach: (fd: number) => number): string {
  const fd = load(program);
  if (fd < 0) return `no (${errnoName(-fd)})`;
  const result = attach(fd);
  kernel.syscalls.close(fd);
  return answer(result);
}

function openRawTracepoint(fd: number, name?: string): number {
  const attr = new Attr(kernel.syscalls, 16).u32(8, fd);
  if (name) attr.pointer(0, text(name));
  return attr.send(Bpf.rawTracepointOpen);
}

/** BPF_LINK_CREATE with one symbol; needs CONFIG_FPROBE. */
function linkKprobeMulti(fd: number): number {
  const symbols = allocate(8);
  new DataView(symbols.buffer).setBigUint64(0, kernel.syscalls.address(text(FUNCTION)), true);
  return new Attr(kernel.syscalls, 64)
    .u32(0, fd)
    .u32(8, AttachTo.kprobeMulti)
    .u32(20, 1)
    .pointer(24, symbols)
    .send(Bpf.linkCreate);
}

/** A link to the perf event of a kprobe, which is closed with the link and may have a cookie. */
function linkPerfEvent(fd: number): number {
  if (kernel.kprobePmu === undefined) return -19;
  const attr = new Attr(kernel.syscalls, 72).u32(0, kernel.kprobePmu).u32(4, 72).pointer(56, text(FUNCTION));
  const event = attr.use((bytes) => kernel.syscalls.perfEventOpen(bytes, -1, 0, -1, 0));
  if (event < 0) return event;
  const link = new Attr(kernel.syscalls, 64).u32(0, fd).u32(4, event).u32(8, AttachTo.perfEvent);
  const result = link.send(Bpf.linkCreate);
  kernel.syscalls.close(event);
  return result;
}

function typeId(kind: 'typedef' | 'func', name: string): number {
  return kernel.btf?.find(kind, name) ?? 0;
}

function readsMemory(helper: Helper): Item[] {
  return [
    ...[mov(r1, r10), { ...mov(r1, r10), opcode: 0x07, src: 0, imm: -8 }, mov(r2, 8), mov(r3, 0)],
    ...[call(helper), mov(r0, 0), exit()],
  ] as Item[];
}

/** The kernel's BTF: bytes and number of types. */
function describeTypes(): string {
  const bytes = kernel.syscalls.readFile('/sys/kernel/btf/vmlinux');
  if (typeof bytes === 'number' || !kernel.btf) return 'no';
  return `${(bytes.length / 2 ** 20).toFixed(1)} MiB, ${kernel.btf.count} types`;
}

/** The format of the log's end for a refused program. */
function logForm(): string {
  const log = allocate(65_536);
  const result = load({ type: Type.kprobe, items: [exit()] }, log);
  if (result >= 0) return 'not refused';
  const lines = Buffer.from(log).toString('latin1').split('\0', 1)[0]?.trim().split('\n') ?? [];
  const reason = lines.findIndex((line) => line.startsWith('Verification failed'));
  return reason < 0 ? 'reason before the statistics' : 'paragraph "Verification failed:"';
}

/** The number of bytes that BPF_OBJ_GET_INFO_BY_FD fills for a program or link. Closes the descriptor. */
function infoBytes(fd: number): number {
  if (fd < 0) return 0;
  const info = allocate(512);
  const attr = new Attr(kernel.syscalls, 16).u32(0, fd).u32(4, info.length).pointer(8, info);
  const result = attr.send(15);
  kernel.syscalls.close(fd);
  return result < 0 ? 0 : attr.getU32(4);
}

/** Whether `bpf_prog_info` includes `recursion_misses`. */
function countsMissedRuns(): boolean {
  return infoBytes(load({ type: Type.kprobe })) >= 216;
}

/** Whether `bpf_link_info` of a perf event includes the missed hits of its kprobe. */
function countsMissedHits(): boolean {
  const fd = load({ type: Type.kprobe });
  const bytes = fd < 0 ? 0 : infoBytes(linkPerfEvent(fd));
  if (fd >= 0) kernel.syscalls.close(fd);
  return bytes >= 56;
}

function ringBuffer(): string {
  return answer(new Attr(kernel.syscalls, 16).u32(0, RINGBUF).u32(12, 4096).send(Bpf.mapCreate));
}

const there = (path: string): string => (existsSync(path) ? 'yes' : 'no');
const takes = (items: readonly Item[]): string => answer(load({ type: Type.kprobe, items }));

/** Probes all features. Needs root. */
function gather(): Facts {
  const mapped = kernel.syscalls.mapFile('/sys/kernel/btf/vmlinux');
  return {
    release: kernel.release,
    rows: [
      ['kprobes through the perf PMU', kernel.kprobePmu === undefined ? 'no' : 'yes'],
      ['kprobes through tracefs (`kprobe_events`)', there('/sys/kernel/tracing/kprobe_events')],
      [
        '`kprobe.multi` links',
        attached({ type: Type.kprobe, attachType: AttachTo.kprobeMulti }, linkKprobeMulti),
      ],
      ['`bpf_link` of a perf event', attached({ type: Type.kprobe }, linkPerfEvent)],
      [
        '`fentry`',
        attached(
          { type: Type.tracing, attachType: AttachTo.fentry, btfId: typeId('func', FUNCTION) },
          openRawTracepoint,
        ),
      ],
      [
        '`tp_btf` (typed tracepoint)',
        attached(
          {
            type: Type.tracing,
            attachType: AttachTo.rawTp,
            btfId: typeId('typedef', `btf_trace_${TRACEPOINT}`),
          },
          openRawTracepoint,
        ),
      ],
      ['raw tracepoint', attached({ type: Type.rawTracepoint }, (fd) => openRawTracepoint(fd, TRACEPOINT))],
      ['classic tracepoint', answer(load({ type: Type.tracepoint }))],
      [
        '`format` file of a tracepoint (tracefs)',
        there(`/sys/kernel/tracing/events/sock/${TRACEPOINT}/format`),
      ],
      ['`bpf_probe_read_kernel`', takes(readsMemory(probeReadKernel))],
      ['`bpf_get_attach_cookie`', takes([call(getAttachCookie), mov(r0, 0), exit()])],
      ['ring buffer map', ringBuffer()],
      ['instruction set v4 (`movsx`)', takes([mov(r1, 1), movsx(s8, r0, r1), exit()])],
      [
        'acquire and release',
        takes([st(u64, r10, -8, 0), mov(r1, r10), loadAcquire(u64, r0, r1, -8), exit()]),
      ],
      ['size of vmlinux BTF', describeTypes()],
      ['vmlinux BTF can be mapped (mmap)', typeof mapped === 'number' ? 'no' : 'yes'],
      ['kernel counts missed runs of programs', countsMissedRuns() ? 'yes' : 'no'],
      ['kernel counts missed hits of kprobes', countsMissedHits() ? 'yes' : 'no'],
      ['verifier log ends with', logForm()],
      ['MPTCP', there('/proc/sys/net/mptcp/enabled')],
    ],
  };
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const outcomes = noStage() ? undefined : await outcomeTable();
  console.log(JSON.stringify({ ...gather(), outcomes } satisfies Facts));
}
