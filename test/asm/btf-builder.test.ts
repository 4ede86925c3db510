import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { programDebugInfo } from '../../src/asm/btf/debug-info.ts';
import { kindNumber, kindOf } from '../../src/asm/btf/format.ts';
import { mapBtf } from '../../src/asm/btf/map-types.ts';
import { BtfReader } from '../../src/asm/btf/reader.ts';
import { TypeIndex } from '../../src/asm/btf/type-index.ts';
import { Btf } from '../../src/asm/btf.ts';
import {
  callSubprogram,
  exit,
  label,
  lddw,
  loadArgument,
  mov,
  storeArgument,
} from '../../src/asm/constructors.ts';
import { perfEventArray } from '../../src/asm/events.ts';
import type { Item } from '../../src/asm/instruction.ts';
import {
  arrayOf,
  bytes,
  chars,
  hasFields,
  layoutOf,
  type StructSchema,
  s8,
  s16,
  s32,
  s64,
  struct,
  u8,
  u16,
  u16be,
  u32,
  u32be,
  u64,
  u64n,
  union,
} from '../../src/asm/layout.ts';
import { array, hash } from '../../src/asm/map.ts';
import { arrayOfMaps, hashOfMaps } from '../../src/asm/map-of-maps.ts';
import type { Location, Position } from '../../src/asm/position.ts';
import { r0, r1 } from '../../src/asm/registers.ts';
import { suite } from '../harness.ts';

const test = suite('asm/btf-builder');

// --- maps ----------------------------------------------------------------------------------------

const Attempt = struct({ ns: u64n, task: struct({ tid: u32, pid: u32 }), comm: chars(16), port: u16be });

/** Parses the types of a map. */
function typesOf(map: Parameters<typeof mapBtf>[0]) {
  const types = mapBtf(map);
  if (types === undefined) throw new Error('the map has no types');
  return { ...types, btf: Btf.parse(types.bytes) };
}

test('a type without parts has vlen 0: the kernel refuses other values', () => {
  const { bytes } = typesOf(hash('by.pid', { key: u32, value: Attempt, maxEntries: 1 }));
  const { words, kindSizes } = new BtfReader(bytes);
  const infos = new Map<number, Set<number>>();
  new TypeIndex(words, kindSizes).forEach((_, start) => {
    const [name = 0, info = 0, size = 0] = words.subarray(start, start + 3);
    infos.set(kindOf(info), (infos.get(kindOf(info)) ?? new Set()).add(info));
    if (kindOf(info) === kindNumber('array')) assert.equal([name, size], [0, 0]);
  });
  for (const kind of ['int', 'array', 'typedef'] as const)
    assert.equal([...(infos.get(kindNumber(kind)) ?? [])], [kindNumber(kind) << 24], kind);
});

test("a map value is a struct with the map's name and named fields", () => {
  const { btf, key, value } = typesOf(hash('by.pid', { key: u32, value: Attempt, maxEntries: 1 }));
  assert.equal(btf.type(key), {
    kind: 'int',
    name: 'u32',
    size: 4,
    signed: false,
    bool: false,
    bits: 32,
    bitOffset: 0,
  });
  assert.is(btf.find('struct', 'by_pid_value'), value);
  assert.is(btf.sizeOf('by_pid_value'), 40);
  assert.is(btf.member('by_pid_value', 'task.pid').offset, 12);
  assert.is(btf.member('by_pid_value', 'comm[15]').offset, 31);
  const port = btf.type(value);
  const ports = port.kind === 'struct' ? port.members.at(-1) : undefined;
  assert.equal(btf.type(ports?.type ?? 0), {
    kind: 'typedef',
    name: '__be16',
    type: ports && ports.type - 1,
  });
});

test('text is an array of char, which bpftool prints as text', () => {
  const { btf, value } = typesOf(array('names', { value: chars(16) }));
  const text = btf.type(value);
  assert.is(text.kind === 'array' && text.length, 16);
  const char = btf.type(text.kind === 'array' ? text.element : 0);
  assert.equal('name' in char && [char.name, 'size' in char && char.size], ['char', 1]);
});

