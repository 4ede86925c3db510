/**
 * The guest's part of `cost.ts`: starts each tool, makes accepted loopback connects, and prints the run time
 * of the tool's programs per connect as JSON, in ns. The guest's clock makes that a number of instructions.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { ProbeType } from '../src/programs/tcpconnlat/options.ts';
import { type Child, dist, pidOf, stop } from './process.ts';
import { accept, close, connect, listen, open, openBound } from './sockets.ts';

/** Instructions per connect of libbpf-tools' tcpconnlat, and of each probe type of this project's. */
export interface Costs {
  readonly reference: number;
  readonly probes: Readonly<Partial<Record<ProbeType, number>>>;
}

const REFERENCE = '/usr/lib/libbpf-tools';
const PROBES: readonly ProbeType[] = ['kprobe', 'fentry', 'tp_btf', 'raw_tracepoint', 'trace_event'];
const WARM_UP = 20;
const CONNECTS = 200;

const { fd: listener, address } = openBound();
if (listen(listener, 16) < 0) throw new Error('listen');

function makeConnects(count: number): void {
  for (let i = 0; i < count; i++) {
    const fd = open();
    if (connect(fd, address, address.length) < 0) throw new Error('connect');
    close(accept(listener, null, null));
    close(fd);
  }
}

/** The run time of all programs that a process has loaded, ns. */
function runNs(pid: number): number {
  const programs = new Map<string, number>();
  for (const fd of readdirSync(`/proc/${pid}/fdinfo`)) {
    const info = readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1');
    const field = (name: string) => new RegExp(`^${name}:\\s*(\\d+)$`, 'm').exec(info)?.[1];
    const id = field('prog_id');
    // A link's fdinfo has the ID of its program, but not the run time.
    const ns = field('run_time_ns');
    if (id !== undefined && ns !== undefined) programs.set(id, Number(ns));
  }
  if (programs.size === 0) throw new Error(`process ${pid} has no programs`);
  return [...programs.values()].reduce((sum, ns) => sum + ns, 0);
}

/** Waits for the header, which all tools print when they have attached. */
function attached({ stdout, spawnfile }: Child): Promise<void> {
  let output = '';
  return new Promise((resolve, reject) => {
    stdout.setEncoding('utf8');
    stdout.on('data', (text) => {
      output += text;
      if (output.includes('PID')) resolve();
    });
    stdout.once('end', () => reject(new Error(`${spawnfile} ended before it traced`)));
  });
}

async function costOf(command: string, args: readonly string[], env = {}): Promise<number> {
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    await attached(child);
    makeConnects(WARM_UP);
    const before = runNs(pidOf(child));
    makeConnects(CONNECTS);
    return (runNs(pidOf(child)) - before) / CONNECTS;
  } finally {
    await stop(child);
  }
}

writeFileSync('/proc/sys/kernel/bpf_stats_enabled', '1');
const reference = await costOf('stdbuf', ['-oL', `${REFERENCE}/tcpconnlat`], {
  LD_LIBRARY_PATH: REFERENCE,
});
const probes: Partial<Record<ProbeType, number>> = {};
for (const probe of PROBES)
  probes[probe] = await costOf(process.execPath, [dist('tcpconnlat.cjs'), '--quiet', '--probe', probe]);
process.stdout.write(JSON.stringify({ reference, probes } satisfies Costs));
