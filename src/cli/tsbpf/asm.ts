/** `tsbpf asm`: text to bytes. */
import { type Assembled, AssembleError, assemble, ReachError } from '../../asm/assemble.ts';
import { encode } from '../../asm/encode.ts';
import type { MapSpec } from '../../asm/map.ts';
import { locate } from '../../asm/position.ts';
import { parseProgram, TextError } from '../../asm/text/parse.ts';
import { listInstructions, listMaps } from '../listing.ts';
import type { Request } from './arguments.ts';
import { pathOf, readWhole, writeWhole } from './file.ts';

export function asm({ file, format, output }: Extract<Request, { action: 'asm' }>): void {
  const path = pathOf(file);
  const { items, maps } = parseProgram(textIn(readWhole(file), path), path);
  const assembled = namingPlace(path, () => assemble(items));
  for (const line of toFillIn(assembled)) process.stderr.write(`tsbpf: ${file}: ${line}\n`);
  const made = written(assembled, maps, format);
  if (output === undefined) process.stdout.write(made);
  else writeWhole(output, made);
}

/** What a program's text is read from. Bytes and hexadecimal are told where they are read. */
function textIn(content: Uint8Array, path: string): string {
  const text = Buffer.from(content).toString('utf8');
  const kind = content.includes(0)
    ? 'bytes'
    : /^\s*(?:0x)?[0-9a-fA-F]{16}\b/.test(text)
      ? 'hexadecimal'
      : undefined;
  if (kind !== undefined)
    throw new TextError(path, 1, 1, `this holds ${kind}, and no program's text: tsbpf disasm reads it`);
  return text;
}

/** What a loader has to do that has nothing but the bytes. */
function toFillIn({ references }: Assembled): string[] {
  const names = [...new Set(references.map(({ map }) => map.name))];
  const tables = new Map(
    references.flatMap(({ map, targets }) => (targets ? [[map.name, targets] as const] : [])),
  );
  return [
    ...(names.length > 0
      ? [`the descriptors of maps (${names.join(', ')}) are left zero: whoever loads it fills them in`]
      : []),
    ...[...tables].map(([name, targets]) => `the entries of ${name} are the slots ${targets.join(', ')}`),
  ];
}

function written(assembled: Assembled, maps: readonly MapSpec[], format: 'hex' | 'raw' | 'text'): Uint8Array {
  switch (format) {
    case 'raw':
      return assembled.bytes;
    case 'hex':
      return Buffer.from(
        assembled.instructions
          .map(({ instruction }) => `${Buffer.from(encode(instruction)).toString('hex')}\n`)
          .join(''),
      );
    case 'text': {
      const declared = listMaps(maps);
      return Buffer.from(`${declared}${declared && '\n'}${listInstructions(assembled, () => undefined)}`);
    }
  }
}

/** Errors of assembling say the line and column of their instruction, as those of reading do. */
function namingPlace<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof AssembleError || error instanceof ReachError)) throw error;
    const place = locate(error.position);
    error.message = place
      ? `${place.file}:${place.line}:${place.column}: ${error.reason}`
      : `${path}: ${error.reason}`;
    throw error;
  }
}
