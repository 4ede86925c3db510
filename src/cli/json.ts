/**
 * Records as JSON lines, and the schema of such a line.
 */
import {
  Integer,
  Literal,
  Optional,
  Number as TypeNumber,
  Object as TypeObject,
  String as TypeString,
  Union,
} from '@sinclair/typebox';
import type { ConnectRecord } from './record.ts';

const OUTCOME = {
  time_s: TypeNumber({ description: 'when it ended, in seconds since the first line shown' }),
  lat_ms: TypeNumber({
    minimum: 0,
    description: 'from the SYN to the answer, or to the end of a connect that failed, in milliseconds',
  }),
  retransmits: Optional(
    Integer({ minimum: 0, description: 'how often the SYN was sent again; absent where that is not known' }),
  ),
  result: TypeString({
    description:
      'established, refused, rejected, timed-out, unreachable, no-port, aborted, killed, failed, or the name of an error',
  }),
  errno: Optional(TypeString({ description: 'name of the error, where there is one' })),
};

/** One object, on a line of its own. */
export function jsonLine(record: ConnectRecord): string {
  return `${JSON.stringify(record)}\n`;
}

/** The JSON Schema (draft 2020-12) of a line of `--json`, with or without what becomes of a connect. */
export function jsonSchema({ outcome }: { readonly outcome: boolean }): object {
  const port = (description: string) => Integer({ minimum: 0, maximum: 65_535, description });
  return TypeObject(
    {
      time_s: TypeNumber({ description: 'when the answer came, in seconds since the first answer shown' }),
      pid: Integer({ minimum: 0, description: 'process that called connect' }),
      comm: TypeString({ maxLength: 15, description: 'name of that process (of its thread)' }),
      ip: Union([Literal(4), Literal(6)], { description: 'version of IP; 6 for IPv4-mapped addresses' }),
      saddr: TypeString({ description: 'local address' }),
      lport: port('local port'),
      daddr: TypeString({ description: 'remote address' }),
      dport: port('remote port'),
      lat_ms: TypeNumber({ minimum: 0, description: 'from the SYN to the answer, in milliseconds' }),
      ...(outcome && OUTCOME),
    },
    {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      title: `tcpconnlat --json: one ${outcome ? 'connect that has ended' : 'answered connect'}`,
      additionalProperties: false,
    },
  );
}
