import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { AmbiguousStructError, Btf, BtfError, NoSuchFieldError } from '../../src/asm/btf.ts';
import { suite } from '../harness.ts';
import { BtfWriter } from './btf-writer.ts';
import { kernelInSmall } from './fixtures/kernel-types.ts';

const test = suite('asm/btf-fuzz', { seconds: 60 });

/** Runs a query; errors of bad BTF count as an answer. */
function attempt<T>(query: () => T): T | undefined {
  try {
    return query();
  } catch (error) {
    if (
      error instanceof BtfError ||
      error instanceof NoSuchFieldError ||
      error instanceof AmbiguousStructError
    )
      return undefined;
    throw error;
  }
}

/** Runs every kind of query. */
function useAll(changed: Btf): void {
  for (let id = 0; id <= changed.count; id++) attempt(() => changed.type(id));
  for (const query of [
    () => changed.find('typedef', 'btf_trace_inet_sock_set_state'),
    () => changed.has('sock', 'sk_grid[1][2]'),
    () => changed.has('sock', 'sk_inner'),
    () => changed.member('sock', 'skc_daddr'),
    () => changed.member('sock', '__sk_common.skc_v6_daddr.in6_u.u6_addr32[1]'),
    () => changed.member('sock', 'sk_flags.across'),
    () => changed.sizeOf('in6_addr'),
    () => changed.enumValue('TCP_SYN_SENT'),
    () => changed.enumValue('BELOW', 'negative'),
    () => changed.prototype('btf_trace_inet_sock_set_state'),
    () => changed.prototype('no_such_function'),
  ])
    attempt<unknown>(query);
}

/** Some overwritten bytes, and the number of bytes cut off the end. */
const damage = fc.record({
  changes: fc.array(fc.tuple(fc.nat(), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0xff))), {
    maxLength: 6,
  }),
  cut: fc.option(fc.nat(), { nil: 0, freq: 3 }),
});

function damaged(
  good: Uint8Array,
  { changes, cut }: typeof damage extends fc.Arbitrary<infer T> ? T : never,
) {
  const bytes = good.slice(0, good.length - (cut % good.length));
  for (const [at, value] of changes) bytes[at % bytes.length] = value;
  return bytes;
}

/** Blobs of all kinds: plain, with a longer header and unknown kinds, and of a module. */
const kernel = Btf.parse(kernelInSmall().blob());
const newer = kernelInSmall();
newer.raw('later', (40 << 24) + 2, 0, [1, 2, 3]);
newer.raw('', 0x1400_0001, 8, [2, 7]);
newer.raw('.text', 0x1600_0001, 0, [3, 4, 5]);
const layout = new Uint8Array(4 * 41).fill(0);
layout.set([4, 4], 4 * 40);
layout.set([4, 4, 0, 0, 0, 4, 0, 0, 0, 12], 4 * 20);
const own = new BtfWriter(kernelInSmall());
own.struct('nft_table', 16, [{ name: 'use', type: 4, bits: 0 }]);
own.func('no_such_functions', own.prototype(4, { table: kernel.count + 1 }));
const blobs: Readonly<Record<string, readonly [Uint8Array, Btf?]>> = {
  'a kernel': [kernelInSmall().blob()],
  'a later kernel': [newer.blob({ layout })],
  'a module': [own.blob(), kernel],
};

for (const [name, [good, base]] of Object.entries(blobs))
  test(`any change in the types of ${name} results in a value or a BtfError`, () => {
    useAll(Btf.parse(good, base));
    let read = 0;
    fc.assert(
      fc.property(damage, (how) => {
        const btf = attempt(() => Btf.parse(damaged(good, how), base));
        if (btf === undefined) return;
        read++;
        useAll(btf);
      }),
      { numRuns: 2500 },
    );
    assert.ok(read > 250 && read < 2500, `${read} of 2500 could be read`);
  });

test('bytes that are not BTF are refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => attempt(() => Btf.parse(bytes)) === undefined),
    { numRuns: 2000 },
  );
});

// --- written types are read back --------------------------------------------------------------------

/** A random struct or union: scalars of some size or bits, arrays, and nested structs. */
interface StructSpec {
  readonly union: boolean;
  readonly parts: readonly Part[];
}
type Part =
  | { readonly kind: 'scalar'; readonly bytes: 1 | 2 | 4 | 8; readonly signed: boolean }
  | { readonly kind: 'bits'; readonly count: number }
  | { readonly kind: 'array'; readonly bytes: 1 | 2 | 4 | 8; readonly length: number }
  | { readonly kind: 'inside'; readonly anonymous: boolean; readonly spec: StructSpec };

