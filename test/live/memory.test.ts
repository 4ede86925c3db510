/**
 * Memory of the builder compared with a byte model, run by the kernel: random nested structs and arrays that
 * are set, copied, cleared, indexed and passed to subprograms. property-runs.ts documents how to run more
 * cases.
 */
import type { TSchema } from '@sinclair/typebox';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import type { Builder } from '../../src/asm/builder/builder.ts';
import type { Place, StructMemory } from '../../src/asm/builder/place.ts';
import {
  getCurrentComm,
  getCurrentTask,
  getSmpProcessorId,
  probeReadKernelStr,
} from '../../src/asm/helpers.ts';
import {
  arrayOf,
  bytes,
  chars,
  hasFields,
  type IntLayout,
  type Layout,
  layoutOf,
  out,
  s8,
  s16,
  s16be,
  s32,
  s64,
  struct,
  u8,
  u16,
  u16be,
  u32,
  u32be,
  u64,
  u64be,
  union,
} from '../../src/asm/layout.ts';
import { array, hash } from '../../src/asm/map.ts';
import { subprogram } from '../../src/asm/subprogram.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { propertySuite } from './property-runs.ts';
import { cannotRun, withProgram } from './run-program.ts';

const { test, cases } = propertySuite('live/memory', 2000);

const scalar = fc.constantFrom<TSchema>(
  u8,
  u16,
  u32,
  u64,
  s32,
  u16be,
  u32be,
  u64be,
  s16be,
  bytes(3),
  bytes(8),
  chars(5),
);
const { tree } = fc.letrec<{ tree: TSchema; node: TSchema }>((tie) => ({
  tree: fc.array(tie('node'), { minLength: 1, maxLength: 4 }).map((fields) => struct(named(fields))),
  node: fc.oneof(
    { maxDepth: 2, depthSize: 'small' },
    { arbitrary: scalar, weight: 4 },
    { arbitrary: tie('tree'), weight: 2 },
    {
      arbitrary: fc
        .array(tie('node'), { minLength: 1, maxLength: 3 })
        .map((members) => union(named(members))),
      weight: 1,
    },
    {
      arbitrary: fc.tuple(scalar, fc.integer({ min: 1, max: 3 })).map(([element, n]) => arrayOf(element, n)),
      weight: 1,
    },
  ),
}));
function named(fields: readonly TSchema[]): Record<string, TSchema> {
  return Object.fromEntries(fields.map((field, i) => [`f${i}`, field]));
}

const anyStruct = tree.filter((schema) => layoutOf(schema).size <= 56);

