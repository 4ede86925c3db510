/**
 * What a program tells the kernel about itself: its functions' names, and the author's line of each instruction. The
 * verifier's log and `bpftool prog dump` print those.
 *
 * Source: include/uapi/linux/bpf.h (`bpf_func_info`, `bpf_line_info`); kernel/bpf/verifier.c (`check_btf_func`,
 * `check_btf_line`).
 */
import { type Assembled, type AssembledInstruction, functionStarts } from '../assemble.ts';
import { formOf } from '../isa.ts';
import type { Locate, Location } from '../position.ts';
import { BtfBuilder, type BtfParam, IntEncoding, identifier } from './builder.ts';

/** Types with the functions in them and the texts, and the records that refer to both. */
export interface ProgramDebugInfo {
  readonly bytes: Uint8Array;
  /** `bpf_func_info`, one a subprogram. */
  readonly functions: Uint8Array;
  /** `bpf_line_info`, one wherever another line begins; empty where no line is known. */
  readonly lines: Uint8Array;
}

/** Bytes of a record of either sort. */
export const FUNCTION_RECORD = 8;
export const LINE_RECORD = 16;

/** What fits beside the line's number. */
const LAST_COLUMN = 2 ** 10 - 1;
const LAST_LINE = 2 ** 22 - 1;

/** What to tell of a program by that name; `find` reads the positions of its instructions. */
export function programDebugInfo(name: string, assembled: Assembled, find: Locate): ProgramDebugInfo {
  const types = new BtfBuilder();
  const { instructions } = assembled;
  const functionsAt = functionStarts(assembled);
  const starts = new Set(functionsAt.map(({ slot }) => slot));
  const int = types.int('int', 4, IntEncoding.signed);
  const counts = stackArguments(instructions, starts);
  const functions = functionsAt.map(({ slot, labels }) => {
    const named = slot === 0 ? name : (labels[0] ?? `${name}_${slot}`);
    // What they are given is said only where it has to be: the verifier would hold us to it.
    return [slot, types.func(identifier(named), int, words64(types, counts.get(slot) ?? 0))];
  });
  const lines = lineRecords(types, instructions, starts, find);
  return { bytes: types.bytes(), functions: words(functions), lines: words(lines) };
}

/** So many parameters of 64 bits: any value, a pointer too, since the verifier follows what a static function is really given. */
function words64(types: BtfBuilder, count: number): BtfParam[] {
  if (count === 0) return [];
  const type = types.int('u64', 8, IntEncoding.unsigned);
  return Array.from({ length: count }, (_, index) => ({ name: `arg${index + 1}`, type }));
}

/**
 * By their first slots the functions that read arguments past the fifth, and how many they have by that: which words on the stack are
 * arguments the kernel knows from the types alone (Linux 7.2).
 */
function stackArguments(
  instructions: readonly AssembledInstruction[],
  starts: ReadonlySet<number>,
): ReadonlyMap<number, number> {
  const counts = new Map<number, number>();
  let start = 0;
  for (const { slot, instruction } of instructions) {
    if (starts.has(slot)) start = slot;
    if (formOf(instruction)?.name !== 'loadArgument') continue;
    const nth = ARGUMENT_REGISTERS + instruction.off / 8;
    counts.set(start, Math.max(nth, counts.get(start) ?? 0));
  }
  return counts;
}

/** r1 to r5. */
const ARGUMENT_REGISTERS = 5;

/** The kernel wants a record at the start of every subprogram: one whose first line is unknown has that of what follows. */
function lineRecords(
  types: BtfBuilder,
  instructions: readonly AssembledInstruction[],
  starts: ReadonlySet<number>,
  find: Locate,
): number[][] {
  const places = instructions.map(({ instruction }) => find(instruction.position));
  if (places.every((place) => place === undefined)) return [];
  const records: number[][] = [];
  let last = '';
  for (const [index, { slot }] of instructions.entries()) {
    const begins = starts.has(slot);
    const place = places[index] ?? (begins ? places.find((later, at) => at > index && later) : undefined);
    const key = place === undefined ? last : `${place.file}:${place.line}`;
    if (key === last && !begins) continue;
    last = key;
    records.push([slot, ...lineRecord(types, place)]);
  }
  return records;
}

function lineRecord(types: BtfBuilder, place: Location | undefined): number[] {
  if (place === undefined) return [0, 0, 0];
  const line = Math.min(place.line, LAST_LINE);
  const column = Math.min(place.column, LAST_COLUMN);
  const text = place.text?.trim().replaceAll('\0', '') ?? '';
  return [types.string(place.file), types.string(text), ((line << 10) | column) >>> 0];
}

function words(records: readonly (readonly number[])[]): Uint8Array {
  const all = records.flat();
  const bytes = new Uint8Array(4 * all.length);
  const view = new DataView(bytes.buffer);
  for (const [index, word] of all.entries()) view.setUint32(4 * index, word, true);
  return bytes;
}
