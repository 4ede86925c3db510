/**
 * Records as JSON lines, and the JSON Schema of a record and of a recording's first line.
 */
import {
  Integer,
  Literal,
  Null,
  Optional,
  type TObject,
  Array as TypeArray,
  Number as TypeNumber,
  Object as TypeObject,
  String as TypeString,
  Union,
} from '@sinclair/typebox';
import { MAX_COMM_BYTES } from '../programs/tcpconnlat/criteria.ts';
import type { Result } from '../programs/tcpconnlat/events.ts';
import { writeAddress } from './address.ts';
import {
  MAX_CMDLINE_BYTES,
  MAX_EXE_BYTES,
  MAX_PARENT_BYTES,
  MAX_PID,
  MAX_PORT,
  MAX_SECONDS,
  MAX_U32,
  MAX_UTS_NAME,
  NAME,
  UNIT,
  WORKLOAD_NAME,
} from './limits.ts';
import { encodedObjects, encodedTexts, encodeText, type LineBuffer } from './line-buffer.ts';
import type { Caller } from './record/caller.ts';
import { type ConnectRecord, type ConnectRow, FIELDS, PENDING } from './record.ts';
import { jsonText } from './text.ts';
import { threadNameText } from './thread-name.ts';

/** A record as a line of JSON with the listed fields. The line is safe to print. */
export function jsonLine(record: ConnectRecord, fields: readonly (keyof ConnectRecord)[]): string {
  return `${jsonText(record, fields)}\n`;
}

interface Member {
  /** Whether the line of a row has the member. Default: always. */
  readonly isPresent?: (row: ConnectRow) => boolean;
  /** Appends the value. */
  readonly write: (line: LineBuffer, row: ConnectRow) => unknown;
}

const QUOTE = 0x22;
const commText = encodedTexts((comm) => jsonText(threadNameText(comm)));

/** A member with a text that is ASCII without quotes, backslashes and controls. */
const plain = (name: 'time' | 'result' | 'errno'): Member => ({
  isPresent: (row) => row[name] !== undefined,
  write: (line, row) => line.byte(QUOTE) + line.ascii(row[name] as string) + line.byte(QUOTE),
});
const count = (name: 'uid' | 'requestedPort' | 'retransmits'): Member => ({
  isPresent: (row) => row[name] !== undefined,
  write: (line, row) => line.decimal(row[name] as number),
});
const addressOf = (name: 'local' | 'remote' | 'requested'): Member => ({
  isPresent: (row) => row[name] !== undefined,
  write: (line, row) => line.byte(QUOTE) + writeAddress(line, row[name] as Uint8Array) + line.byte(QUOTE),
});
/** Names are looked up for records; a row has none. */
const never: Member = { isPresent: () => false, write() {} };

/** The members of a caller are written together, because they are the same for many rows. */
const CALLER: Readonly<Record<keyof Caller, true>> = {
  ...{ unit: true, user_unit: true, container: true, container_name: true },
  ...{ pod: true, pod_name: true, pod_namespace: true },
  ...{ exe: true, ppid: true, parent: true, cmdline: true },
};
const isOfCaller = (field: keyof ConnectRecord): field is keyof Caller => field in CALLER;

const MEMBERS: { readonly [K in Exclude<keyof ConnectRecord, keyof Caller>]-?: Member } = {
  time_s: { write: (line, { timeNs }) => line.quotient(timeNs(), 9) },
  time: plain('time'),
  pid: { write: (line, { pid }) => line.decimal(pid) },
  comm: { write: (line, { comm }) => line.encoded(commText(comm)) },
  uid: count('uid'),
  ip: { write: (line, { ip }) => line.decimal(ip) },
  saddr: addressOf('local'),
  lport: { write: (line, { lport }) => line.decimal(lport) },
  daddr: addressOf('remote'),
  dport: { write: (line, { dport }) => line.decimal(dport) },
  requested_addr: addressOf('requested'),
  requested_port: count('requestedPort'),
  host: never,
  service: never,
  lat_ms: { write: (line, { latencyNs }) => line.quotient(latencyNs, 6) },
  retransmits: count('retransmits'),
  result: plain('result'),
  errno: plain('errno'),
};

