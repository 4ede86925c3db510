import * as assert from 'uvu/assert';
import {
  add,
  add32,
  addrSpaceCast,
  arsh,
  atomic,
  bswap,
  call,
  callSubprogram,
  div,
  exit,
  gotol,
  ja,
  jeq,
  jgt,
  jgt32,
  jsgt32,
  label,
  lddw,
  ldsx,
  ldx,
  loadArgument,
  loadFunction,
  loadMap,
  loadMapValue,
  lsh,
  lsh32,
  mod32,
  mov,
  mov32,
  movsx,
  movsx32,
  neg,
  st,
  storeArgument,
  stx,
  toBe,
} from '../../src/asm/constructors.ts';
import { messageWithoutPosition } from '../../src/asm/error-position.ts';
import { mapLookupElem } from '../../src/asm/helpers.ts';
import type { MapSpec } from '../../src/asm/map.ts';
import { fp, r0, r1, r2, r10 } from '../../src/asm/registers.ts';
import { suite } from '../harness.ts';

const test = suite('asm/constructors');

const u8 = { size: 1 } as const;
const u16 = { size: 2 } as const;
const u32 = { size: 4 } as const;
const u64 = { size: 8 } as const;

/** A stub of a map. */
const attempts = { kind: 'map', name: 'attempts' } as MapSpec;

test('an instruction is a plain value of numbers', () => {
  assert.equal(add(r1, 5), { opcode: 0x07, dst: 1, src: 0, off: 0, imm: 5 });
  assert.equal(ldx(u32, r1, r2, -4), { opcode: 0x61, dst: 1, src: 2, off: -4, imm: 0 });
  assert.equal(exit(), { opcode: 0x95, dst: 0, src: 0, off: 0, imm: 0 });
});

test('the offset of a load is 0 by default', () => {
  assert.equal(ldx(u64, r1, r2), ldx(u64, r1, r2, 0));
  assert.equal(ldsx(u8, r1, r2), ldsx(u8, r1, r2, 0));
});

test('-1 and 2^32-1 are equal if only the low 32 bits count', () => {
  assert.equal(mov32(r1, 0xffff_ffff), mov32(r1, -1));
  assert.equal(jgt32(r1, 0xffff_ffff, 1), jgt32(r1, -1, 1));
  assert.equal(st(u32, r10, -8, 0xffff_ffff), st(u32, r10, -8, -1));
  assert.is(mov32(r1, 0xffff_ffff).imm, -1);
});

test('a jump target is a label reference or a number of slots', () => {
  assert.equal(jeq(r0, 39, 'out'), { ...jeq(r0, 39, 0), reference: { kind: 'label', label: 'out' } });
  assert.equal(ja('out').reference, { kind: 'label', label: 'out' });
  assert.equal(gotol('out').reference, { kind: 'label', label: 'out' });
  assert.equal(callSubprogram('f').reference, { kind: 'label', label: 'f' });
  assert.equal(loadFunction(r2, 'f').reference, { kind: 'label', label: 'f' });
  assert.is(ja(-3).off, -3);
  assert.is(gotol(-3).imm, -3);
  assert.not('reference' in ja(-3));
});

test('a label is a separate item', () => {
  assert.equal(label('out'), { label: 'out' });
});

test('a map is kept as a reference with a zero fd', () => {
  const loaded = loadMap(r1, attempts);
  assert.equal(
    { ...loaded },
    { opcode: 0x18, dst: 1, src: 1, off: 0, imm: 0, high: 0, reference: { kind: 'map', map: attempts } },
  );
  const value = loadMapValue(r1, attempts, 8);
  assert.is(value.src, 2);
  assert.is(value.imm, 0);
  assert.is(value.high, 8);
  assert.equal(value.reference, { kind: 'mapValue', map: attempts, offset: 8 });
  assert.is(loadMapValue(r1, attempts).high, 0);
});

test('a helper is called by its description or its number', () => {
  assert.equal(call(mapLookupElem), call(1));
});

