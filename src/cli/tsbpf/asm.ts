/** `tsbpf asm`: text to bytes. */
import { AssembleError, assemble, ReachError } from '../../asm/assemble.ts';
import { encode } from '../../asm/encode.ts';
import { locate } from '../../asm/position.ts';
import { parseProgram } from '../../asm/text/parse.ts';
import type { Request } from './arguments.ts';
import { pathOf, readWhole, writeWhole } from './file.ts';

export function asm({ file, format, output }: Extract<Request, { action: 'asm' }>): void {
  const path = pathOf(file);
  const { items } = parseProgram(Buffer.from(readWhole(file)).toString('utf8'), path);
  const { bytes, instructions, references } = namingPlace(path, () => assemble(items));
  if (references.length > 0) {
    const names = [...new Set(references.map(({ map }) => map.name))].join(', ');
    process.stderr.write(
      `tsbpf: ${file}: the descriptors of maps (${names}) are left zero: whoever loads it fills them in\n`,
    );
  }
  const made =
    format === 'raw'
      ? bytes
      : Buffer.from(
          instructions
            .map(({ instruction }) => `${Buffer.from(encode(instruction)).toString('hex')}\n`)
            .join(''),
        );
  if (output === undefined) process.stdout.write(made);
  else writeWhole(output, made);
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