/**
 * Returns a function that appends the line of a row with the listed fields: what `jsonLine` returns for its
 * record. The first field must always be present.
 */
export function jsonWriter(
  fields: readonly (keyof ConnectRecord)[],
): (line: LineBuffer, row: ConnectRow) => void {
  const ofCaller = fields.filter(isOfCaller);
  const callerText = encodedObjects((caller: Caller) => membersOf(jsonText(caller, ofCaller)));
  const parts = fields
    .filter((field) => !isOfCaller(field) || field === ofCaller[0])
    .map((field, i): ((line: LineBuffer, row: ConnectRow) => void) => {
      if (isOfCaller(field)) return (line, { caller }) => line.encoded(callerText(caller));
      const { isPresent, write } = MEMBERS[field];
      const name = encodeText(`${i === 0 ? '{' : ','}${JSON.stringify(field)}:`);
      return (line, row) => {
        if (isPresent?.(row) === false) return;
        line.encoded(name);
        write(line, row);
      };
    });
  const end = encodeText('}\n');
  return (line, row) => {
    for (const write of parts) write(line, row);
    line.encoded(end);
  };
}

/** The members of an object in JSON, each after a comma. */
function membersOf(json: string): string {
  return json === '{}' ? '' : `,${json.slice(1, -1)}`;
}

/** The longest line of a recording in bytes: the capacity of a pipe. */
export const MAX_LINE_BYTES = 65_536;
/** The space for the command line in a recording's first line, in bytes of JSON. */
const MAX_OPTIONS_BYTES = 49_152;

// --- patterns (ECMA-262, as required by JSON Schema draft 2020-12) --------------------------------

/** The days of every year. Leap years have one more. */
const DAY =
  '(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8])';
const LEAP_YEAR = '\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00';
const CLOCK = '(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d';

/** An existing time of day, ISO 8601 in UTC with microseconds: `2026-11-25T15:39:56.123456Z`. */
export const TIME = `^(?:\\d{4}-(?:${DAY})|(?:${LEAP_YEAR})-02-29)T${CLOCK}\\.\\d{6}Z$`;

/** An address of either family, without a zone. */
const ADDRESS = '^[0-9A-Fa-f.:]{2,45}$';

const ESCAPED_BYTE = '\\\\x[\\da-f]{2}';
/** A character also for validators that match UTF-16 units. */
const CHARACTER = '[\\ud800-\\udbff][\\udc00-\\udfff]|[\\s\\S]';
/** The text of a thread's name: at most as many characters and escapes as a name has bytes. */
const COMM = `^(?:${ESCAPED_BYTE}|(?!${ESCAPED_BYTE})(?:${CHARACTER})){0,${MAX_COMM_BYTES}}$`;

const ERROR_NAME = 'E[A-Z0-9]{1,31}|errno -?\\d{1,10}';
/** The kernel's name of an error, or `errno 4095` for an unknown number. */
const ERRNO = `^(?:${ERROR_NAME})$`;

/** The results of a connect, except for errors, which appear by name. */
export const RESULTS = Object.keys({
  established: true,
  refused: true,
  rejected: true,
  'timed-out': true,
  unreachable: true,
  'no-port': true,
  aborted: true,
  killed: true,
  restored: true,
  failed: true,
  pending: true,
} satisfies Record<Exclude<Result, 'error'>, true>);

/** A result, or the name of an error. */
export const RESULT = `^(?:${RESULTS.join('|')}|${ERROR_NAME})$`;

// --- schemas -------------------------------------------------------------------------------------

const text = (title: string, pattern: string, description: string) =>
  TypeString({ title, pattern, description });
const time = (description: string) => text('time of day in UTC', TIME, description);
const address = (description: string) => text('IP address', ADDRESS, description);
/** Text of up to `bytes` bytes. One that is not UTF-8 takes four characters (`\xNN`). */
const bytesText = (bytes: number, description: string) => TypeString({ maxLength: 4 * bytes, description });
const workload = (description: string) => text('name', WORKLOAD_NAME.source, description);
const port = (description: string) => Integer({ minimum: 0, maximum: MAX_PORT, description });

