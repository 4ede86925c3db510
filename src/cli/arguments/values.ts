/**
 * Parsers for the values of options. A value that is not valid throws InvalidArgumentError with the expected
 * form.
 */
import { InvalidArgumentError } from 'commander';
import { bytesText } from '../../asm/layout/text.ts';
import type { Network } from '../../programs/networks.ts';
import {
  MAX_COMM_BYTES,
  MAX_COMPARED,
  MAX_NETWORKS,
  merged,
  type Range,
} from '../../programs/tcpconnlat/criteria.ts';
import { formatAddress, parseAddress } from '../address.ts';
import { type By, MIN_KEYS, parseBy } from '../aggregate/by.ts';
import { BUCKETS_PER_OCTAVE, type BucketsPerOctave, type ListenAddress } from '../exporter-options.ts';
import { MAX_PID, MAX_PORT, MAX_U32 } from '../limits.ts';
import { threadNameBytes } from '../thread-name.ts';
import { userIdOf } from './users.ts';

/** The programs compare latencies in ns. Up to 2^53 ns (104 days) the conversion is exact. */
const MAX_MS = Math.floor(Number.MAX_SAFE_INTEGER / 1e6);

/** Parses milliseconds, with a fraction or without; returns ns. */
export function milliseconds(text: string): number {
  const ms = decimal(text);
  if (!(ms <= MAX_MS))
    throw new InvalidArgumentError(`It must be a number of milliseconds from 0 to ${MAX_MS}.`);
  return Math.round(ms * 1e6);
}

/** The longest duration in seconds: a timer of Node takes up to 2^31 - 1 ms, 24.8 days. */
const MAX_DURATION = Math.floor((2 ** 31 - 1) / 1000);

/** Parses seconds, with a fraction or without; returns whole ms, at least 1. */
export function duration(text: string): number {
  const seconds = decimal(text);
  if (!(seconds > 0 && seconds <= MAX_DURATION))
    throw new InvalidArgumentError(`It must be a number of seconds above 0, up to ${MAX_DURATION}.`);
  return Math.ceil(seconds * 1000);
}

/** A number of digits with a decimal point or without; NaN for any other text. */
function decimal(text: string): number {
  return /^(\d+(\.\d*)?|\.\d+)$/.test(text) ? Number(text) : Number.NaN;
}

/** Parses the number of lines after which a run ends. */
export function lineCount(text: string): number {
  return wholeNumber(text, 1, MAX_U32, 'a number');
}

/** The largest table of connects in flight: the kernel allocates it at start. */
const MAX_CONNECTS = 1 << 24;

/** Parses the capacity of the table of connects in flight. */
export function tableSize(text: string): number {
  return wholeNumber(text, 1, MAX_CONNECTS, 'a number');
}

/** The largest table of keys: it takes 3.8 GiB, twice. */
const MAX_KEYS = 1 << 21;

/** Parses the capacity of a table of keys. */
export function keyTableSize(text: string): number {
  return wholeNumber(text, MIN_KEYS, MAX_KEYS, 'a number');
}

/** Parses the keys of a summary. */
export function keys(text: string): By {
  const by = parseBy(text);
  if (typeof by === 'string') throw new InvalidArgumentError(by);
  return by;
}

/** Parses an address to listen on: `127.0.0.1:9435`, `[::1]:9435`, or `:9435` for all addresses. */
export function listenAddress(text: string): ListenAddress {
  const [, bracketed, plain = '', digits = ''] = /^(?:\[(.*)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? [];
  const address = bracketed ?? plain;
  const bytes = parseAddress(address);
  const isKnown =
    address === '' ? bracketed === undefined : bytes?.length === (bracketed === undefined ? 4 : 16);
  if (!isKnown || digits === '' || Number(digits) > MAX_PORT)
    throw new InvalidArgumentError(
      'It must be an address and a port: 127.0.0.1:9435, [::1]:9435, or :9435 for all addresses.',
    );
  return { address, port: Number(digits) };
}

/** Parses the URL of a collector. Adds the usual path if it has none. */
export function collectorUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !['http:', 'https:'].includes(url.protocol) || url.hostname === '')
    throw new InvalidArgumentError('It must be a URL: http://localhost:4318 or https://HOST/PATH.');
  if (url.username !== '' || url.password !== '')
    throw new InvalidArgumentError(
      'It must not have a password, which other users see; use the variable OTEL_EXPORTER_OTLP_HEADERS.',
    );
  if (url.pathname === '/') url.pathname = '/v1/metrics';
  return url.href;
}

/** Parses the number of buckets per octave. */
export function buckets(text: string): BucketsPerOctave {
  const found = BUCKETS_PER_OCTAVE.find((each) => String(each) === text);
  if (found === undefined)
    throw new InvalidArgumentError(`It must be one of ${BUCKETS_PER_OCTAVE.join(', ')}.`);
  return found;
}

/** Parses the most lines of a scrape. */
export function metricLines(text: string): number {
  return wholeNumber(text, MIN_LINES, MAX_LINES, 'a number');
}

/** Enough for some series with all buckets, and for the metrics about tcpconnlat. */
const MIN_LINES = 500;
/** A scrape of 100 MB. */
const MAX_LINES = 1_000_000;

/** Parses the number of pages per CPU. */
export function ringPages(text: string): number {
  const pages = wholeNumber(text, 1, 65_536, 'a power of two');
  if ((pages & (pages - 1)) !== 0) throw new InvalidArgumentError('It must be a power of two.');
  return pages;
}

