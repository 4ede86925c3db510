/**
 * Records as JSON lines, and the schema of such a line and of a recording's first one.
 */
import {
  Integer,
  Literal,
  Optional,
  type TObject,
  Array as TypeArray,
  Number as TypeNumber,
  Object as TypeObject,
  String as TypeString,
  Union,
} from '@sinclair/typebox';
import { MAX_COMM_BYTES } from '../programs/tcpconnlat/filter.ts';
import { ADDRESS, ERRNO, RESULT, RESULTS, TIME } from './json/patterns.ts';
import { MAX_PID, MAX_PORT, MAX_SECONDS, MAX_U32, MAX_UTS_NAME, NAME } from './limits.ts';
import { type ConnectRecord, FIELDS } from './record.ts';
import { jsonText } from './text.ts';

/** A record as a line of JSON, safe to print, with those of its fields that `fields` lists. */
export function jsonLine(record: ConnectRecord, fields: readonly (keyof ConnectRecord)[]): string {
  return `${jsonText(record, fields)}\n`;
}

/** Bytes of the longest line of a recording: a pipe holds as many. */
export const LONGEST_LINE = 65_536;
/** Bytes of JSON that the words of the command line may take in a recording's first line. */
const LONGEST_OPTIONS = 49_152;

const text = (title: string, pattern: string, description: string) =>
  TypeString({ title, pattern, description });
const time = (description: string) => text('time of day in UTC', TIME, description);
const address = (description: string) => text('IP address', ADDRESS, description);
const port = (description: string) => Integer({ minimum: 0, maximum: MAX_PORT, description });

/** The JSON Schema (draft 2020-12) of a line of `--json`, and of all lines but the first of a recording. */
export function recordSchema() {
  return TypeObject(
    {
      time_s: TypeNumber({
        minimum: -MAX_SECONDS,
        maximum: MAX_SECONDS,
        description: 'when it was answered or ended otherwise, in seconds since the first line shown',
      }),
      time: Optional(time('the same as a time of day, in UTC (--wall)')),
      pid: Integer({ minimum: 0, maximum: MAX_PID, description: 'process that called connect' }),
      comm: TypeString({ maxLength: MAX_COMM_BYTES, description: 'name of that process (of its thread)' }),
      uid: Optional(
        Integer({ minimum: 0, maximum: MAX_U32, description: 'real user of that process (--who)' }),
      ),
      container: Optional(text('container id', '^[0-9a-f]{64}$', 'id of its container (--who)')),
      pod: Optional(text('pod uid', '^[0-9a-f-]{32,36}$', 'uid of its pod (--who)')),
      ip: Union([Literal(4), Literal(6)], { description: 'version of IP; 6 for IPv4-mapped addresses' }),
      saddr: address('local address, without a zone'),
      lport: port('local port'),
      daddr: address('remote address, without a zone'),
      dport: port('remote port'),
      host: Optional(text('name', NAME.source, 'name of the remote address (--resolve)')),
      service: Optional(text('name', NAME.source, 'name of the remote port (--resolve)')),
      lat_ms: TypeNumber({
        minimum: 0,
        maximum: MAX_SECONDS * 1000,
        description: 'from the SYN to that time, in milliseconds',
      }),
      retransmits: Optional(
        Integer({
          minimum: 0,
          maximum: MAX_U32,
          description: 'how often the SYN was sent again, where that is known (--outcome)',
        }),
      ),
      result: Optional(text('result', RESULT, `${RESULTS.join(', ')}, or the name of an error (--outcome)`)),
      errno: Optional(text('error name', ERRNO, 'name of the error, if it has one (--outcome)')),
    },
    { title: 'tcpconnlat --json: one connect', additionalProperties: false },
  );
}

/** The format of recordings. */
export const FORMAT = 1;

/** What a recording's first line says. */
export interface Header {
  /** Whose recording it is. */
  readonly tsbpf: 'tcpconnlat';
  readonly format: typeof FORMAT;
  /** Of the command that made it. */
  readonly version: string;
  readonly host: string;
  /** As `uname -r`. */
  readonly kernel: string;
  readonly way: string;
  /** The words of its command line. */
  readonly options: readonly string[];
  /** The fields that not every recording has. */
  readonly fields: readonly string[];
  readonly started: string;
}

/** The JSON Schema of a `Header`. */
export function headerSchema() {
  const name = (description: string) => TypeString({ maxLength: MAX_UTS_NAME, description });
  return TypeObject(
    {
      tsbpf: Literal('tcpconnlat', { description: 'what made the recording' }),
      format: Literal(FORMAT, { description: 'format of the recording' }),
      version: name('of what made it'),
      host: name('name of the machine'),
      kernel: name('its release, as uname -r tells it'),
      way: name('how it was watched'),
      options: TypeArray(TypeString({ maxLength: LONGEST_OPTIONS }), {
        maxItems: LONGEST_OPTIONS,
        description: 'words of the command line; … stands for what did not fit',
      }),
      fields: TypeArray(name('a field'), {
        maxItems: Object.keys(FIELDS).length,
        description: 'optional fields that the lines may have',
      }),
      started: time('when tracing began, in UTC'),
    } satisfies Record<keyof Header, unknown>,
    { title: "tcpconnlat --record: a recording's first line", additionalProperties: false },
  );
}

/** A recording's first line. Of a long command line, it has the first words. */
export function headerLine(header: Header): string {
  const options: string[] = [];
  let bytes = 0;
  for (const option of header.options) {
    bytes += Buffer.byteLength(jsonText(option)) + 1;
    if (bytes > LONGEST_OPTIONS) {
      options.push('…');
      break;
    }
    options.push(option);
  }
  return `${jsonText({ ...header, options })}\n`;
}

/** The JSON Schema of a line, which has that of a recording's first one as its definition `recording`. */
export function jsonSchema(): TObject {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    ...recordSchema(),
    $defs: { recording: headerSchema() },
  };
}
