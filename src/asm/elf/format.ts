/**
 * The headers of 64-bit little-endian ELF files.
 *
 * Source: man 5 elf.
 */
import { TsbpfError } from '../error.ts';
import { MAX_NAME_LENGTH, truncate } from '../printable.ts';

/** A file that is not an ELF file of the expected kind, or is damaged. */
export class ElfError extends TsbpfError {
  override readonly name = 'ElfError';
  override readonly code = 'ERR_ELF';
}

/** `SHT_*`. `SHT_NULL` and `SHT_NOBITS` (.bss) have no bytes in the file. */
export const SectionType = { none: 0, program: 1, symbols: 2, noBits: 8, relocations: 9, dynamicSymbols: 11 };
/** `SHF_EXECINSTR`. */
export const EXECUTABLE = 4n;
/** `STT_*`. */
export const SymbolType = { none: 0, function: 2, section: 3, indirectFunction: 10 };
/** `sizeof(Elf64_Ehdr)` and `sizeof(Elf64_Sym)`. */
export const [HEADER_BYTES, SYMBOL_BYTES] = [64, 24];

/** A table of headers: its offset in the file, the size of a header, and their number. */
export interface Headers {
  readonly start: number;
  readonly size: number;
  readonly count: number;
}

export interface FileHeader {
  readonly machine: number;
  readonly sections: Headers;
  readonly segments: Headers;
  /** The number of the section with the names of the sections. */
  readonly names: number;
}

export interface SectionHeader {
  /** The offset of the name in the section of names. */
  readonly name: number;
  readonly type: number;
  readonly flags: bigint;
  readonly address: bigint;
  readonly offset: bigint;
  readonly size: bigint;
  readonly link: number;
  readonly info: number;
}

/** Whether a file begins with the ELF magic number. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
}

/** Reads the header at the beginning of a file. @throws {ElfError} */
export function fileHeader(bytes: Uint8Array): FileHeader {
  if (!isElf(bytes) || bytes.length < HEADER_BYTES) throw new ElfError('not an ELF file');
  if (bytes[4] !== 2 || bytes[5] !== 1)
    throw new ElfError('unsupported ELF file: only 64-bit little-endian object files can be read');
  const view = viewOf(bytes);
  const headers = (start: number, size: number): Headers => ({
    start: Number(view.getBigUint64(start, true)),
    size: view.getUint16(size, true),
    count: view.getUint16(size + 2, true),
  });
  return {
    machine: view.getUint16(18, true),
    segments: headers(32, 54),
    sections: headers(40, 58),
    names: view.getUint16(62, true),
  };
}

/** Reads the section header at an offset. */
export function sectionHeader(view: DataView, at: number): SectionHeader {
  return {
    name: view.getUint32(at, true),
    type: view.getUint32(at + 4, true),
    flags: view.getBigUint64(at + 8, true),
    address: view.getBigUint64(at + 16, true),
    offset: view.getBigUint64(at + 24, true),
    size: view.getBigUint64(at + 32, true),
    link: view.getUint32(at + 40, true),
    info: view.getUint32(at + 44, true),
  };
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Reads a string up to its NUL, but at most MAX_NAME_LENGTH characters: in a hostile file, many names share
 * one long string.
 */
export function stringAt(bytes: Uint8Array, at: number): string {
  const start = bytes.subarray(at, at + 4 * (MAX_NAME_LENGTH + 1));
  const end = start.indexOf(0);
  const text = start.subarray(0, end < 0 ? undefined : end);
  return truncate(Buffer.from(text.buffer, text.byteOffset, text.length).toString('utf8'), MAX_NAME_LENGTH);
}
