/**
 * How long the programs are, assembled for the running kernel with no options: counted, not timed. Beside the kprobe ones stand those
 * of libbpf-tools' tcpconnlat, compiled with clang 14 -O2.
 */
import { assemble } from '../src/asm/assemble.ts';
import { decode } from '../src/asm/decode.ts';
import type { Instruction } from '../src/asm/instruction.ts';
import { distanceField, formOf } from '../src/asm/isa.ts';
import type { ProgramSpec } from '../src/asm/program.ts';
import { target } from '../src/asm/target.ts';
import { Kernel } from '../src/loader/kernel.ts';
import { tcpconnlat, type Way } from '../src/programs/tcpconnlat.ts';
import type { Row } from './measure.ts';

export async function programs(): Promise<Row[]> {
  const connect = program('kprobe', 'tcp_v4_connect');
  const answer = program('kprobe', 'tcp_rcv_state');
  const typed = program('tp_btf', 'inet_sock_state');
  const raw = program('raw_tracepoint', 'inet_sock_state');
  return [
    row('kprobe: connect program', size(connect), 26, 31),
    row('kprobe: answer program', size(answer), 70, 124),
    row('kprobe: way out where nothing connects', shortest(answer), 12, 11),
    row('kprobe: helper calls on the longest way', mostCalls(answer), 6),
    row('tp_btf: program', size(typed), 90),
    row('tp_btf: way out for other state changes', shortest(typed), 5),
    row('tp_btf: helper calls on the longest way', mostCalls(typed), 5),
    row('raw_tracepoint: program', size(raw)),
    row('raw_tracepoint: way out for other state changes', shortest(raw), 5),
    row('raw_tracepoint: helper calls on the longest way', mostCalls(raw)),
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

/** An instruction of a program, and where it may go on, as slots; nowhere after an exit. */
interface Node {
  readonly instruction: Instruction;
  readonly next: readonly number[];
}

type Graph = ReadonlyMap<number, Node>;

function program(way: Way, name: string): Graph {
  const { programs } = tcpconnlat({ way }, target(process.arch, new Kernel().btf));
  const found = programs.find((each) => each.name === name);
  if (!found) throw new Error(`tcpconnlat has no program '${name}' by ${way}`);
  return graph(found);
}

function graph({ instructions }: ProgramSpec): Graph {
  const nodes = new Map<number, Node>();
  let slot = 0;
  for (const instruction of decode(assemble(instructions).bytes)) {
    const after = slot + (instruction.high === undefined ? 1 : 2);
    nodes.set(slot, { instruction, next: successors(instruction, after) });
    slot = after;
  }
  return nodes;
}

function successors(instruction: Instruction, after: number): number[] {
  const form = formOf(instruction);
  const field = form && distanceField(form);
  const there = field === undefined ? after : after + instruction[field];
  switch (form?.flow) {
    case 'exit':
      return [];
    case 'jump':
      return [there];
    case 'branch':
      return [after, there];
    case 'next':
      return [after];
    default:
      throw new Error('a call of a subprogram: its ways are not followed');
  }
}

/** Slots: an lddw counts as two. */
function size(graph: Graph): number {
  const last = Math.max(...graph.keys());
  return last + (graph.get(last)?.instruction.high === undefined ? 1 : 2);
}

/** Instructions run on the shortest way to an exit, that included. */
function shortest(graph: Graph): number {
  return best(graph, 'least', () => 1);
}

/** Helper calls on the way that has most. */
function mostCalls(graph: Graph): number {
  return best(graph, 'most', ({ opcode, src }) => (opcode === 0x85 && src === 0 ? 1 : 0));
}

/** The way from the beginning to an exit with the least or most weight. The programs have no loops. */
function best(graph: Graph, which: 'least' | 'most', weigh: (instruction: Instruction) => number): number {
  const choose = which === 'least' ? Math.min : Math.max;
  const known = new Map<number, number>();
  const from = (slot: number): number => {
    const node = graph.get(slot);
    if (!node) throw new Error(`nothing at slot ${slot}`);
    const rest = known.get(slot) ?? (node.next.length === 0 ? 0 : choose(...node.next.map(from)));
    known.set(slot, rest);
    return weigh(node.instruction) + rest;
  };
  return from(0);
}