const step = fc.record({
  kind: fc.constantFrom('set', 'clear', 'copy', 'whole', 'call', 'fill', 'index'),
  at: fc.nat({ max: 31 }),
  from: fc.nat({ max: 31 }),
  number: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** A part of a struct: its memory, and the position of its bytes. */
interface Part {
  readonly memory: Place | StructMemory;
  readonly offset: number;
  readonly layout: Layout;
}

/** The struct and everything in it. */
function partsOf(memory: unknown, layout: Layout, offset = 0): Part[] {
  const own: Part = { memory: memory as Place | StructMemory, offset, layout };
  if (hasFields(layout))
    return [
      own,
      ...layout.fields.flatMap((f) =>
        partsOf((memory as Record<string, unknown>)[f.name], f.layout, offset + f.offset),
      ),
    ];
  if (layout.kind === 'array')
    return [
      own,
      ...Array.from({ length: layout.length }, (_, i) => {
        const element = (memory as { at(i: number): unknown }).at(i);
        return partsOf(element, layout.element, offset + i * layout.element.size);
      }).flat(),
    ];
  return [own];
}

/** The bytes of a number in memory. */
function bytesOf(number: bigint, { size, bigEndian }: { size: number; bigEndian: boolean }): Uint8Array {
  const all = Uint8Array.from({ length: size }, (_, i) => Number((number >> BigInt(8 * i)) & 0xffn));
  return bigEndian ? all.reverse() : all;
}

/** The host-endian schema with the same size and sign. */
function hostSchema({ size, signed }: IntLayout): TSchema {
  return { 1: [u8, s8], 2: [u16, s16], 4: [u32, s32], 8: [u64, s64] }[size][signed ? 1 : 0] as TSchema;
}

const same = (a: Layout, b: Layout) => JSON.stringify(a) === JSON.stringify(b);

test.skipIf(cannotRun, 'memory holds the bytes written to it', () => {
  const kernel = new Kernel();
  let steps = 0;
  const property = fc.property(anyStruct, fc.array(step, { minLength: 1, maxLength: 8 }), (schema, plan) => {
    const { size } = layoutOf(schema);
    const Both = struct({ first: bytes(64), second: bytes(64) });
    const results = array('results', { value: Both });
    const models = [new Uint8Array(64), new Uint8Array(64)] as const;
    const copyOf = subprogram('copy_of', [schema, schema], (_, to, from) =>
      (to as Place | StructMemory).set(from as Place | StructMemory),
    );
    const cleared = subprogram('cleared', [out(schema)], (_, to) => (to as Place | StructMemory).set(0));
    withProgram(
      [results],
      (b) => {
        const blocks = [b.stack(schema), b.stack(schema)] as unknown as (Place | StructMemory)[];
        for (const block of blocks) block.set(0);
        const parts = blocks.map((block) => partsOf(block, layoutOf(schema)));
        for (const one of plan)
          steps += Number(apply(b, one, blocks, parts, models, copyOf as never, cleared as never));
        const whole = b.global(results) as unknown as { first: Place; second: Place };
        const Whole = bytes(size);
        for (const [i, to] of [whole.first, whole.second].entries())
          b.as(to, Whole).set(b.as(blocks[i] as StructMemory, Whole));
      },
      ({ run, map }) => {
        run();
        const { first, second } = map(results).lookup(0) as { first: Uint8Array; second: Uint8Array };
        assert.equal(
          [first, second].map((each) => [...each]),
          models.map((each) => [...each]),
        );
      },
      kernel,
    );
  });
  fc.assert(property, { numRuns: cases, includeErrorInReport: true });
  assert.ok(steps > cases, `only ${steps} steps were taken`);
});

/** Applies a step to the memory and to the model; returns false if the step does not apply. */
function apply(
  b: Builder,
  { kind, at, from, number }: Step,
  blocks: readonly (Place | StructMemory)[],
  parts: readonly (readonly Part[])[],
  models: readonly [Uint8Array, Uint8Array],
  copyOf: Parameters<Builder['call']>[0],
  cleared: Parameters<Builder['call']>[0],
): boolean {
  const side = at % 2;
  const model = models[side] as Uint8Array;
  const mine = parts[side] as readonly Part[];
  const part = mine[at % mine.length] as Part;
  const { memory, offset, layout } = part;
  switch (kind) {
    case 'set': {
      if (layout.kind !== 'int') return false;
      const fitting = layout.signed
        ? BigInt.asIntN(8 * layout.size, number)
        : BigInt.asUintN(8 * layout.size, number);
      if (from % 2 === 0) (memory as Place).set(fitting);
      else {
        b.call(getSmpProcessorId); // frees the temporary registers of earlier steps
        (memory as Place).set(b.value(fitting).as(hostSchema(layout)));
      }
      model.set(bytesOf(BigInt.asUintN(64, fitting), layout), offset);
      return true;
    }
    case 'clear':
      memory.set(0);
      model.fill(0, offset, offset + layout.size);
      return true;
    case 'copy': {
      const others = parts.flatMap((each, i) => each.map((other) => ({ ...other, side: i })));
      const fits = others.filter((other) => same(other.layout, layout));
      const other = fits[from % fits.length];
      if (!other) return false;
      memory.set(other.memory);
      model.set((models[other.side] as Uint8Array).slice(other.offset, other.offset + layout.size), offset);
      return true;
    }
    case 'whole':
      (blocks[side] as StructMemory).set(blocks[1 - side] as StructMemory);
      model.set(models[1 - side] as Uint8Array);
      return true;
    case 'call':
      b.call(copyOf as never, blocks[side] as never, blocks[1 - side] as never);
      model.set(models[1 - side] as Uint8Array);
      return true;
    case 'fill':
      b.call(cleared as never, blocks[side] as never);
      model.fill(0);
      return true;
    case 'index': {
      if (layout.kind !== 'array' || layout.element.kind !== 'int') return false;
      const { element, length } = layout;
      const index = b.stack(u32, Number(number % BigInt(length + 2)));
      (memory as never as { at(i: Place, found: (e: Place) => void): void }).at(index as never, (each) =>
        each.set(1),
      );
      const i = Number(number % BigInt(length + 2));
      if (i < length) model.set(bytesOf(1n, element), offset + i * element.size);
      return true;
    }
    default:
      return false;
  }
}

/** Helpers that write a string: some kernels leave the bytes after its NUL as they were. */
const STRING_READS: Readonly<Record<string, (b: Builder, name: Place) => void>> = {
  bpf_probe_read_kernel_str: (b, name) => b.call(probeReadKernelStr, name, b.call(getCurrentTask)),
  bpf_get_current_comm: (b, name) => b.call(getCurrentComm, name),
};

for (const [helper, read] of Object.entries(STRING_READS))
  test.skipIf(cannotRun, `${helper}: equal strings are equal keys, whatever the stack held before`, () => {
    const map = hash('names', { key: chars(32), value: u64, maxEntries: 8 });
    withProgram(
      [map],
      (b) => {
        const noise = b.arg(0);
        b.block(() => {
          const dirt = b.stack(struct({ a: u64, b: u64, c: u64, d: u64 }));
          for (const field of [dirt.a, dirt.b, dirt.c, dirt.d]) field.set(noise);
        });
        const name = b.stack(chars(32));
        read(b, name);
        b.count(map, name);
      },
      ({ run, map: open }) => {
        for (const noise of [0n, 2n ** 64n - 1n, 0x4141_4141_4141_4141n]) run(noise);
        assert.is([...open(map).keys()].length, 1);
      },
    );
  });

const ownTypes = new Kernel().btf;
test.skipIf(
  cannotRun || (!ownTypes && 'this kernel has no BTF'),
  'a member of a packed kernel struct is read from its copy',
  () => {
    // struct epoll_event is packed on x86-64: data lies at offset 4.
    const data = ownTypes?.member('epoll_event', 'data');
    if (!data) throw new Error('no epoll_event');
    const result = withProgram(
      [],
      (b) => {
        const { data: read } = b.kernel('epoll_event', b.call(getCurrentTask)).fields({ data: 'data' });
        b.exit(read.get().and(0));
      },
      ({ run }) => run(),
    );
    assert.is(result, 0);
  },
);

test.run();