test('lddw accepts every 64-bit number, signed or unsigned', () => {
  assert.equal([lddw(r1, 5).imm, lddw(r1, 5).high], [5, 0]);
  assert.equal([lddw(r1, -1).imm, lddw(r1, -1).high], [-1, -1]);
  assert.equal([lddw(r1, -(2n ** 63n)).imm, lddw(r1, -(2n ** 63n)).high], [0, -(2 ** 31)]);
  assert.equal(lddw(r1, 2n ** 64n - 1n), lddw(r1, -1n));
  assert.equal(lddw(r1, 2 ** 40), lddw(r1, 2n ** 40n));
  assert.is(lddw(r1, 2n ** 40n).high, 256);
});

test('registers are frozen', () => {
  assert.ok(Object.isFrozen(r1));
  assert.is(fp, r10);
});

const REFUSED: readonly [what: () => unknown, message: string][] = [
  [() => add(r1, 2 ** 40), 'add: immediate 1099511627776 does not fit in 32 signed bits'],
  [() => add(r1, 2 ** 31), 'add: immediate 2147483648 does not fit in 32 signed bits'],
  [() => add(r1, -(2 ** 31) - 1), 'add: immediate -2147483649 does not fit in 32 signed bits'],
  [() => add32(r1, 2 ** 32), 'add32: immediate 4294967296 does not fit in 32 bits'],
  [() => add32(r1, -(2 ** 31) - 1), 'add32: immediate -2147483649 does not fit in 32 bits'],
  [() => mov(r1, 1.5), 'mov: immediate 1.5 is not an integer'],
  [() => mov(r1, Number.NaN), 'mov: immediate NaN is not an integer'],
  [() => mov(r10, 1), 'mov: destination r10 is the frame pointer, which is read-only'],
  [() => neg(r10), 'neg: destination r10 is the frame pointer, which is read-only'],
  [() => ldx(u64, r10, r1, 0), 'ldx: destination r10 is the frame pointer, which is read-only'],
  [() => lddw(r10, 1), 'lddw: destination r10 is the frame pointer, which is read-only'],
  [() => loadMap(r10, attempts), 'loadMap: destination r10 is the frame pointer, which is read-only'],
  [
    () => atomic.fetchAdd(u64, r1, 0, r10),
    'atomic.fetchAdd: source r10 is the frame pointer, which is read-only',
  ],
  [() => mov({ register: 11 }, 1), 'mov: destination r11 is not one of r0 to r10'],
  [() => mov(r1, { register: -1 }), 'mov: source r-1 is not one of r0 to r10'],
  [() => mov(r1, undefined as never), 'mov: source undefined is not one of r0 to r10'],
  [() => ldx(u64, r1, { register: 12 }), 'ldx: base r12 is not one of r0 to r10'],
  [() => ldx({ size: 3 } as never, r1, r2), 'ldx: width 3 is not one of 1, 2, 4, 8 bytes'],
  [() => ldsx(u64, r1, r2), 'ldsx: width 8 is not one of 1, 2, 4 bytes'],
  [() => movsx(u64, r1, r2), 'movsx: width 8 is not one of 1, 2, 4 bytes'],
  [() => movsx32(u32, r1, r2), 'movsx32: width 4 is not one of 1, 2 bytes'],
  [() => atomic.add(u16, r1, 0, r2), 'atomic.add: width 2 is not one of 4, 8 bytes'],
  [() => bswap(8 as never, r1), 'bswap: 8 bits are not one of 16, 32, 64'],
  [() => toBe(24 as never, r1), 'toBe: 24 bits are not one of 16, 32, 64'],
  [() => ldx(u64, r1, r2, 32768), 'ldx: offset 32768 does not fit in 16 signed bits'],
  [() => stx(u64, r10, -32769, r2), 'stx: offset -32769 does not fit in 16 signed bits'],
  [() => st(u8, r10, -1, 256), 'st: immediate 256 does not fit in 8 bits'],
  [() => st(u8, r10, -1, -129), 'st: immediate -129 does not fit in 8 bits'],
  [() => st(u16, r10, -2, 65536), 'st: immediate 65536 does not fit in 16 bits'],
  [() => st(u32, r10, -4, 2 ** 32), 'st: immediate 4294967296 does not fit in 32 bits'],
  [() => st(u64, r10, -8, 2 ** 31), 'st: immediate 2147483648 does not fit in 32 signed bits'],
  [() => lsh(r1, 64), 'lsh: shift 64 is not between 0 and 63'],
  [() => arsh(r1, -1), 'arsh: shift -1 is not between 0 and 63'],
  [() => lsh32(r1, 32), 'lsh32: shift 32 is not between 0 and 31'],
  [() => div(r1, 0), 'div: immediate 0 would divide by zero'],
  [() => mod32(r1, 0), 'mod32: immediate 0 would divide by zero'],
  [() => jeq(r1, 2 ** 32 - 1, 'out'), 'jeq: immediate 4294967295 does not fit in 32 signed bits'],
  [() => jgt(r1, 2 ** 40, 'out'), 'jgt: immediate 1099511627776 does not fit in 32 signed bits'],
  [() => jsgt32(r1, 2 ** 31, 'out'), 'jsgt32: immediate 2147483648 does not fit in 32 signed bits'],
  [() => jeq(r1, 1, 32768), 'jeq: distance 32768 does not fit in 16 signed bits'],
  [() => ja(-40000), 'ja: distance -40000 does not fit in 16 signed bits'],
  [() => gotol(2 ** 31), 'gotol: distance 2147483648 does not fit in 32 signed bits'],
  [() => call(0), 'call: helper 0 is not between 1 and 2147483647'],
  [() => lddw(r1, 2n ** 64n), 'lddw: immediate 18446744073709551616 does not fit in 64 bits'],
  [() => lddw(r1, -(2n ** 63n) - 1n), 'lddw: immediate -9223372036854775809 does not fit in 64 bits'],
  [() => lddw(r1, 2 ** 53), 'lddw: immediate 9007199254740992 is not a safe integer; write it as a bigint'],
  [() => loadMapValue(r1, attempts, -1), 'loadMapValue: value offset -1 is not between 0 and 2147483647'],
  [() => addrSpaceCast(r1, r2, 65536, 0), 'addrSpaceCast: address space 65536 is not between 0 and 65535'],
  [() => addrSpaceCast(r1, r2, 0, -1), 'addrSpaceCast: address space -1 is not between 0 and 65535'],
];

