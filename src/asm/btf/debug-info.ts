/**
 * The debug information of a program: the names of its functions, and the source line of each instruction.
 * The verifier's log and `bpftool prog dump` print them.
 *
 * Source: include/uapi/linux/bpf.h (`bpf_func_info`, `bpf_line_info`); kernel/bpf/verifier.c
 * (`check_btf_func`, `check_btf_line`).
 */
import { type Assembled, type AssembledInstruction, functionStarts } from '../assemble.ts';
import { formOf } from '../isa.ts';
import type { Locate, Location } from '../position.ts';
import { BtfBuilder, type BtfParam, IntEncoding, identifier } from './builder.ts';

/** BTF with the functions and source lines, and the records that refer to it. */
export interface ProgramDebugInfo {
  readonly bytes: Uint8Array;
  /** `bpf_func_info` records, one for each subprogram. */
  readonly functions: Uint8Array;
  /** `bpf_line_info` records, one for each change of line; empty if no line is known. */
  readonly lines: Uint8Array;
}

/** The sizes of the records in bytes. */
export const FUNCTION_RECORD = 8;
export const LINE_RECORD = 16;

/** The maximum column and line in a line record. */
const LAST_COLUMN = 2 ** 10 - 1;
const LAST_LINE = 2 ** 22 - 1;

/** Makes the debug information of a program. `find` resolves the positions of its instructions. */
export function programDebugInfo(name: string, assembled: Assembled, find: Locate): ProgramDebugInfo {
  const types = new BtfBuilder();
  const { instructions } = assembled;
  const functionsAt = functionStarts(assembled);
  const starts = new Set(functionsAt.map(({ slot }) => slot));
  const int = types.int('int', 4, IntEncoding.signed);
  const counts = stackArguments(instructions, starts);
  const functions = functionsAt.map(({ slot, labels }) => {
    const named = slot === 0 ? name : (labels[0] ?? `${name}_${slot}`);
    // Parameters are declared only if necessary, because the verifier checks the declaration.
    return [slot, types.func(identifier(named), int, words64(types, counts.get(slot) ?? 0))];
  });
  const lines = lineRecords(types, instructions, starts, find);
  return { bytes: types.bytes(), functions: words(functions), lines: words(lines) };
}

/**
 * Parameters of 64 bits: any value, also a pointer, since the verifier tracks the actual arguments of a
 * static function.
 */
function words64(types: BtfBuilder, count: number): BtfParam[] {
  if (count === 0) return [];
  const type = types.int('u64', 8, IntEncoding.unsigned);
  return Array.from({ length: count }, (_, index) => ({ name: `arg${index + 1}`, type }));
}

/**
 * For each function with arguments past the fifth, by its first slot, the number of its arguments. The kernel
 * learns only from the types which words on the stack are arguments (Linux 7.2).
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

/** The number of argument registers, r1 to r5. */
const ARGUMENT_REGISTERS = 5;

/**
 * The kernel requires a record at the start of every subprogram: if its first line is unknown, it gets the
 * next known line.
 */
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
