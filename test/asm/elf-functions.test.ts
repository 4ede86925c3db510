/** Functions of ELF files by address, compared with binutils. */
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { ElfError } from '../../src/asm/elf/format.ts';
import { FunctionTable, type ReadAt } from '../../src/asm/elf/functions.ts';
import { MAX_NAME_LENGTH, truncate } from '../../src/asm/printable.ts';
import { sameOnEveryKernel, suite } from '../harness.ts';

const test = suite('asm/elf-functions', { seconds: 60 });

/** A file of bytes. */
const reader =
  (bytes: Uint8Array): ReadAt =>
  (offset, length) =>
    bytes.subarray(offset, offset + length);

function withFile<T>(path: string, use: (read: ReadAt) => T): T {
  const fd = openSync(path, 'r');
  try {
    return use((offset, length) => {
      const bytes = new Uint8Array(length);
      return bytes.subarray(0, readSync(fd, bytes, 0, length, offset));
    });
  } finally {
    closeSync(fd);
  }
}

interface Named {
  readonly start: number;
  readonly size: number;
  readonly name: string;
}

function byNm(file: string, flags: readonly string[]): Named[] {
  const options = { encoding: 'utf8', maxBuffer: 1 << 28 } as const;
  const lines = execFileSync('nm', ['-S', '--defined-only', ...flags, file], options);
  return Array.from(
    lines.matchAll(/^([0-9a-f]+) ([0-9a-f]+) [tTwWi] (\S+?)(?:@.*)?$/gm),
    ([, start = '', size = '', name = '']) => ({
      start: Number.parseInt(start, 16),
      size: Number.parseInt(size, 16),
      name: truncate(name, MAX_NAME_LENGTH), // as the table truncates names
    }),
  ).filter(({ size }) => size > 0);
}

const noNm = sameOnEveryKernel || (!existsSync('/usr/bin/nm') && 'needs nm');
const LIBC = ['/lib/x86_64-linux-gnu/libc.so.6', '/lib/aarch64-linux-gnu/libc.so.6'].find(existsSync);

for (const [file, flags] of [
  [process.execPath, []],
  [LIBC ?? '', ['-D']],
] as const)
  test.skipIf(noNm || (file === '' && 'needs glibc'), `the functions of ${file} are those of nm`, () => {
    const all = byNm(file, flags);
    const byStart = new Map<number, Set<string>>();
    for (const { start, name } of all) byStart.set(start, (byStart.get(start) ?? new Set()).add(name));
    withFile(file, (read) => {
      const table = new FunctionTable(read);
      assert.ok(table.size >= all.length * 0.9, `${table.size} of ${all.length}`);
      let checked = 0;
      for (let index = 0; index < all.length; index += Math.ceil(all.length / 2_000)) {
        const { start, size, name } = all[index] as Named;
        for (const offset of [0, size - 1]) {
          const found = table.at(start + offset);
          assert.ok(found, name);
          // Another function may begin inside of this one; nm names it too.
          assert.ok(byStart.get(start + offset - found.offset)?.has(found.name), `${name}: ${found.name}`);
          checked++;
        }
      }
      assert.ok(checked > 1_000);
    });
  });

