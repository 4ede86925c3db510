/**
 * Assembled programs for people to read: slots, bytes, the kernel's text, and the source lines that made them.
 */
import { type Assembled, assemble } from '../asm/assemble.ts';
import { disassemble } from '../asm/disassemble.ts';
import { encode } from '../asm/encode.ts';
import { layoutOf } from '../asm/layout.ts';
import { type MapSpec, MapType, slotNumber } from '../asm/map.ts';
import type { Locate, Location } from '../asm/position.ts';
import type { Attachment, ProgramSpec, TailCalled, Tool } from '../asm/program.ts';
import { mapsOf, slotsOf } from '../asm/tool-parts.ts';
import { hex } from './text.ts';

/**
 * The maps and programs of a tool, those that are tail-called behind those that are attached and with the slots that they stand in. A source
 * line stands above the instructions that it made.
 */
export function listTool(tool: Tool, locate: Locate): string {
  const inSlots = slotsOf(tool.tailCalled ?? []);
  const programs = new Set([...tool.programs, ...inSlots.map(({ program }) => program)]);
  return [
    ...[...mapsOf(tool)].map(listMap),
    ...[...programs].map((program) => listProgram(program, tool, locate)),
  ].join('');
}

function listMap({ name, type, key, value, maxEntries }: MapSpec): string {
  const kind = Object.entries(MapType).find(([, number]) => number === type)?.[0] ?? `type ${type}`;
  const entries =
    type === MapType.perfEventArray
      ? 'one ring a CPU'
      : maxEntries === 1
        ? '1 entry'
        : `${maxEntries} entries`;
  return `map ${name}: ${kind}, key ${layoutOf(key).size} bytes, value ${layoutOf(value).size} bytes, ${entries}\n`;
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
  return `\nprogram ${name}: ${facts.join(', ')}\n${listInstructions(assembled, locate)}`;
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

function listInstructions({ instructions }: Assembled, locate: Locate): string {
  let last: string | undefined;
  const lines: string[] = [];
  for (const { slot, instruction, labels, target } of instructions) {
    for (const label of labels) lines.push(`${label}:`);
    const source = sourceOf(locate(instruction.position));
    if (source && source !== last) lines.push(`; ${source}`);
    last = source ?? last;
    const bytes = encode(instruction);
    const text = disassemble(instruction);
    lines.push(`${line(slot, bytes.subarray(0, 8))}  ${target === undefined ? text : `${text} <${target}>`}`);
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
