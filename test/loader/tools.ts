/**
 * A tool for the loader's tests, written in instructions: it sends an event for each getuid() call of one
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
import { type PerfEventArraySpec, perfEventArray } from '../../src/asm/events.ts';
import { getCurrentPidTgid, perfEventOutput } from '../../src/asm/helpers.ts';
import type { Item } from '../../src/asm/instruction.ts';
import { bytes, struct, u64, u64n } from '../../src/asm/layout.ts';
import { array, type MapSpec } from '../../src/asm/map.ts';
import type { Attachment, Tool } from '../../src/asm/program.ts';
import { r0, r1, r2, r3, r4, r5, r6, r10 } from '../../src/asm/registers.ts';

/** An event of 64 bytes: the number of the call, from 1, and `MARK` in the last 8 bytes. */
export const Event = struct({ sequence: u64n, fill: bytes(48), mark: u64n });
/** The `mark` of every event. */
export const MARK = 0x5eed;

/** `__NR_getuid`. */
const GETUID = process.arch === 'arm64' ? 174 : 102;

export interface GetuidTool extends Tool<PerfEventArraySpec<typeof Event>> {
  /** Counts all calls, including those whose event was lost. */
  readonly calls: ReturnType<typeof callsMap>;
}

const callsMap = () => array('calls', { value: u64n });

/**
 * Makes the tool for a process. It attaches to the raw tracepoint sys_enter, unless `attachment` is passed.
 */
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

/** The arguments of sys_enter are a struct pt_regs * and the number of the system call. */
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
 * Starts a process that waits for `go()`, calls getuid() `times` times as fast as it can, and exits with
 * status 0.
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

/** Waits until `condition` holds, for at most 2 s. */
export async function until(condition: () => boolean): Promise<void> {
  for (let waited = 0; waited < 2000 && !condition(); waited += 5)
    await new Promise((resolve) => setTimeout(resolve, 5));
  if (!condition()) throw new Error(`condition not met within 2 s: ${condition}`);
}
