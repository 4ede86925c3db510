/**
 * Values of the command line's options, read from their text. What makes no sense is refused with what it has to be.
 */
import { InvalidArgumentError } from 'commander';
import type { Network } from '../../programs/networks.ts';
import {
  MAX_COMM_BYTES,
  MAX_COMPARED,
  MAX_NETWORKS,
  merged,
  type Range,
} from '../../programs/tcpconnlat/filter.ts';
import { formatAddress, parseAddress } from '../address.ts';
import { MOST_PID, MOST_PORT, MOST_U32 } from '../limits.ts';

/** Latencies are compared in ns, and a number of them past 2^53 wouldn't be exact: 104 days. */
const MOST_MS = Math.floor(Number.MAX_SAFE_INTEGER / 1e6);

/** Milliseconds, as ns. */
export function milliseconds(text: string): number {
  const ms = Number(text);
  if (!/^(\d+(\.\d*)?|\.\d+)$/.test(text) || ms > MOST_MS)
    throw new InvalidArgumentError(`It must be a number of milliseconds from 0 to ${MOST_MS}.`);
  return Math.round(ms * 1e6);
}

/** Pages of each CPU's ring. */
export function ringPages(text: string): number {
  const pages = whole(text, 1, 65_536, 'a power of two');
  if ((pages & (pages - 1)) !== 0) throw new InvalidArgumentError('It must be a power of two.');
  return pages;
}

/** The path of a recording to write. */
export function recordingFile(text: string): string {
  if (text === '') throw new InvalidArgumentError('It must not be empty.');
  if (text === '-') throw new InvalidArgumentError('It must be a file: the output is for what is shown.');
  return text;
}

// Of filters. They may come several times, and add up; most of them take lists with commas too.

/** (uid_t)-1 is no user. */
const MOST_UID = MOST_U32 - 1;

/** Processes, a number each. */
export const processIds = rangesOf((text) => {
  const pid = whole(text, 1, MOST_PID, 'a process id');
  return [pid, pid];
});
/** Ports and ranges of them. */
export const ports = rangesOf((text) => range(text, MOST_PORT, 'ports'));
/** Users and ranges of them, by number. */
export const users = rangesOf((text) => range(text, MOST_UID, 'user ids'));

/** Networks and addresses of both families. */
export function networks(text: string, before: readonly Network[] = []): Network[] {
  return limited([...before, ...text.split(',').map(network)], MAX_NETWORKS);
}

/** A name of a thread, which may have commas. */
export function commandNames(text: string, before: readonly string[] = []): string[] {
  const size = Buffer.byteLength(text);
  if (size === 0 || size > MAX_COMM_BYTES)
    throw new InvalidArgumentError(
      `It must have 1 to ${MAX_COMM_BYTES} bytes, as the kernel cuts names; it has ${size}.`,
    );
  return limited([...before, text]);
}

/** Paths, each in an option of its own: a path may have commas. */
export function paths(text: string, before: readonly string[] = []): string[] {
  if (text === '') throw new InvalidArgumentError('It must not be empty.');
  return limited([...before, text]);
}

/** Of numbers in a row only the ends are compared, so that they count as one. */
function rangesOf(read: (text: string) => Range) {
  return (text: string, before: readonly Range[] = []): Range[] =>
    limited(merged([...before, ...text.split(',').map(read)]));
}

function limited<T>(values: T[], most = MAX_COMPARED): T[] {
  if (values.length > most)
    throw new InvalidArgumentError(`There is room for ${most} of them, and this makes ${values.length}.`);
  return values;
}

function range(text: string, most: number, what: string): Range {
  const [, from = '', to = from] = /^(\d+)(?:-(\d+))?$/.exec(text) ?? [];
  const [first, last] = [Number(from), Number(to)];
  if (from === '' || last > most || first > last)
    throw new InvalidArgumentError(
      `It must be ${what} from 0 to ${most}, as 80 or 8000-8100, with commas between them: '${text}' is none.`,
    );
  return [first, last];
}

function network(text: string): Network {
  const [, address = '', length] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const bytes = parseAddress(address);
  const prefix = Number(length ?? (bytes?.length ?? 0) * 8);
  if (!bytes || prefix > bytes.length * 8)
    throw new InvalidArgumentError(
      `It must be addresses or networks, as 10.0.0.0/8 or 2001:db8::1, with commas between them: '${text}' is none.`,
    );
  const base = bytes.map((byte, i) => byte & (0xff00 >> Math.min(Math.max(prefix - 8 * i, 0), 8)));
  if (base.some((byte, i) => byte !== bytes[i]))
    throw new InvalidArgumentError(
      `'${text}' has bits behind its prefix: the network is ${formatAddress(base)}/${prefix}, the address alone ${address}.`,
    );
  return { address: bytes, prefix };
}

function whole(text: string, least: number, most: number, what: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < least || number > most)
    throw new InvalidArgumentError(`It must be ${what} from ${least} to ${most}.`);
  return number;
}