/** When a record has an endpoint. */
const KNOWN = '; absent only for pending connects of a run without --pending';

/** The JSON Schema (draft 2020-12) of a line of `--json`, and of every line but the first of a recording. */
export function recordSchema() {
  const fields = TypeObject(
    {
      time_s: TypeNumber({
        minimum: -MAX_SECONDS,
        maximum: MAX_SECONDS,
        description:
          'when the connect was answered or ended, or if it is pending, when this was seen, in seconds since the first line shown',
      }),
      time: Optional(time('the same as a time of day in UTC (--wall)')),
      pid: Integer({ minimum: 0, maximum: MAX_PID, description: 'process that called connect' }),
      comm: text(
        'thread name',
        COMM,
        'name of the thread that called connect; \\xNN for a byte that is not UTF-8, \\x5c for a backslash before xNN',
      ),
      uid: Optional(
        Integer({ minimum: 0, maximum: MAX_U32, description: 'real user id of the process (--who)' }),
      ),
      unit: Optional(text('unit', UNIT.source, 'its systemd unit (--who)')),
      user_unit: Optional(text('unit', UNIT.source, 'its unit in the systemd of a user (--who)')),
      container: Optional(text('container id', '^[0-9a-f]{64}$', 'id of its container (--who)')),
      container_name: Optional(workload('name of its container (--who)')),
      pod: Optional(text('pod uid', '^[0-9a-f-]{32,36}$', 'uid of its Kubernetes pod (--who)')),
      pod_name: Optional(workload('name of its pod (--who)')),
      pod_namespace: Optional(workload('Kubernetes namespace of its pod (--who)')),
      exe: Optional(bytesText(MAX_EXE_BYTES, 'path of its executable (--who)')),
      ppid: Optional(Integer({ minimum: 0, maximum: MAX_PID, description: 'its parent process (--who)' })),
      parent: Optional(bytesText(MAX_PARENT_BYTES, 'name of its parent process (--who)')),
      cmdline: Optional(
        bytesText(MAX_CMDLINE_BYTES, 'its arguments with spaces between them, truncated (--who)'),
      ),
      ip: Optional(
        Union([Literal(4), Literal(6)], { description: `IP version; 6 for IPv4-mapped addresses${KNOWN}` }),
      ),
      saddr: Optional(address(`local address, without a zone${KNOWN}`)),
      lport: Optional(port('local port, if known: a pending connect has one only if it was bound to it')),
      daddr: Optional(address(`remote address, without a zone${KNOWN}`)),
      dport: Optional(port(`remote port${KNOWN}`)),
      requested_addr: Optional(
        address('address that the program passed to connect, without a zone, if known (--requested)'),
      ),
      requested_port: Optional(port('port that the program passed to connect, if known (--requested)')),
      host: Optional(text('name', NAME.source, 'name of the remote address (--resolve)')),
      service: Optional(text('name', NAME.source, 'name of the remote port (--resolve)')),
      lat_ms: TypeNumber({
        minimum: 0,
        maximum: MAX_SECONDS * 1000,
        description:
          'latency from the SYN to that time, in milliseconds; of a pending connect the wait so far',
      }),
      retransmits: Optional(
        Integer({
          minimum: 0,
          maximum: MAX_U32,
          description: 'number of SYN retransmissions, if known (--outcome, --pending)',
        }),
      ),
      result: Optional(
        text('result', RESULT, `${RESULTS.join(', ')}, or the name of an error (--outcome, --pending)`),
      ),
      errno: Optional(text('error name', ERRNO, 'name of the error, if there is one (--outcome, --pending)')),
    },
    { title: 'tcpconnlat --json: one connect', additionalProperties: false },
  );
  return Object.assign(fields, {
    if: { properties: { result: { const: PENDING } }, required: ['result'] },
    else: { required: ['ip', 'saddr', 'lport', 'daddr', 'dport'] },
  });
}

/** The version of the recording format. */
export const FORMAT = 1;

