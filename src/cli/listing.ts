/**
 * Assembled programs for people to read: slots, bytes, the kernel's text, and the source lines that made them.
 */
import { type Assembled, assemble } from '../asm/assemble.ts';
import { disassemble } from '../asm/disassemble.ts';
import { encode } from '../asm/encode.ts';
import { layoutOf } from '../asm/layout.ts';
import { type MapSpec, MapType } from '../asm/map.ts';
import type { Locate, Location } from '../asm/position.ts';
import type { Attachment, ProgramSpec, Tool } from '../asm/program.ts';
import { hex } from './text.ts';

/** The maps and programs of a tool. A source line stands above the instructions that it made. */
export function listTool(tool: Tool, locate: Locate): string {
  const { maps, programs, tailCalled = [] } = tool;
  const inSlots = tailCalled.flatMap((each) => Object.values(each.programs));
  return [
    ...maps.map(listMap),
    ...[...new Set([...programs, ...inSlots])].map((program) => listProgram(program, locate)),
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

function listProgram({ name, attachment, instructions }: ProgramSpec, locate: Locate): string {
  const assembled = assemble(instructions);
  const head = `\nprogram ${name}: ${describe(attachment)}, ${assembled.bytes.length / 8} instructions\n`;
  return head + listInstructions(assembled, locate);
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
