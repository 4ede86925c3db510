/** `tsbpf asm`: assembles the text of a program. */
import { type Assembled, AssembleError, assemble, ReachError } from '../../asm/assemble.ts';
import { SLOT, slotsOf } from '../../asm/encode.ts';
import { messageWithoutPosition, sourcePositionOf } from '../../asm/error-position.ts';
import { instructionLines, listMaps } from '../../asm/listing.ts';
import type { MapSpec } from '../../asm/map.ts';
import { locate } from '../../asm/position.ts';
import { printable } from '../../asm/printable.ts';
import { parseProgram, TextError } from '../../asm/text/parse.ts';
import { printWarning } from '../output.ts';
import type { Request } from './arguments.ts';
import { pathOf, printAll, readWhole, writeWhole } from './io.ts';

export function asm({ file, format, output }: Extract<Request, { action: 'asm' }>): void {
  const path = pathOf(file);
  const { items, maps } = parseProgram(textIn(readWhole(file), path), path);
  const assembled = withTextPosition(path, () => assemble(items));
  for (const line of loaderTasks(assembled)) printWarning('tsbpf', `${printable(file)}: ${line}`);
  const parts = formatted(assembled, maps, format);
  if (output === undefined) printAll(parts);
  else writeWhole(output, parts);
}

/** Decodes the text of a program. Refuses bytes and hexadecimal, which `tsbpf disasm` reads. */
function textIn(content: Uint8Array, path: string): string {
  const text = Buffer.from(content.buffer, content.byteOffset, content.length).toString('utf8');
  const kind = content.includes(0)
    ? 'bytes'
    : /^\s*(?:0x)?[0-9a-fA-F]{16}\b/.test(text)
      ? 'hexadecimal'
      : undefined;
  if (kind !== undefined)
    throw new TextError(path, 1, 1, `this file contains ${kind}, not text; use tsbpf disasm`);
  return text;
}

/** The most maps that a message lists. */
const MAX_NAMES = 20;

/** What a loader has to fill in, because the bytes do not contain it. */
function loaderTasks({ references }: Assembled): string[] {
  const names = [...new Set(references.map(({ map }) => map.name))];
  const tables = new Map(
    references.flatMap(({ map, targets }) => (targets ? [[map.name, targets] as const] : [])),
  );
  const more = names.length > MAX_NAMES ? `, … ${names.length} in total` : '';
  return [
    ...(names.length > 0
      ? [
          `the descriptors of maps (${names.slice(0, MAX_NAMES).join(', ')}${more}) are zero: the loader has to fill them in`,
        ]
      : []),
    ...[...tables].map(
      ([name, targets]) => `the loader has to set the entries of ${name} to the slots ${targets.join(', ')}`,
    ),
  ];
}

function* formatted(
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

/** Adds the line and column of the instruction to errors of `assemble`. */
function withTextPosition<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const position = error instanceof Error ? sourcePositionOf(error) : undefined;
    if (position === undefined) throw error;
    const reason =
      error instanceof AssembleError || error instanceof ReachError
        ? error.reason
        : messageWithoutPosition(error as Error);
    const place = locate(position);
    if (place?.file === path) throw new TextError(path, place.line, place.column, reason);
    const programError = new AssembleError(reason);
    programError.message = `${path}: ${reason}`;
    throw programError;
  }
}
