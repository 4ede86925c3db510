/**
 * IP addresses as text, and their bytes in network order.
 */
import { LineBuffer } from './line-buffer.ts';

const COLON = 0x3a;
const DOT = 0x2e;
const HEXADECIMAL = Buffer.from('0123456789abcdef');
const MAPPED = '::ffff:';

/** Where `formatAddress` writes. */
const scratch = new LineBuffer();

/** The text that `writeAddress` appends. */
export function formatAddress(bytes: Uint8Array): string {
  scratch.end = 0;
  return scratch.bytes.toString('latin1', 0, writeAddress(scratch, bytes));
}

/**
 * Appends an IPv4 or IPv6 address, depending on the number of bytes: `192.0.2.1`, or the form of RFC 5952
 * (lower case, the longest run of zeros as `::`, and `::ffff:192.0.2.1` for IPv4-mapped addresses).
 */
export function writeAddress(line: LineBuffer, bytes: Uint8Array): number {
  return bytes.length === 4 ? writeIPv4(line, bytes, 0) : writeIPv6(line, bytes);
}

function writeIPv4(line: LineBuffer, bytes: Uint8Array, at: number): number {
  let length = line.decimal(bytes[at] as number);
  for (let i = 1; i < 4; i++) length += line.byte(DOT) + line.decimal(bytes[at + i] as number);
  return length;
}

function writeIPv6(line: LineBuffer, bytes: Uint8Array): number {
  let [zeros, zerosAt, run] = [1, 8, 0];
  for (let i = 0; i < 8; i++) {
    run = groupAt(bytes, i) === 0 ? run + 1 : 0;
    if (run > zeros) [zeros, zerosAt] = [run, i + 1 - run];
  }
  if (zerosAt === 0 && zeros === 5 && groupAt(bytes, 5) === 0xffff)
    return line.ascii(MAPPED) + writeIPv4(line, bytes, 12);
  let length = 0;
  for (let i = 0; i < 8; i++) {
    if (i === zerosAt) {
      length += line.byte(COLON) + (i + zeros === 8 ? line.byte(COLON) : 0);
      i += zeros - 1;
      continue;
    }
    if (i > 0) length += line.byte(COLON);
    length += writeHexadecimal(line, groupAt(bytes, i));
  }
  return length;
}

function groupAt(bytes: Uint8Array, index: number): number {
  return ((bytes[2 * index] as number) << 8) | (bytes[2 * index + 1] as number);
}

/** Appends 16 bits without leading zeros. */
function writeHexadecimal(line: LineBuffer, value: number): number {
  let shift = value > 0xfff ? 12 : value > 0xff ? 8 : value > 0xf ? 4 : 0;
  const length = shift / 4 + 1;
  for (; shift >= 0; shift -= 4) line.byte(HEXADECIMAL[(value >> shift) & 0xf] as number);
  return length;
}

/**
 * Parses an address in any form of RFC 4291 (section 2.2) to 4 or 16 bytes. Returns undefined for other
 * texts, such as `fe80::1%eth0`.
 */
export function parseAddress(text: string): Uint8Array | undefined {
  return text.includes(':') ? parseIPv6(text) : parseIPv4(text);
}

function parseIPv4(text: string): Uint8Array | undefined {
  const parts = text.split('.');
  // Some programs read a leading zero as octal.
  const isValid =
    parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256);
  return isValid ? Uint8Array.from(parts, Number) : undefined;
}

function parseIPv6(text: string): Uint8Array | undefined {
  const [head = '', tail, ...more] = text.split('::');
  const front = bytesOfGroups(head, tail === undefined);
  const back = bytesOfGroups(tail ?? '', true);
  if (!front || !back || more.length > 0) return undefined;
  const left = 16 - front.length - back.length;
  if (tail === undefined ? left !== 0 : left < 2) return undefined;
  return Uint8Array.of(...front, ...new Uint8Array(left), ...back);
}

/** Parses groups of 16 bits in hexadecimal. An IPv4 address may stand for the last two groups. */
function bytesOfGroups(text: string, mayEndAsIPv4: boolean): number[] | undefined {
  const groups = text === '' ? [] : text.split(':');
  const bytes: number[] = [];
  for (const [i, group] of groups.entries()) {
    const ipv4 = mayEndAsIPv4 && i === groups.length - 1 ? parseIPv4(group) : undefined;
    if (ipv4) bytes.push(...ipv4);
    else if (/^[0-9a-f]{1,4}$/i.test(group))
      bytes.push(Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff);
    else return undefined;
  }
  return bytes;
}
