/**
 * The record format of classic tracepoints. The kernel describes the fields of each record in a file `format`
 * of tracefs.
 *
 * Source: Documentation/trace/events.rst, kernel/trace/trace_events.c (`f_show`).
 */

import { NoSuchFieldError } from './btf/no-such-field.ts';
import { BIG_ENDIAN } from './btf/value.ts';
import { TsbpfError } from './error.ts';
import { nearest } from './nearest.ts';
import { quoted } from './printable.ts';

/** A field of a tracepoint's record. Offset and size are in bytes. */
export interface FormatField {
  readonly name: string;
  /** The C type, without the field's name: `__u8[16]`. */
  readonly type: string;
  readonly offset: number;
  readonly size: number;
  readonly signed: boolean;
  /**
   * Whether the field is an array inside the record. (`__data_loc` fields are numbers that hold the position
   * of their data.)
   */
  readonly array: boolean;
  /** Whether the field is a `__be16`, `__be32` or `__be64`: a number in network byte order. */
  readonly bigEndian?: boolean;
}

/** The format of a classic tracepoint's record. See `parseTracepointFormat`. */
export interface TracepointFormat {
  readonly category: string;
  readonly name: string;
  readonly fields: readonly FormatField[];
}

/** The text does not describe the record of the tracepoint. */
export class TracepointFormatError extends TsbpfError {
  override readonly name = 'TracepointFormatError';
  override readonly code = 'ERR_TRACEPOINT_FORMAT';
}

/** The size of the start of every record, which the kernel does not let programs read. */
const HIDDEN_BYTES = 8;

const LINE = /^\tfield:(.+?);\s*offset:(\d+);\s*size:(\d+);(?:\s*signed:([01]);)?\s*$/;

/**
 * Parses the `format` file of a classic tracepoint.
 *
 * @throws {TracepointFormatError} if the text is not a format, or is that of another tracepoint.
 *
 * @example
 * import { parseTracepointFormat } from 'tsbpf/btf';
 *
 * const text = 'name: my_event\nformat:\n\tfield:int port;\toffset:8;\tsize:4;\tsigned:1;\n';
 * parseTracepointFormat('test', 'my_event', text).fields; // [{ name: 'port', type: 'int', offset: 8, ... }]
 */
export function parseTracepointFormat(category: string, name: string, text: string): TracepointFormat {
  const what = `the format of tracepoint ${category}:${name}`;
  const named = /^name: (.*)$/m.exec(text)?.[1];
  if (named !== name) throw new TracepointFormatError(`${what} has the name ${quoted(named ?? '')}`);
  const fields = text
    .split('\n')
    .filter((line) => line.startsWith('\tfield:'))
    .map((line) => {
      const match = LINE.exec(line);
      if (!match) throw new TracepointFormatError(`${what} has an unexpected line: ${quoted(line.trim())}`);
      const [, declaration = '', offset, size, signed] = match;
      return { ...declared(declaration), offset: Number(offset), size: Number(size), signed: signed === '1' };
    });
  if (fields.length === 0) throw new TracepointFormatError(`${what} has no fields`);
  return { category, name, fields };
}

/** Splits `__u8 saddr[4]` into name and type. */
function declared(declaration: string): Pick<FormatField, 'name' | 'type' | 'array' | 'bigEndian'> {
  let end = declaration.length;
  while (declaration[end - 1] === ']') {
    const start = declaration.lastIndexOf('[', end - 1);
    if (start < 0 || declaration.indexOf(']', start) < end - 1) break;
    end = start;
  }
  let start = end;
  while (/\w/.test(declaration[start - 1] ?? '')) start--;
  if (start === end) return { name: declaration, type: '', array: false };
  const length = declaration.slice(end);
  const type = declaration.slice(0, start).trimEnd();
  const bigEndian = length === '' && type.split(' ').some((word) => BIG_ENDIAN.has(word));
  return {
    name: declaration.slice(start, end),
    type: `${type}${length}`,
    array: length !== '',
    ...(bigEndian && { bigEndian }),
  };
}

/**
 * Returns a field by its name.
 *
 * @throws {NoSuchFieldError} if the record has no such field; the message lists similar names.
 * @throws {RangeError} for a field at the start of the record, which programs cannot read.
 */
export function formatField({ category, name, fields }: TracepointFormat, wanted: string): FormatField {
  const field = fields.find((candidate) => candidate.name === wanted);
  const struct = `${category}:${name}`;
  if (!field) {
    const names = fields.filter(isReadable).map((candidate) => candidate.name);
    throw new NoSuchFieldError(
      `tracepoint ${struct} has no field '${wanted}'`,
      struct,
      [wanted],
      nearest(wanted, names),
    );
  }
  if (!isReadable(field))
    throw new RangeError(`programs cannot read field ${wanted} of tracepoint ${struct}`);
  return field;
}

function isReadable({ offset }: FormatField): boolean {
  return offset >= HIDDEN_BYTES;
}