/** The first line of a recording. */
export interface Header {
  /** The command that made the recording. */
  readonly tsbpf: 'tcpconnlat';
  readonly format: typeof FORMAT;
  /** The version of the command. */
  readonly version: string;
  readonly host: string;
  /** The kernel release (`uname -r`). */
  readonly kernel: string;
  /** The probe type. */
  readonly way: string;
  /** The arguments of the command. */
  readonly options: readonly string[];
  /** The optional fields that the lines may have. */
  readonly fields: readonly string[];
  readonly started: string;
}

/** The JSON Schema of a `Header`. */
export function headerSchema() {
  const name = (description: string) => TypeString({ maxLength: MAX_UTS_NAME, description });
  return TypeObject(
    {
      tsbpf: Literal('tcpconnlat', { description: 'command that made the recording' }),
      format: Literal(FORMAT, { description: 'version of the recording format' }),
      version: name('version of the command'),
      host: name('host name'),
      kernel: name('kernel release, as uname -r prints it'),
      way: name('probe type'),
      options: TypeArray(TypeString({ maxLength: MAX_OPTIONS_BYTES }), {
        maxItems: MAX_OPTIONS_BYTES,
        description: 'arguments of the command; … stands for arguments that did not fit',
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

/** The first line of a recording. A long command line is truncated. */
export function headerLine(header: Header): string {
  const options: string[] = [];
  let bytes = 0;
  for (const option of header.options) {
    bytes += Buffer.byteLength(jsonText(option)) + 1;
    if (bytes > MAX_OPTIONS_BYTES) {
      options.push('…');
      break;
    }
    options.push(option);
  }
  return `${jsonText({ ...header, options })}\n`;
}

/** The JSON Schema of a row of `--summary`: the connects of a key in an interval. */
export function summarySchema() {
  const whole = (description: string) =>
    Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description });
  const ms = (description: string) => TypeNumber({ minimum: 0, description });
  const msIfAnswered = (description: string) =>
    Union([TypeNumber({ minimum: 0 }), Null()], {
      description: `${description}; null without answered connects`,
    });
  const part = (description: string) => Optional(TypeString({ maxLength: 512, description }));
  const cell = TypeObject(
    {
      count: whole('connects'),
      retransmits: whole('SYN retransmissions'),
      sum_ms: ms('sum of their latencies, in milliseconds'),
      min_ms: ms('shortest latency, in milliseconds'),
      max_ms: ms('longest latency, in milliseconds'),
      buckets: TypeArray(TypeArray(Integer(), { minItems: 2, maxItems: 2 }), {
        description: 'index i and connects with latencies above 2^(i/8) s, up to and including 2^((i+1)/8) s',
      }),
      below: Optional(whole('connects with shorter latencies than those of the buckets')),
      above: Optional(whole('connects with longer latencies than those of the buckets')),
    },
    { additionalProperties: false },
  );
  return TypeObject(
    {
      start: time('when the interval began'),
      end: time('when the interval ended'),
      key: TypeObject(
        {
          dest: part('remote address'),
          net: part('network of the remote address: 192.0.2.0/24'),
          port: part('remote port'),
          comm: part('name of the thread, as in records'),
          pod: part('namespace and name of the pod, or its uid'),
          unit: part('systemd unit'),
          container: part('name of the container, or the beginning of its id'),
          user: part('name of the user, or its id'),
        },
        {
          additionalProperties: false,
          description: 'the parts of --by; - is not known, other is a key without room in the table',
        },
      ),
      count: whole('connects that ended in the interval'),
      retransmits: whole('SYN retransmissions'),
      p50_ms: msIfAnswered('estimated median of the latencies of answered connects, in milliseconds'),
      p90_ms: msIfAnswered('their 90th percentile'),
      p99_ms: msIfAnswered('their 99th percentile'),
      max_ms: msIfAnswered('their maximum'),
      results: TypeObject(
        {},
        {
          additionalProperties: cell,
          propertyNames: { pattern: RESULT },
          description: 'the connects by result',
        },
      ),
    },
    { title: 'tcpconnlat --summary --json: the connects of a key', additionalProperties: false },
  );
}

/**
 * The JSON Schema of a record. Its definitions describe the first line of a recording (`recording`), and the
 * rows of `--summary` (`summary`).
 */
export function jsonSchema(): TObject {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    ...recordSchema(),
    $defs: { recording: headerSchema(), summary: summarySchema() },
  };
}
