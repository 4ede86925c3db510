/**
 * Assembled programs for people to read: slots, bytes, the kernel's text, and the source lines that made them.
 */
import { type Assembled, assemble, destinationOf } from '../asm/assemble.ts';
import { disassemble } from '../asm/disassemble.ts';
import { encode } from '../asm/encode.ts';
import { isJumpTable } from '../asm/jump-table.ts';
import { type MapSpec, slotNumber } from '../asm/map.ts';
import { isMapOfMaps } from '../asm/map-of-maps.ts';
import type { Locate, Location } from '../asm/position.ts';
import type { Attachment, ProgramSpec, TailCalled, Tool } from '../asm/program.ts';
import { mapLine } from '../asm/text/map-line.ts';
import { mapsOf, slotsOf } from '../asm/tool-parts.ts';
import { hex } from './text.ts';

/**
 * The maps and programs of a tool, those that are tail-called behind those that are attached and with the slots that they stand in. A source
 * line stands above the instructions that it made.
 */
export function listTool(tool: Tool, locate: Locate): string {
  const inSlots = slotsOf(tool.tailCalled ?? []);
  const programs = new Set([...tool.programs, ...inSlots.map(({ program }) => program)]);
  return [listMaps(mapsOf(tool)), ...[...programs].map((program) => listProgram(program, tool, locate))].join(
    '',
  );
}

/** The lines of maps, what stands in others before them. */
export function listMaps(maps: Iterable<MapSpec>): string {
  const all = new Set([...maps].flatMap((map) => (isMapOfMaps(map) ? [map.inner, map] : [map])));
  return [...all].map((map) => `${mapLine(map)}\n`).join('');
}

function listProgram(program: ProgramSpec, { programs, tailCalled = [] }: Tool, locate: Locate): string {
  const { name, attachment, instructions } = program;
  const assembled = assemble(instructions);
  const slots = tailCalled.flatMap((each) => slotsIn(each, program));
  const facts = [
    describe(attachment),
    ...(slots.length > 0 && !programs.includes(program) ? ['not attached'] : []),
    ...slots,
    `${assembled.bytes.length / 8} instructions`,
  ];
  const head = `\nprogram ${name}: ${facts.join(', ')}\n`;
  return head + listTables(assembled) + listInstructions(assembled, locate);
}

/** The slots of a program array that a program stands in, by their names where they have some. */
function slotsIn(tailCalled: TailCalled, program: ProgramSpec): string[] {
  const { array } = tailCalled;
  const names = slotsOf([tailCalled])
    .filter((each) => each.program === program)
    .map(({ slot }) => array.slots[slotNumber(array, slot)] ?? slot);
  if (names.length === 0) return [];
  return [`slot${names.length > 1 ? 's' : ''} ${names.join(' and ')} of ${array.name}`];
}

function describe(attachment: Attachment): string {
  if (attachment.kind === 'tracepoint')
    return `${attachment.kind} ${attachment.category}:${attachment.tracepoint}`;
  return `${attachment.kind} ${'symbol' in attachment ? attachment.symbol : attachment.tracepoint}`;
}

/** The jump tables of a program: of one that two subprograms go through, a line for each. */
function listTables({ instructions }: Assembled): string {
  const lines = instructions.map(({ instruction: { reference } }) =>
    reference?.kind === 'mapValue' && isJumpTable(reference.map)
      ? `${mapLine(reference.map, reference.within)}\n`
      : '',
  );
  return [...new Set(lines)].join('');
}

/** The instructions of a program in their slots, as bytes and text. */
export function listInstructions({ instructions }: Assembled, locate: Locate): string {
  let last: string | undefined;
  const lines: string[] = [];
  const labelAt = new Map(instructions.map(({ slot, labels }) => [slot, labels[0]]));
  for (const { slot, instruction, labels, target } of instructions) {
    for (const label of labels) lines.push(`${label}:`);
    const source = sourceOf(locate(instruction.position));
    if (source && source !== last) lines.push(`; ${source}`);
    last = source ?? last;
    const bytes = encode(instruction);
    const text = disassemble(instruction);
    const leadsTo = target ?? labelAt.get(destinationOf(slot, instruction) ?? -1);
    lines.push(`${line(slot, bytes.subarray(0, 8))}  ${text}${leadsTo === undefined ? '' : ` <${leadsTo}>`}`);
    if (bytes.length > 8) lines.push(line(slot + 1, bytes.subarray(8)));
  }
  return `${lines.join('\n')}\n`;
}

function line(slot: number, bytes: Uint8Array): string {
  return `${String(slot).padStart(5)}: ${hex(bytes)}`;
}

function sourceOf(place: Location | undefined): string | undefined {
  if (!place) return undefined;
  return place.text === undefined
    ? `${place.file}:${place.line}`
    : `${place.file}:${place.line}: ${place.text.trim()}`;
}
