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
import type { ConnectRecord } from './record.ts';

/** One object, on a line of its own, with those of these fields that the record has. */
export function jsonLine(record: ConnectRecord, fields: (keyof ConnectRecord)[]): string {
  return `${JSON.stringify(record, fields)}\n`;
}

const time = (description: string) =>
  TypeString({ pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{6}Z$', description });
const port = (description: string) => Integer({ minimum: 0, maximum: 65_535, description });

/** The JSON Schema (draft 2020-12) of a line of `--json`, and of all lines but the first of a recording. */
export function recordSchema() {
  return TypeObject(
    {
      time_s: TypeNumber({
        description: 'when it was answered or ended otherwise, in seconds since the first line shown',
      }),
      time: Optional(time('the same as a time of day, in UTC (--wall)')),
      pid: Integer({ minimum: 0, description: 'process that called connect' }),
      comm: TypeString({ maxLength: 15, description: 'name of that process (of its thread)' }),
      uid: Optional(Integer({ minimum: 0, description: 'real user of that process (--who)' })),
      container: Optional(
        TypeString({ pattern: '^[0-9a-f]{64}$', description: 'id of its container (--who)' }),
      ),
      pod: Optional(TypeString({ pattern: '^[0-9a-f-]{32,36}$', description: 'uid of its pod (--who)' })),
      ip: Union([Literal(4), Literal(6)], { description: 'version of IP; 6 for IPv4-mapped addresses' }),
      saddr: TypeString({ description: 'local address' }),
      lport: port('local port'),
      daddr: TypeString({ description: 'remote address' }),
      dport: port('remote port'),
      host: Optional(TypeString({ description: 'name of the remote address (--resolve)' })),
      service: Optional(TypeString({ description: 'name of the remote port (--resolve)' })),
      lat_ms: TypeNumber({ minimum: 0, description: 'from the SYN to that time, in milliseconds' }),
      retransmits: Optional(
        Integer({
          minimum: 0,
          description: 'how often the SYN was sent again, where that is known (--outcome)',
        }),
      ),
      result: Optional(
        TypeString({
          description:
            'established, refused, rejected, timed-out, unreachable, no-port, aborted, killed, failed, or the name of an error (--outcome)',
        }),
      ),
      errno: Optional(TypeString({ description: 'name of the error, where there is one (--outcome)' })),
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
  return TypeObject(
    {
      tsbpf: Literal('tcpconnlat', { description: 'what made the recording' }),
      format: Literal(FORMAT, { description: 'format of the recording' }),
      version: TypeString({ description: 'of what made it' }),
      host: TypeString({ description: 'name of the machine' }),
      kernel: TypeString({ description: 'its release, as uname -r tells it' }),
      way: TypeString({ description: 'how it was watched' }),
      options: TypeArray(TypeString(), { description: 'words of the command line' }),
      fields: TypeArray(TypeString(), { description: 'optional fields that the lines may have' }),
      started: time('when tracing began, in UTC'),
    } satisfies Record<keyof Header, unknown>,
    { title: "tcpconnlat --record: a recording's first line", additionalProperties: false },
  );
}

/** The JSON Schema of a line, which has that of a recording's first one as its definition `recording`. */
export function jsonSchema(): TObject {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    ...recordSchema(),
    $defs: { recording: headerSchema() },
  };
}