for (const [what, message] of REFUSED)
  test(`refused: ${message}`, () => {
    assert.throws(what, (error: unknown) => {
      assert.instance(error, RangeError);
      assert.is(messageWithoutPosition(error as Error), message);
      assert.match(
        (error as Error).message,
        /constructors\.test\.[jt]s:\d+\)$/,
        'ends with the caller\u2019s line',
      );
      return true;
    });
  });

test('r10 may be read', () => {
  assert.is(mov(r1, r10).src, 10);
  assert.is(stx(u64, r10, -8, r10).dst, 10);
  assert.is(atomic.add(u64, r10, -8, r10).src, 10);
  assert.is(jeq(r10, 0, 1).dst, 10);
});

test('stack arguments are the sixth to the twelfth', () => {
  assert.equal(
    [6, 12].map((n) => loadArgument(r1, n).off),
    [8, 56],
  );
  assert.equal(
    [6, 12].map((n) => storeArgument(n, r1).off),
    [-8, -56],
  );
  for (const n of [5, 13, 6.5]) {
    const message = new RegExp(`^loadArgument: argument ${n} is not between 6 and 12`);
    assert.throws(() => loadArgument(r1, n), message);
    assert.throws(() => storeArgument(n, 1), /^storeArgument: /);
  }
});

test("an invalid width is reported with the constructor's name", () => {
  assert.throws(() => ldx(undefined as never, r1, r2), /^ldx: /);
  assert.throws(() => ldx({ size: 3 } as never, r1, r2), /^ldx: /);
});

test('an address space may use its upper bit', () => {
  assert.is(addrSpaceCast(r1, r2, 0xffff, 1).imm >>> 0, 0xffff_0001);
  assert.is(addrSpaceCast(r1, r2, 1, 0xffff).imm, 0x1_ffff);
});

test.run();
