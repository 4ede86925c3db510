/**
 * A tool for tests of the loader, in plain instructions: it sends an event at each call of getuid() of one
 * process.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  add,
  call,
  exit,
  jne,
  label,
  ldx,
  loadMap,
  loadMapValue,
  mov,
  mov32,
  rsh,
  st,
  stx,
} from '../../src/asm/constructors.ts';
import { getCurrentPidTgid, perfEventOutput } from '../../src/asm/helpers.ts';
import type { Item } from '../../src/asm/instruction.ts';
import { bytes, struct, u64, u64n } from '../../src/asm/layout.ts';
import { array, type MapSpec, perfEventArray } from '../../src/asm/map.ts';
import type { Attachment, Tool } from '../../src/asm/program.ts';
import { r0, r1, r2, r3, r4, r5, r6, r10 } from '../../src/asm/registers.ts';

/** 64 bytes: which call it was, from 1 on, and a mark in the last byte but seven. */
export const Event = struct({ sequence: u64n, fill: bytes(48), mark: u64n });
/** What the events' `mark` is. */
export const MARK = 0x5eed;

/** The number of getuid(), `__NR_getuid`. */
const GETUID = process.arch === 'arm64' ? 174 : 102;

export interface GetuidTool extends Tool<typeof Event> {
  /** Counts the calls, also those whose event was lost. */
  readonly calls: ReturnType<typeof callsMap>;
}

const callsMap = () => array('calls', { value: u64n });

/** The tool for a process, on the raw tracepoint sys_enter by itself or by its BTF id. */
export function getuidTool(
  pid: number,
  attachment: Attachment = { kind: 'raw_tracepoint', tracepoint: 'sys_enter' },
): GetuidTool {
  const calls = callsMap();
  const events = perfEventArray('events', Event);
  return {
    name: 'getuid',
    programs: [{ name: 'on_getuid', attachment, instructions: onGetuid(pid, calls, events) }],
    maps: [calls, events],
    events,
    calls,
  };
}

/** Arguments of sys_enter: struct pt_regs *, the number of the system call. */
function onGetuid(pid: number, calls: MapSpec, events: MapSpec): Item[] {
  const event = -64;
  return [
    ldx(u64, r2, r1, 8),
    jne(r2, GETUID, 'out'),
    mov(r6, r1),
    call(getCurrentPidTgid),
    rsh(r0, 32),
    jne(r0, pid, 'out'),
    loadMapValue(r1, calls),
    ldx(u64, r2, r1, 0),
    add(r2, 1),
    stx(u64, r1, 0, r2),
    stx(u64, r10, event, r2),
    ...[8, 16, 24, 32, 40, 48].map((at) => st(u64, r10, event + at, 0)),
    st(u64, r10, event + 56, MARK),
    mov(r1, r6),
    loadMap(r2, events),
    mov32(r3, -1), // BPF_F_CURRENT_CPU
    mov(r4, r10),
    add(r4, event),
    mov(r5, 64),
    call(perfEventOutput),
    label('out'),
    mov(r0, 0),
    exit(),
  ];
}

/**
 * A process that calls getuid() so many times, as fast as it can, after it was told to; its exit code is 0.
 */
export function getuidProcess(times: number): { readonly pid: number; go(): Promise<unknown> } {
  const script = `process.stdin.once('data', () => { for (let i = 0; i < ${times}; i++) process.getuid(); process.exit(0); })`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['pipe', 'ignore', 'inherit'] });
  return {
    pid: child.pid as number,
    go() {
      const done = once(child, 'exit');
      child.stdin.end('go\n');
      return done;
    },
  };
}

/** Waits, 2 s at most, until `condition` holds. */
export async function until(condition: () => boolean): Promise<void> {
  for (let waited = 0; waited < 2000 && !condition(); waited += 5)
    await new Promise((resolve) => setTimeout(resolve, 5));
  if (!condition()) throw new Error(`not within 2 s: ${condition}`);
}
