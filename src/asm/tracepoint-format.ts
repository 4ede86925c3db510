/**
 * The record that a classic tracepoint gives its programs: which fields it has, and where. The kernel describes each in a file
 * `format`, so that nothing else needs to be known of it.
 *
 * Source: Documentation/trace/events.rst, kernel/trace/trace_events.c (`f_show`).
 */

import { NoSuchFieldError } from './btf/no-such-field.ts';
import { BIG_ENDIAN } from './btf/value.ts';
import { TsbpfError } from './error.ts';
import { nearest } from './nearest.ts';
import { quoted } from './printable.ts';

/** A field of a record. Offset and size are in bytes. */
export interface FormatField {
  readonly name: string;
  /** As in C, without the name: `__u8[16]`. */
  readonly type: string;
  readonly offset: number;
  readonly size: number;
  readonly signed: boolean;
  /** Whether it is an array within the record. (`__data_loc` fields are numbers that say where their bytes are.) */
  readonly array: boolean;
  /** Whether it is a `__be16`, `__be32` or `__be64`: a number in network byte order. */
  readonly bigEndian?: boolean;
}

/** A tracepoint's record. */
export interface TracepointFormat {
  readonly category: string;
  readonly name: string;
  readonly fields: readonly FormatField[];
}

/** A text that describes no record. */
export class TracepointFormatError extends TsbpfError {
  override readonly name = 'TracepointFormatError';
  override readonly code = 'ERR_TRACEPOINT_FORMAT';
}

/** Bytes at the beginning of every record that programs may not read: there the kernel keeps something of its own. */
const HIDDEN_BYTES = 8;

const LINE = /^\tfield:(.+?);\s*offset:(\d+);\s*size:(\d+);(?:\s*signed:([01]);)?\s*$/;

/**
 * Reads the text of a file `format`, that of the tracepoint `category:name`.
 * @throws {TracepointFormatError} where the text is none, or one of another tracepoint.
 */
export function parseTracepointFormat(category: string, name: string, text: string): TracepointFormat {
  const what = `the format of the tracepoint ${category}:${name}`;
  const named = /^name: (.*)$/m.exec(text)?.[1];
  if (named !== name) throw new TracepointFormatError(`${what} is that of ${named ?? 'nothing'}`);
  const fields = text
    .split('\n')
    .filter((line) => line.startsWith('\tfield:'))
    .map((line) => {
      const match = LINE.exec(line);
      if (!match)
        throw new TracepointFormatError(`${what} has a line that makes no sense: ${quoted(line.trim())}`);
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
 * A field by its name, for a program to read.
 * @throws {NoSuchFieldError} where the record has none of that name, and names the nearest. @throws {RangeError} for one of those at
 * the beginning that programs can't read.
 */
export function formatField({ category, name, fields }: TracepointFormat, wanted: string): FormatField {
  const field = fields.find((candidate) => candidate.name === wanted);
  const struct = `${category}:${name}`;
  if (!field) {
    const names = fields.filter(isReadable).map((candidate) => candidate.name);
    throw new NoSuchFieldError(
      `the tracepoint ${struct} has no field '${wanted}'`,
      struct,
      [wanted],
      nearest(wanted, names),
    );
  }
  if (!isReadable(field))
    throw new RangeError(`the field ${wanted} of the tracepoint ${struct} is one that programs can't read`);
  return field;
}

function isReadable({ offset }: FormatField): boolean {
  return offset >= HIDDEN_BYTES;
}
