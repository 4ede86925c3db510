/** `tsbpf asm`: text to bytes. */
import { type Assembled, AssembleError, assemble, ReachError } from '../../asm/assemble.ts';
import { SLOT, slotsOf } from '../../asm/encode.ts';
import { messageWithoutPosition, sourcePositionOf } from '../../asm/error-position.ts';
import type { MapSpec } from '../../asm/map.ts';
import { locate } from '../../asm/position.ts';
import { printable } from '../../asm/printable.ts';
import { parseProgram, TextError } from '../../asm/text/parse.ts';
import { instructionLines, listMaps } from '../listing.ts';
import { warn } from '../output.ts';
import type { Request } from './arguments.ts';
import { pathOf, readWhole, writeWhole } from './file.ts';
import { printAll } from './print.ts';

export function asm({ file, format, output }: Extract<Request, { action: 'asm' }>): void {
  const path = pathOf(file);
  const { items, maps } = parseProgram(textIn(readWhole(file), path), path);
  const assembled = namingPlace(path, () => assemble(items));
  for (const line of toFillIn(assembled)) warn('tsbpf', `${printable(file)}: ${line}`);
  const made = written(assembled, maps, format);
  if (output === undefined) printAll(made);
  else writeWhole(output, made);
}

/** What a program's text is read from. Bytes and hexadecimal are told where they are read. */
function textIn(content: Uint8Array, path: string): string {
  const text = Buffer.from(content.buffer, content.byteOffset, content.length).toString('utf8');
  const kind = content.includes(0)
    ? 'bytes'
    : /^\s*(?:0x)?[0-9a-fA-F]{16}\b/.test(text)
      ? 'hexadecimal'
      : undefined;
  if (kind !== undefined)
    throw new TextError(path, 1, 1, `this holds ${kind}, and no program's text: tsbpf disasm reads it`);
  return text;
}

/** The most maps that a message lists. */
const MOST_NAMES = 20;

/** What a loader has to do that has nothing but the bytes. */
function toFillIn({ references }: Assembled): string[] {
  const names = [...new Set(references.map(({ map }) => map.name))];
  const tables = new Map(
    references.flatMap(({ map, targets }) => (targets ? [[map.name, targets] as const] : [])),
  );
  const more = names.length > MOST_NAMES ? `, … ${names.length} in all` : '';
  return [
    ...(names.length > 0
      ? [
          `the descriptors of maps (${names.slice(0, MOST_NAMES).join(', ')}${more}) are left zero: the loader fills them in`,
        ]
      : []),
    ...[...tables].map(([name, targets]) => `the entries of ${name} are the slots ${targets.join(', ')}`),
  ];
}

function* written(
  { bytes, ...assembled }: Assembled,
  maps: readonly MapSpec[],
  format: 'hex' | 'raw' | 'text',
): Generator<string | Uint8Array> {
  switch (format) {
    case 'raw':
      yield bytes;
      return;
    case 'hex': {
      const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
      for (const { slot, instruction } of assembled.instructions)
        yield `${buffer.toString('hex', slot * SLOT, (slot + slotsOf(instruction)) * SLOT)}\n`;
      return;
    }
    case 'text': {
      const declared = listMaps(maps);
      yield `${declared}${declared && '\n'}`;
      yield* instructionLines({ bytes, ...assembled }, () => undefined);
    }
  }
}

/** Turns errors of `assemble` into errors at the line and column of their instruction. */
function namingPlace<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const position = error instanceof Error ? sourcePositionOf(error) : undefined;
    if (position === undefined) throw error;
    const fault =
      error instanceof AssembleError || error instanceof ReachError
        ? error.reason
        : messageWithoutPosition(error as Error);
    const place = locate(position);
    if (place?.file === path) throw new TextError(path, place.line, place.column, fault);
    const ofProgram = new AssembleError(fault);
    ofProgram.message = `${path}: ${fault}`;
    throw ofProgram;
  }
}
