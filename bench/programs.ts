/**
 * The size of the programs, assembled for the running kernel without options: counted, not timed. The
 * reference for the kprobe programs is libbpf-tools' tcpconnlat, compiled with clang 14 -O2.
 */
import type { Instruction } from '../src/asm/instruction.ts';
import { CALL } from '../src/asm/opcodes.ts';
import { type ResolvedProgram, resolve } from '../src/asm/resolve.ts';
import { target } from '../src/asm/target.ts';
import { Kernel } from '../src/loader/kernel.ts';
import type { ProbeType } from '../src/programs/tcpconnlat/options.ts';
import { tcpconnlat } from '../src/programs/tcpconnlat.ts';
import type { Row } from './measure.ts';

export async function programs(): Promise<Row[]> {
  const connect = program('kprobe', 'tcp_v4_connect');
  const answer = program('kprobe', 'tcp_set_state');
  const typed = program('tp_btf', 'inet_sock_state');
  const raw = program('raw_tracepoint', 'inet_sock_state');
  return [
    row('kprobe: connect program', size(connect), 61, 31),
    row("kprobe: instructions of a socket's first connect", shortest(connect), 22),
    row('kprobe: program for changes of state', size(answer), 86, 124),
    row('kprobe: exit path for other states', shortest(answer), 6, 11),
    row('kprobe: helper calls on the longest path', mostCalls(answer), 6),
    row('tp_btf: program', size(typed), 116),
    row('tp_btf: exit path for other state changes', shortest(typed), 6),
    row('tp_btf: helper calls on the longest path', mostCalls(typed), 5),
    row('raw_tracepoint: program', size(raw)),
    row('raw_tracepoint: exit path for other state changes', shortest(raw), 6),
    row('raw_tracepoint: helper calls on the longest path', mostCalls(raw)),
  ];
}

function row(measure: string, figure: number, bar?: number, peer?: number): Row {
  return {
    measure,
    figure: String(figure),
    reference: peer === undefined ? undefined : `libbpf-tools: ${peer}`,
    bar: bar === undefined ? undefined : String(bar),
    met: bar === undefined ? undefined : figure <= bar,
  };
}

/** A program with its control-flow graph. */
function program(probe: ProbeType, name: string): ResolvedProgram {
  const { programs } = tcpconnlat({ probe }, target(process.arch, new Kernel().btf));
  const found = programs.find((each) => each.name === name);
  if (!found) throw new Error(`tcpconnlat has no program '${name}' for ${probe}`);
  return resolve(found.instructions);
}

/** Slots; an lddw takes two. */
function size({ slots }: ResolvedProgram): number {
  return slots;
}

/** Instructions on the shortest path to an exit, inclusive. */
function shortest(program: ResolvedProgram): number {
  return best(program, 'least', () => 1);
}

/** Helper calls on the path with most calls. */
function mostCalls(program: ResolvedProgram): number {
  return best(program, 'most', ({ opcode, src }) => (opcode === CALL && src === 0 ? 1 : 0));
}

/** The weight of the lightest or heaviest path from the start to an exit. The programs have no loops. */
function best(
  { graph }: ResolvedProgram,
  which: 'least' | 'most',
  weigh: (instruction: Instruction) => number,
): number {
  const choose = which === 'least' ? Math.min : Math.max;
  const known = new Map<number, number>();
  const from = (block: number): number => {
    const before = known.get(block);
    if (before !== undefined) return before;
    const next = [...graph.successors(block)].map(from);
    const own = graph.code.instructions.slice(graph.first(block), graph.last(block) + 1);
    const weight = own.reduce((sum, each) => sum + weigh(each), 0) + (next.length > 0 ? choose(...next) : 0);
    known.set(block, weight);
    return weight;
  };
  return from(0);
}