test('equal types are written once', () => {
  const { btf } = typesOf(
    hash('same', { key: u32, value: struct({ a: u32, b: u32, c: u32 }), maxEntries: 1 }),
  );
  assert.is(btf.count, 2);
});

test('perf event arrays have no types', () => {
  assert.is(mapBtf(perfEventArray('events', u32)), undefined);
  const inner = hash('inner', { key: u32, value: u64, maxEntries: 1 });
  assert.is(mapBtf(arrayOfMaps('maps', { inner, maxEntries: 1 })), undefined);
  assert.is(mapBtf(hashOfMaps('named', { key: u32, inner, maxEntries: 1 })), undefined);
});

const scalars = fc.constantFrom(u8, u16, u32, u64, s8, s16, s32, s64, u16be, u32be);
const { schema: schemas } = fc.letrec<{ schema: StructSchema; field: StructSchema['properties'][string] }>(
  (tie) => ({
    schema: fc
      .array(tie('field'), { minLength: 1, maxLength: 5 })
      .map((fields) => struct(Object.fromEntries(fields.map((field, i) => [`f${i}`, field])))),
    field: fc.oneof(
      { maxDepth: 3, depthIdentifier: 'schema' },
      scalars,
      fc.integer({ min: 1, max: 20 }).map((size) => chars(size)),
      fc.integer({ min: 1, max: 20 }).map((size) => bytes(size)),
      fc
        .tuple(tie('field'), fc.integer({ min: 1, max: 4 }))
        .map(([element, length]) => arrayOf(element, length)),
      tie('schema'),
      fc
        .array(tie('field'), { minLength: 1, maxLength: 3 })
        .map((members) => union(Object.fromEntries(members.map((member, i) => [`m${i}`, member])))),
    ),
  }),
);

test('the fields of any schema have the offsets of its layout', () => {
  fc.assert(
    fc.property(schemas, (schema) => {
      const { btf, value } = typesOf(hash('any', { key: schema, value: schema, maxEntries: 1 }));
      const compare = (layout: ReturnType<typeof layoutOf>, path: string, offset: number): void => {
        if (hasFields(layout))
          for (const field of layout.fields)
            compare(field.layout, path === '' ? field.name : `${path}.${field.name}`, offset + field.offset);
        else if (layout.kind === 'array')
          compare(
            layout.element,
            `${path}[${layout.length - 1}]`,
            offset + layout.size - layout.element.size,
          );
        if (path === '') return;
        const member = btf.member('any_value', path);
        assert.equal([member.offset, member.size, member.bitSize], [offset, layout.size, undefined], path);
        if (layout.kind === 'int') assert.is(member.signed, layout.signed, path);
      };
      compare(layoutOf(schema), '', 0);
      assert.is(btf.find('struct', 'any_value'), value);
    }),
    { numRuns: 200 },
  );
});

// --- programs ------------------------------------------------------------------------------------

const at = <I extends object>(line: number, instruction: I): I & { position: Position } => ({
  ...instruction,
  position: { stack: String(line) },
});
/** A source file in which line 7 has no text. */
const find = (position: Position | undefined): Location | undefined => {
  const line = Number(position?.stack);
  return (
    position && { file: 'tool.ts', line, column: 5000, text: line === 7 ? undefined : `  line(${line});` }
  );
};