/** Writes an ELF file with one loaded segment, a section of code, and symbols. */
function elf(symbols: readonly { name: string; at: number; size: number; type: number; section?: number }[]) {
  const bytes = new Uint8Array(4096);
  const view = new DataView(bytes.buffer);
  const [SEGMENTS, SECTIONS, NAMES, SYMBOLS] = [64, 256, 1024, 2048];
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setBigUint64(32, BigInt(SEGMENTS), true);
  view.setBigUint64(40, BigInt(SECTIONS), true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  view.setUint16(58, 64, true);
  view.setUint16(60, 4, true);
  view.setUint32(SEGMENTS, 1, true); // PT_LOAD: the file's first page at 0x400000
  view.setBigUint64(SEGMENTS + 16, 0x40_0000n, true);
  view.setBigUint64(SEGMENTS + 32, 4096n, true);
  const section = (
    index: number,
    type: number,
    flags: bigint,
    address: bigint,
    offset: number,
    size: number,
  ) => {
    const at = SECTIONS + 64 * index;
    view.setUint32(at + 4, type, true);
    view.setBigUint64(at + 8, flags, true);
    view.setBigUint64(at + 16, address, true);
    view.setBigUint64(at + 24, BigInt(offset), true);
    view.setBigUint64(at + 32, BigInt(size), true);
  };
  section(1, 1, 4n, 0x40_0000n, 0, 4096);
  section(2, 2, 0n, 0n, SYMBOLS, 24 * symbols.length);
  view.setUint32(SECTIONS + 128 + 40, 3, true); // the names are in section 3
  let end = 1;
  for (const [index, { name, at, size, type, section: of = 1 }] of symbols.entries()) {
    const symbol = SYMBOLS + 24 * index;
    view.setUint32(symbol, end, true);
    view.setUint8(symbol + 4, type);
    view.setUint16(symbol + 6, of, true);
    view.setBigUint64(symbol + 8, BigInt(0x40_0000 + at), true);
    view.setBigUint64(symbol + 16, BigInt(size), true);
    bytes.set(Buffer.from(name), NAMES + end);
    end += Buffer.byteLength(name) + 1;
  }
  section(3, 3, 0n, 0n, NAMES, end);
  return bytes;
}

const [LOCAL_FUNCTION, GLOBAL_FUNCTION, WEAK_FUNCTION, LABEL, OBJECT] = [0x02, 0x12, 0x22, 0x10, 0x11];

test('a function ends with its size, and functions nest', () => {
  const table = new FunctionTable(
    reader(
      elf([
        { name: 'outer', at: 0x100, size: 0x80, type: GLOBAL_FUNCTION },
        { name: 'inside', at: 0x120, size: 0x10, type: LOCAL_FUNCTION },
        { name: 'data', at: 0x200, size: 8, type: OBJECT },
      ]),
    ),
  );
  const at = (offset: number) => table.at(table.addressOf(offset) as number);
  assert.is(table.size, 2);
  assert.equal(at(0x100), { name: 'outer', offset: 0 });
  assert.equal(at(0x12f), { name: 'inside', offset: 15 });
  assert.equal(at(0x130), { name: 'outer', offset: 0x30 });
  assert.equal([at(0xff), at(0x180), at(0x200)], [undefined, undefined, undefined]);
  assert.equal([table.addressOf(0x10), table.addressOf(4096)], [0x40_0010, undefined]);
});

test('global names come before others, and labels of code end where the next function starts', () => {
  const table = new FunctionTable(
    reader(
      elf([
        { name: 'local', at: 0x100, size: 8, type: LOCAL_FUNCTION },
        { name: 'weak', at: 0x100, size: 8, type: WEAK_FUNCTION },
        { name: 'global', at: 0x100, size: 8, type: GLOBAL_FUNCTION },
        { name: '_start', at: 0x200, size: 0, type: LABEL },
        { name: '$x', at: 0x204, size: 0, type: LABEL },
        { name: '__bss_start', at: 0x208, size: 0, type: LABEL, section: 3 },
        { name: 'next', at: 0x300, size: 8, type: GLOBAL_FUNCTION },
      ]),
    ),
  );
  const name = (offset: number) => table.at(0x40_0000 + offset)?.name;
  assert.equal([name(0x104), name(0x2ff), name(0x300)], ['global', '_start', 'next']);
});

test('a long name is cut, and ends with an ellipsis', () => {
  const file = elf([{ name: 'x'.repeat(600), at: 0, size: 8, type: GLOBAL_FUNCTION }]);
  assert.is(new FunctionTable(reader(file)).at(0x40_0000)?.name, `${'x'.repeat(511)}…`);
});

test('other files are refused, and damaged tables are empty', () => {
  for (const bytes of [new Uint8Array(), Buffer.from('#!/bin/sh\n'), elf([]).fill(1, 4, 5)])
    assert.throws(
      () => new FunctionTable(reader(bytes)),
      (error: Error) => error instanceof ElfError,
    );
  const file = elf([{ name: 'f', at: 0, size: 8, type: GLOBAL_FUNCTION }]);
  const view = new DataView(file.buffer);
  for (let at = 32; at < 64; at += 2) {
    const damaged = file.slice();
    new DataView(damaged.buffer).setUint16(at, 0xffff, true);
    assert.ok(new FunctionTable(reader(damaged)).size <= 1);
  }
  view.setUint32(256 + 128 + 40, 0xffff_ffff, true); // no section has the names
  assert.is(new FunctionTable(reader(file)).at(0x40_0000), undefined);
});

test.run();