/** Checks the path of a recording or report to write. */
export function outputFile(text: string): string {
  if (text === '') throw new InvalidArgumentError('It must not be empty.');
  if (text === '-')
    throw new InvalidArgumentError('It must be a file, because standard output shows the connects.');
  return text;
}

// Values of filters. The options may be repeated; `before` holds the values so far.

/** (uid_t)-1 is not a valid user id. */
const MAX_UID = MAX_U32 - 1;

/** Parses process ids, separated by commas. */
export const processIds = listOf((text) => {
  const pid = wholeNumber(text, 1, MAX_PID, 'a process id');
  return [pid, pid];
});
/** Parses ports and port ranges, separated by commas. */
export const ports = listOf((text) => range(text, MAX_PORT, 'port'));
/** Parses user ids, ranges of them, and names of users, separated by commas. */
export const userIds = listOf((text) => {
  if (/^[\d-]*$/.test(text)) return range(text, MAX_UID, 'user id');
  const uid = userIdOf(text);
  if (uid === undefined || uid > MAX_UID)
    throw new InvalidArgumentError(
      `'${text}' is not a user in /etc/passwd; use the number of a user from another source (id -u NAME).`,
    );
  return [uid, uid];
});

/** Parses addresses and networks of both families, separated by commas. */
export function networks(text: string, before: readonly Network[] = []): Network[] {
  return limited([...before, ...text.split(',').map(network)], MAX_NETWORKS);
}

/** Adds the name of a thread, which may contain commas and escapes. */
export function threadNames(text: string, before: readonly string[] = []): string[] {
  if (text === '')
    throw new InvalidArgumentError(
      `It must not be empty; "''" in quotes selects threads with an empty name.`,
    );
  if (text.includes('\ufffd'))
    throw new InvalidArgumentError(
      'It has bytes that are not UTF-8, or U+FFFD; write them as \\xNN (U+FFFD is \\xef\\xbf\\xbd).',
    );
  const bytes = threadNameBytes(text);
  if (bytes.includes(0)) throw new InvalidArgumentError('Thread names do not contain NUL (\\x00).');
  if (bytes.length > MAX_COMM_BYTES)
    throw new InvalidArgumentError(
      `The kernel limits thread names to ${MAX_COMM_BYTES} bytes; this name has ${bytes.length}.`,
    );
  return limited([...before, bytesText(bytes)]);
}

/** Adds names of systemd units. As systemctl does, it adds `.service` to a name without a type. */
export const unitNames = listOfNames(/^[\w:.\\@*?-]+$/, 'nginx or php@*.service', (text) => {
  if (text.endsWith('.slice'))
    throw new InvalidArgumentError(`'${text}' is a slice, which groups units; use --cgroup with its folder.`);
  return /[*?]|\.(?:service|scope|socket|mount|swap)$/.test(text) ? text : `${text}.service`;
});
/** Adds names or UIDs of pods, or names of namespaces. */
export const podNames = listOfNames(/^[A-Za-z0-9.*?-]+$/, 'shop or cart-7d9f*', (text) => text);

/** Parses a list of names. `pattern` has the characters that they consist of. */
function listOfNames(pattern: RegExp, examples: string, parse: (text: string) => string) {
  return (text: string, before: readonly string[] = []): string[] => {
    const names = text.split(',').map((name) => {
      if (!pattern.test(name) || name.length > MAX_NAME)
        throw new InvalidArgumentError(`'${name}' is not such a name; examples: ${examples}.`);
      return parse(name);
    });
    return limited([...new Set([...before, ...names])]);
  };
}

/** The longest name of a unit or pod: that of a file. */
const MAX_NAME = 255;

/** Adds a path, which may contain commas. */
export function paths(text: string, before: readonly string[] = []): string[] {
  if (text === '') throw new InvalidArgumentError('It must not be empty.');
  return limited([...before, text]);
}

/** Parses a list of ranges. Adjacent ranges merge, and count as one value. */
function listOf(parse: (text: string) => Range) {
  return (text: string, before: readonly Range[] = []): Range[] =>
    limited(merged([...before, ...text.split(',').map(parse)]));
}

function limited<T>(values: T[], most = MAX_COMPARED): T[] {
  if (values.length > most)
    throw new InvalidArgumentError(`At most ${most} values are possible; this would be ${values.length}.`);
  return values;
}

function range(text: string, most: number, what: string): Range {
  const [, from = '', to = from] = /^(\d+)(?:-(\d+))?$/.exec(text) ?? [];
  const [first, last] = [Number(from), Number(to)];
  if (from === '' || last > most || first > last)
    throw new InvalidArgumentError(
      `'${text}' is not a ${what} from 0 to ${most} or a range of them; examples: 80 or 80,8000-8100.`,
    );
  return [first, last];
}

function network(text: string): Network {
  const [, address = '', length] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const bytes = parseAddress(address);
  const prefix = Number(length ?? (bytes?.length ?? 0) * 8);
  if (!bytes || prefix > bytes.length * 8)
    throw new InvalidArgumentError(
      `'${text}' is not an address or network; examples: 10.0.0.0/8 or 2001:db8::1,192.0.2.1.`,
    );
  const base = bytes.map((byte, i) => byte & (0xff00 >> Math.min(Math.max(prefix - 8 * i, 0), 8)));
  if (base.some((byte, i) => byte !== bytes[i]))
    throw new InvalidArgumentError(
      `'${text}' has bits after its prefix; use ${formatAddress(base)}/${prefix} for the network, or ${address}.`,
    );
  return { address: bytes, prefix };
}

function wholeNumber(text: string, least: number, most: number, what: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < least || number > most)
    throw new InvalidArgumentError(`It must be ${what} from ${least} to ${most}.`);
  return number;
}