/** Describes the debug info of a program as text. */
function describeProgram(items: readonly Item[], name = 'on_connect') {
  const { bytes, functions, lines } = programDebugInfo(name, assemble(items), find);
  const btf = Btf.parse(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const strings = Buffer.from(bytes.subarray(24 + view.getUint32(16, true)));
  const text = (offset: number) => strings.toString('utf8', offset, strings.indexOf(0, offset));
  const words = (records: Uint8Array, each: number) => {
    const all = [...new Uint32Array(records.buffer, records.byteOffset, records.length / 4)];
    return Array.from({ length: all.length / each }, (_, i) => all.slice(i * each, (i + 1) * each));
  };
  return {
    functions: words(functions, 2).map(([slot, id]) => {
      const func = btf.type(id ?? 0);
      return `${slot} ${func.kind === 'func' && func.name} ${func.kind === 'func' && func.linkage}`;
    }),
    lines: words(lines, 4).map(
      ([slot, file = 0, line = 0, where = 0]) =>
        `${slot} ${text(file)}:${where >>> 10}:${where & 1023} ${text(line)}`,
    ),
    btf,
  };
}

test('a line is recorded at its first slot', () => {
  const { functions, lines } = describeProgram([
    at(3, lddw(r1, 1n)),
    at(3, mov(r0, 0)),
    at(4, mov(r0, 1)),
    exit(),
  ]);
  assert.equal(functions, ['0 on_connect 0']);
  assert.equal(lines, ['0 tool.ts:3:1023 line(3);', '3 tool.ts:4:1023 line(4);']);
});

test('every subprogram has its name and a line at its start', () => {
  const { functions, lines, btf } = describeProgram([
    at(3, callSubprogram('on packet')),
    at(3, callSubprogram('last')),
    exit(),
    label('on packet'),
    mov(r0, 0),
    at(3, mov(r0, 1)),
    exit(),
    label('last'),
    at(7, mov(r0, 0)),
    exit(),
  ]);
  assert.equal(functions, ['0 on_connect 0', '3 on_packet 0', '6 last 0']);
  assert.equal(lines, ['0 tool.ts:3:1023 line(3);', '3 tool.ts:3:1023 line(3);', '6 tool.ts:7:1023 ']);
  assert.is(btf.prototype('on_connect').returns?.kind, 'int');
  assert.is(btf.prototype('on_packet').parameters.length, 0);
});

test('a function with stack arguments has parameters up to the last one; others have none', () => {
  const { btf } = describeProgram([
    ...[callSubprogram('eight'), callSubprogram('none'), exit()],
    ...[label('eight'), loadArgument(r0, 8), loadArgument(r0, 6), exit()],
    ...[label('none'), storeArgument(8, 1), callSubprogram('last'), exit()],
    ...[label('last'), loadArgument(r0, 6), exit()],
  ]);
  const counts = ['on_connect', 'eight', 'none', 'last'].map((name) => btf.prototype(name).parameters.length);
  assert.equal(counts, [0, 8, 0, 6]);
  assert.equal(btf.prototype('last').parameters.map(({ name, kind, size }) => [name, kind, size])[5], [
    'arg6',
    'int',
    8,
  ]);
});

test('a subprogram without a source line starts with an empty line', () => {
  const { lines } = describeProgram([at(3, callSubprogram('f')), exit(), label('f'), mov(r0, 0), exit()]);
  assert.equal(lines, ['0 tool.ts:3:1023 line(3);', '2 :0:0 ']);
});

test('without positions there are no lines', () => {
  assert.equal(describeProgram([mov(r0, 0), exit()]).lines, []);
});

test('any name becomes a valid C identifier', () => {
  assert.equal(describeProgram([mov(r0, 0), exit()], '4.way-in').functions, ['0 _4_way_in 0']);
});

test('a program without stack arguments has no type for them', () => {
  assert.is(describeProgram([mov(r0, 0), exit()]).btf.find('int', 'u64'), undefined);
  assert.is.not(describeProgram([loadArgument(r0, 6), exit()]).btf.find('int', 'u64'), undefined);
});

test('too large lines and columns are clamped', () => {
  const items = [at(2 ** 22, mov(r0, 0)), at(2 ** 22 - 1, mov(r0, 0)), exit()];
  const { lines } = describeProgram(items);
  assert.equal(
    lines.map((line) => line.split(' ')[1]),
    ['tool.ts:4194303:1023', 'tool.ts:4194303:1023'],
  );
});

test.run();
