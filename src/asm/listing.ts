/**
 * Listings of assembled programs: slots, bytes, instruction text, and source lines.
 */
import { type Assembled, assemble, destinationOf } from './assemble.ts';
import { disassemble } from './disassemble.ts';
import { encode } from './encode.ts';
import { isJumpTable } from './jump-table.ts';
import { type MapSpec, slotNumber } from './map.ts';
import { isMapOfMaps } from './map-of-maps.ts';
import { type Locate, type Location, locate as locateFrame } from './position.ts';
import { hex, MAX_NAME_LENGTH, printable, truncate } from './printable.ts';
import type { Attachment, ProgramSpec, TailCalled, Tool } from './program.ts';
import { mapLine } from './text/map-line.ts';
import { mapsOf, programsOf, tailCalledSlots } from './tool-parts.ts';

/**
 * Lists the maps and programs of a tool for people to read, as `tcpconnlat -v` prints them: slot, bytes and
 * text of each instruction, below the source line that made it. Tail-called programs follow the attached
 * ones, with their slots.
 *
 * `locate` reads the source positions; without it the lines have file and line, not the source text. `() =>
 * undefined` leaves them out.
 *
 * @throws {AssembleError} if a program cannot be assembled.
 *
 * @example
 * import { array, kprobe, listTool, target, u64 } from 'tsbpf';
 *
 * const calls = array('calls', { value: u64, maxEntries: 1 });
 * const onConnect = kprobe('tcp_v4_connect', target('x64'), (b) => b.count(calls, 0));
 * console.log(listTool({ name: 'calls', programs: [onConnect] }));
 */
export function listTool(tool: Tool, locate: Locate = locateFrame): string {
  const programs = [...programsOf(tool)].map((program) => listOne(program, tool, locate));
  return [listMaps(mapsOf(tool)), ...programs].join('');
}

/**
 * Lists one program and its maps, as `listTool` does. Needs no kernel.
 *
 * @throws {AssembleError} if the program cannot be assembled.
 *
 * @example
 * import { kprobe, listProgram, target } from 'tsbpf';
 *
 * const program = kprobe('tcp_v4_connect', target('x64'), (b) => b.exit());
 * console.log(listProgram(program));
 */
export function listProgram(program: ProgramSpec, locate: Locate = locateFrame): string {
  return listTool({ name: program.name, programs: [program] }, locate);
}

/** One line per map. The inner map of a map of maps precedes it. */
export function listMaps(maps: Iterable<MapSpec>): string {
  const all = new Set([...maps].flatMap((map) => (isMapOfMaps(map) ? [map.inner, map] : [map])));
  return [...all].map((map) => `${mapLine(map)}\n`).join('');
}

function listOne(program: ProgramSpec, { programs, tailCalled = [] }: Tool, locate: Locate): string {
  const { name, attachment, instructions } = program;
  const assembled = assemble(instructions);
  const slots = tailCalled.flatMap((each) => slotsIn(each, program));
  const facts = [
    describeAttachment(attachment),
    ...(slots.length > 0 && !programs.includes(program) ? ['not attached'] : []),
    ...slots,
    `${assembled.bytes.length / 8} instructions`,
  ];
  const head = `\nprogram ${name}: ${facts.join(', ')}\n`;
  return head + listTables(assembled) + [...instructionLines(assembled, locate)].join('');
}

/** The slots of a program array that hold a program, by name if the array names its slots. */
function slotsIn(tailCalled: TailCalled, program: ProgramSpec): string[] {
  const { array } = tailCalled;
  const names = tailCalledSlots([tailCalled])
    .filter((each) => each.program === program)
    .map(({ slot }) => array.slots[slotNumber(array, slot)] ?? slot);
  if (names.length === 0) return [];
  return [`slot${names.length > 1 ? 's' : ''} ${names.join(' and ')} of ${array.name}`];
}

/** What a program attaches to: its kind, and the function or tracepoint. */
export function describeAttachment(attachment: Attachment): string {
  if (attachment.kind === 'tracepoint')
    return `${attachment.kind} ${attachment.category}:${attachment.tracepoint}`;
  if ('functions' in attachment) return `${attachment.kind} ${attachment.functions.join(', ')}`;
  return `${attachment.kind} ${'symbol' in attachment ? attachment.symbol : attachment.tracepoint}`;
}

/** The jump tables of a program. A table has a line for each subprogram that uses it. */
function listTables({ instructions }: Assembled): string {
  const lines = new Set<string>();
  for (const { instruction } of instructions) {
    const { reference } = instruction;
    if (reference?.kind === 'mapValue' && isJumpTable(reference.map))
      lines.add(`${mapLine(reference.map, reference.within)}\n`);
  }
  return [...lines].join('');
}

/**
 * The lines of a program: slot, bytes and text of each instruction, with labels and source lines between
 * them.
 */
export function* instructionLines({ instructions }: Assembled, locate: Locate): Generator<string> {
  let last: string | undefined;
  const labelAt = new Map<number, string>();
  for (const { slot, labels } of instructions)
    if (labels[0] !== undefined) labelAt.set(slot, printable(labels[0]));
  for (const { slot, instruction, labels, target } of instructions) {
    for (const label of labels) yield `${printable(label)}:\n`;
    const source = sourceOf(locate(instruction.position));
    if (source && source !== last) yield `; ${source}\n`;
    last = source ?? last;
    const bytes = encode(instruction);
    const text = disassemble(instruction);
    const destination =
      target === undefined ? labelAt.get(destinationOf(slot, instruction) ?? -1) : printable(target);
    yield `${line(slot, bytes.subarray(0, 8))}  ${text}${destination === undefined ? '' : ` <${destination}>`}\n`;
    if (bytes.length > 8) yield `${line(slot + 1, bytes.subarray(8))}\n`;
  }
}

function line(slot: number, bytes: Uint8Array): string {
  return `${String(slot).padStart(5)}: ${hex(bytes)}`;
}

function sourceOf(place: Location | undefined): string | undefined {
  if (!place) return undefined;
  const text = place.text === undefined ? '' : `: ${truncate(place.text.trim(), MAX_NAME_LENGTH)}`;
  return printable(`${place.file}:${place.line}${text}`, '\t');
}