const bytes = fc.constantFrom(1 as const, 2 as const, 4 as const, 8 as const);
const { spec: structSpecs } = fc.letrec<{ spec: StructSpec; part: Part }>((tie) => ({
  spec: fc.record({
    union: fc.boolean(),
    parts: fc.array(tie('part'), { minLength: 1, maxLength: 5, depthIdentifier: 'spec' }),
  }),
  part: fc.oneof(
    { depthIdentifier: 'spec', maxDepth: 4 },
    fc.record({ kind: fc.constant('scalar' as const), bytes, signed: fc.boolean() }),
    fc.record({ kind: fc.constant('bits' as const), count: fc.integer({ min: 1, max: 32 }) }),
    fc.record({ kind: fc.constant('array' as const), bytes, length: fc.integer({ min: 1, max: 9 }) }),
    fc.record({ kind: fc.constant('inside' as const), anonymous: fc.boolean(), spec: tie('spec') }),
  ),
}));

/** The expected position of a path, in bits from the start. */
interface Expected {
  readonly path: string;
  readonly bits: number;
  readonly size: number;
  readonly field: boolean;
}

/** Writes a struct with a packed layout and records the position of each path. */
function write(w: BtfWriter, name: string, { union, parts }: StructSpec, fresh: () => string) {
  const ints = (size: number, signed: boolean) => w.int(`i${size}`, size, signed ? 1 : 0);
  const expected: Expected[] = [];
  const members = [];
  let at = 0;
  let end = 0;
  for (const part of parts) {
    const member = part.kind === 'inside' && part.anonymous ? '' : fresh();
    if (part.kind !== 'bits') at = Math.ceil(at / 8) * 8;
    const start = at;
    let type: number;
    let bits: number;
    let size: number | undefined;
    if (part.kind === 'inside') {
      const inner = write(w, '', part.spec, fresh);
      type = inner.id;
      bits = inner.bits;
      for (const each of inner.expected) {
        const path = member === '' ? each.path : `${member}.${each.path}`;
        expected.push({ ...each, path, bits: each.bits + start });
      }
    } else if (part.kind === 'array') {
      type = w.typedef('row', w.array(ints(part.bytes, false), part.length));
      bits = 8 * part.bytes * part.length;
      const last = part.length - 1;
      expected.push({
        path: `${member}[${last}]`,
        bits: start + 8 * part.bytes * last,
        size: part.bytes,
        field: false,
      });
    } else {
      bits = part.kind === 'bits' ? part.count : 8 * part.bytes;
      size = part.kind === 'bits' ? part.count : undefined;
      type = part.kind === 'bits' ? ints(4, false) : w.const(ints(part.bytes, part.signed));
      expected.push({ path: member, bits: start, size: bits / 8, field: part.kind === 'bits' });
    }
    members.push({ name: member, type, bits: start, ...(size === undefined ? {} : { size }) });
    end = Math.max(end, start + bits);
    at = union ? 0 : start + bits;
  }
  const total = Math.ceil(end / 8) * 8;
  const id = union ? w.union(name, total / 8, members, true) : w.struct(name, total / 8, members, true);
  return { id, bits: total, expected };
}

test('members of nested structs and unions are found at their offsets', () => {
  let fields = 0;
  fc.assert(
    fc.property(structSpecs, (spec) => {
      const w = new BtfWriter();
      let names = 0;
      const { bits, expected } = write(w, 'outer', spec, () => `m${names++}`);
      const btf = Btf.parse(w.blob());
      assert.is(btf.sizeOf('outer'), bits / 8);
      for (const { path, bits: start, size, field } of expected) {
        const found = attempt(() => btf.member('outer', path));
        // A bit field that no aligned 8-byte load covers cannot be described.
        if (found === undefined) assert.ok(field && (start % 64) + size * 8 > 64, path);
        else assert.is(found.offset * 8 + (found.bitOffset ?? 0), start, path);
        if (found !== undefined) assert.is(found.bitSize ?? found.size * 8, size * 8, path);
        if (field) fields++;
      }
    }),
    { numRuns: 500 },
  );
  assert.ok(fields > 100, `${fields} bit fields`);
});

const enumerators = fc.dictionary(
  fc.stringMatching(/^[A-Z][A-Z0-9_]{0,8}$/),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
  { minKeys: 1, maxKeys: 8, noNullPrototype: true },
);

test('enum values are read as written, with 32 and 64 bits, signed and unsigned', () => {
  fc.assert(
    fc.property(enumerators, fc.boolean(), (values, signed) => {
      const w = new BtfWriter();
      const narrow = Object.fromEntries(
        Object.entries(values).map(([name, value]) => [name, Number(BigInt.asUintN(32, value))]),
      );
      w.enum64('wide', values, signed);
      w.enum('narrow', 4, narrow, signed);
      const btf = Btf.parse(w.blob());
      const as = signed ? BigInt.asIntN : BigInt.asUintN;
      for (const [name, value] of Object.entries(values)) {
        assert.is(btf.enumValue(name, 'wide'), as(64, value));
        assert.is(btf.enumValue(name, 'narrow'), Number(as(32, value)));
      }
    }),
    { numRuns: 300 },
  );
});

test.run();
