import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import {
  callSubprogram,
  exit,
  gotol,
  jeq,
  label,
  lddw,
  loadMap,
  loadMapValue,
  mov,
} from '../../src/asm/constructors.ts';
import { disassemble, instructionText } from '../../src/asm/disassemble.ts';
import { perfEventArray } from '../../src/asm/events.ts';
import type { Instruction, Item } from '../../src/asm/instruction.ts';
import { allForms } from '../../src/asm/isa.ts';
import { isJumpTable } from '../../src/asm/jump-table.ts';
import { bytes, layoutOf, u32, u64 } from '../../src/asm/layout.ts';
import { cgrpStorage, inodeStorage, skStorage, taskStorage } from '../../src/asm/local-storage.ts';
import { hash, type MapSpec, MapType, type ProgramArraySpec } from '../../src/asm/map.ts';
import { hashOfMaps, isMapOfMaps } from '../../src/asm/map-of-maps.ts';
import { locate } from '../../src/asm/position.ts';
import { bloomFilter, queue, stack } from '../../src/asm/queue.ts';
import { r0, r1 } from '../../src/asm/registers.ts';
import { stackTrace } from '../../src/asm/stack-trace.ts';
import { piecesOf } from '../../src/asm/text/grammar.ts';
import { mapLine } from '../../src/asm/text/map-line.ts';
import { parseProgram, TextError } from '../../src/asm/text/parse.ts';
import { suite } from '../harness.ts';
import { anyInstruction } from './arbitrary.ts';
import { construct, MAP, PSEUDO, SAMPLES } from './fixtures/instructions.ts';

const test = suite('asm/parse', { seconds: 60 });

function parse(text: string): Item[] {
  return parseProgram(text, 'text', [MAP]).items;
}

test('every sample parses from its own text, with and without the opcode', () => {
  for (const { call } of [...SAMPLES, ...PSEUDO]) {
    const instruction = construct(call);
    assert.equal(parse(disassemble(instruction)), [instruction], disassemble(instruction));
    assert.equal(parse(instructionText(instruction)), [instruction], instructionText(instruction));
  }
});

test("every sample parses from the kernel's text", () => {
  for (const { call, kernel } of SAMPLES)
    if (kernel !== undefined) assert.equal(parse(kernel), [construct(call)], kernel);
});

test('instructions that the kernel adds to loaded programs parse, too', () => {
  for (const form of allForms().filter(({ onlyIn }) => onlyIn === 'dumps')) {
    const number = (field: number | string): number => (typeof field === 'number' ? field : 7);
    const { opcode, dst, src, off, imm } = form;
    const made = { opcode, dst: number(dst), src: number(src), off: number(off), imm: number(imm) };
    assert.equal(parse(disassemble(made)), [made]);
  }
});

test('lines may end in CR LF', () => {
  const text = [
    'map counts: hash, key 4 bytes, value 8 bytes, 10 entries',
    '',
    '; a comment',
    '   0: 18 11 00 00 00 00 00 00  (18) r1 = map[counts]',
    '      00 00 00 00 00 00 00 00',
    'if r1 == 0x0 goto end ; another',
    'end:',
    'r0 = 0',
    'exit',
  ];
  const [unix, windows] = ['\n', '\r\n'].map((end) => parseProgram(text.map((line) => line + end).join('')));
  assert.equal(windows, unix);
  assert.is(unix?.items.length, 5);
});

test('printed instructions parse back', () => {
  fc.assert(
    fc.property(fc.array(anyInstruction, { maxLength: 10 }), (instructions) => {
      assert.equal(parse(instructions.map(disassemble).join('\n')), instructions);
      assert.equal(parse(instructions.map(instructionText).join('\n')), instructions);
    }),
    { numRuns: 2000 },
  );
});

test('any text parses or is refused with a position', () => {
  const words = allForms().flatMap(({ text }) => piecesOf(text).map(({ name }) => name.replaceAll("'", '')));
  const line = fc
    .array(
      fc.oneof(
        fc.constantFrom(...words, 'r1', 'w2', '7', '-8', '0xff', 'pc+1', '(07)', '12:', '<', ';'),
        fc.string(),
      ),
      {
        maxLength: 12,
      },
    )
    .map((parts) => parts.join(' '));
  const changed = fc
    .tuple(anyInstruction, fc.nat(), fc.string({ maxLength: 3 }))
    .map(([instruction, at, text]) => {
      const whole = disassemble(instruction);
      return whole.slice(0, at % whole.length) + text + whole.slice((at % whole.length) + 1);
    });
  fc.assert(
    fc.property(fc.array(fc.oneof(line, changed), { maxLength: 4 }), (lines) => {
      const text = lines.join('\n');
      try {
        parse(text);
      } catch (error) {
        assert.instance(error, TextError);
        const { line, column } = error as TextError;
        const shown = text.split(/\r?\n/)[line - 1];
        assert.ok(shown !== undefined && column >= 1 && column <= shown.length + 1, `${line}:${column}`);
      }
    }),
    { numRuns: 5000 },
  );
});

test('labels, empty lines and three kinds of comments parse', () => {
  const text = `
# a program
start:            ; the beginning
  r0 = 0          // nothing
  if r0 == 0x0 goto out ; leave
  gotol start

out:
  exit`;
  const jump = jeq(r0, 0, 'out');
  assert.equal(parse(text), [label('start'), mov(r0, 0), jump, gotol('start'), label('out'), exit()]);
});

test('a dump parses: slots, bytes, headings, source lines and annotations', () => {
  const text = `int count(void * ctx):
; int count(void *ctx) [file:count.c line_num:3 line_col:0]
   0: (18) r1 = map[attempts]
   2: 07 01 00 00 05 00 00 00  (07) r1 += 5
    3: 15 00 01 00 00 00 00 00  (15) if r0 == 0x0 goto pc+1 <out>
    4: 18 00 00 00 05 00 00 00  (18) r0 = 0x5
    5: 00 00 00 00 00 00 00 00
   6: (95) exit`;
  assert.equal(
    parse(text).map((item) => disassemble(item as Instruction)),
    ['(18) r1 = map[attempts]', '(07) r1 += 5', '(15) if r0 == 0x0 goto pc+1', '(18) r0 = 0x5', '(95) exit'],
  );
});

test('a dump of a loaded program parses: call addresses, names and bytes', () => {
  const text = `   0: (85) call bpf_ktime_get_ns#-78432
       85 00 00 00 a0 cd fe ff
   1: (85) call bpf_get_current_pid_tgid#193456
   2: (85) call pc+2#bpf_prog_bdb4c6d1_sub
   3: (85) call pc+1#0xffffffffc0a81234
   4: (18) r0 = 0x100000000
       18 00 00 00 00 00 00 00 00 00 00 00 01 00 00 00
   6: (95) exit`;
  assert.equal(
    parse(text).map((item) => instructionText(item as Instruction)),
    [
      'call bpf_ktime_get_ns#5',
      'call bpf_get_current_pid_tgid#14',
      'call pc+2',
      'call pc+1',
      'r0 = 0x100000000',
      'exit',
    ],
  );
});

test('a hexadecimal constant is an lddw, as in the kernel, unless the opcode differs', () => {
  assert.equal(parse('r1 = 0x10'), [lddw(r1, 16)]);
  assert.equal(parse('(b7) r1 = 0x10'), [mov(r1, 16)]);
  assert.equal(parse('r1 = 16'), [mov(r1, 16)]);
});

test('offsets and distances may have spaces, hexadecimal digits, and no pc', () => {
  assert.equal(parse('r1 = *( u64 * ) (r1 + 8)'), parse('r1 = *(u64 *)(r1 +8)'));
  assert.equal(parse('goto +3'), parse('goto pc+3'));
  assert.equal(parse('r1 += 0x10'), parse('r1 += 16'));
  assert.equal(parse('if r1 == 0xffffffff goto +1'), parse('if r1 == -1 goto +1'));
});

test('helpers are parsed by name, and their numbers are checked', () => {
  const [byName] = parse('call bpf_map_lookup_elem');
  assert.equal(byName, construct('call 1'));
  assert.equal(parse('call unknown#4000'), [construct('call 4000')]);
  assert.equal(parse('call count'), [callSubprogram('count')]);
});

test('maps are declared in the format of the listing', () => {
  const { items, maps } = parseProgram(
    'map attempts: hash, key 8 bytes, value 16 bytes, 1024 entries\nmap events: perfEventArray, key 4 bytes, value 4 bytes, one ring a CPU\n' +
      'r1 = map[attempts]\nr1 = map[events][0]+8',
  );
  assert.equal(
    maps.map(({ name, type, key, value, maxEntries }) => [
      name,
      type,
      layoutOf(key).size,
      layoutOf(value).size,
      maxEntries,
    ]),
    [
      ['attempts', MapType.hash, 8, 16, 1024],
      ['events', MapType.perfEventArray, 4, 4, 0],
    ],
  );
  assert.equal(items, [loadMap(r1, maps[0] as never), loadMapValue(r1, maps[1] as never, 8)]);
});

test('a map of maps declares its inner map, and a jump table its labels', () => {
  const { maps } = parseProgram(
    `map shard: hash, key 4 bytes, value 8 bytes, 64 entries, flags 0x1
map shards: arrayOfMaps, key 4 bytes, value 4 bytes, 4 entries, inner map shard
map byName: hashOfMaps, key 16 bytes, value 4 bytes, 9 entries , inner  map  shard
map ways: instructionArray, key 4 bytes, value 16 bytes, 3 entries, labels a,b , a
map stages: programArray, key 4 bytes, value 4 bytes, 2 entries
map ring: ringBuffer , 65536  bytes
a:
  r0 = 0
b:
  exit`,
  );
  const [shard, shards, byName, ways, stages] = maps as [MapSpec, MapSpec, MapSpec, MapSpec, MapSpec];
  assert.is(shard.flags, 1);
  assert.ok(isMapOfMaps(shards) && shards.inner === shard);
  assert.ok(isMapOfMaps(byName) && byName.inner === shard && byName.type === MapType.hashOfMaps);
  assert.is(layoutOf(byName.key).size, 16);
  assert.ok(isJumpTable(ways));
  assert.equal(ways.labels, ['a', 'b', 'a']);
  assert.equal((stages as ProgramArraySpec).slots, []);
  assert.equal(
    maps.map((map) => mapLine(map)),
    [
      'map shard: hash, key 4 bytes, value 8 bytes, 64 entries, flags 0x1',
      'map shards: arrayOfMaps, key 4 bytes, value 4 bytes, 4 entries, inner map shard',
      'map byName: hashOfMaps, key 16 bytes, value 4 bytes, 9 entries, inner map shard',
      'map ways: instructionArray, key 4 bytes, value 16 bytes, 3 entries, labels a, b, a',
      'map stages: programArray, key 4 bytes, value 4 bytes, 2 entries',
      'map ring: ringBuffer, 65536 bytes',
    ],
  );
});

test('the printed line of any map parses back', () => {
  const size = fc.integer({ min: 1, max: 0xffff }).map((length) => bytes(length));
  const plain = fc.record(
    {
      kind: fc.constant('map' as const),
      name: fc.stringMatching(/^[A-Za-z0-9_.]{1,15}$/),
      type: fc.constantFrom(MapType.hash, MapType.lruHash, MapType.perCpuHash, MapType.lpmTrie),
      key: size,
      value: size,
      maxEntries: fc.integer({ min: 1, max: 0xffff_ffff }),
      flags: fc.nat(0xffff_ffff),
    },
    { noNullPrototype: true },
  );
  const holder = fc.tuple(plain, fc.integer({ min: 1, max: 1000 })).map(([inner, maxEntries]) => ({
    inner,
    map: hashOfMaps('outer', { key: bytes(3), inner, maxEntries }),
  }));
  fc.assert(
    fc.property(
      fc.oneof(
        plain.map((map) => ({ inner: undefined, map })),
        holder,
      ),
      ({ inner, map }) => {
        if (inner?.name === map.name) return;
        const lines = [...(inner ? [mapLine(inner)] : []), mapLine(map)].join('\n');
        assert.equal(parseProgram(lines).maps, inner ? [inner, map] : [map]);
      },
    ),
  );
});

test('maps without keys, of stacks and of storages are declared in the format of the listing', () => {
  const lines = [
    'map jobs: queue, key 0 bytes, value 24 bytes, 8 entries',
    'map recent: stack, key 0 bytes, value 4 bytes, 1 entry',
    'map seen: bloomFilter, key 0 bytes, value 8 bytes, 1000 entries',
    'map few: bloomFilter, key 0 bytes, value 8 bytes, 1000 entries, flags 0x40, 3 hash functions',
    'map stacks: stackTrace, key 4 bytes, value 1016 bytes, 64 entries',
    ...['taskStorage', 'skStorage', 'cgrpStorage', 'inodeStorage'].map(
      (kind, index) => `map store${index}: ${kind}, key 4 bytes, value 8 bytes, 0 entries, flags 0x1`,
    ),
  ];
  const value = u64;
  const made = [
    queue('jobs', { value: bytes(24), maxEntries: 8 }),
    stack('recent', { value: u32, maxEntries: 1 }),
    bloomFilter('seen', { value, maxEntries: 1000 }),
    bloomFilter('few', { value, maxEntries: 1000, flags: 0x40, hashes: 3 }),
    stackTrace('stacks', { maxEntries: 64 }),
    taskStorage('store0', { value }),
    skStorage('store1', { value }),
    cgrpStorage('store2', { value }),
    inodeStorage('store3', { value }),
  ];
  assert.equal(
    made.map((map) => mapLine(map)),
    lines,
  );
  const parsed = parseProgram(lines.join('\n')).maps;
  assert.equal(
    parsed.map((map) => mapLine(map)),
    lines,
  );
  const shape = ({ type, key, value, maxEntries, flags, extra }: MapSpec) => [
    type,
    layoutOf(key).size,
    layoutOf(value).size,
    maxEntries,
    flags,
    extra,
  ];
  assert.equal(parsed.map(shape), made.map(shape));
});

test('instructions of a file have its lines, also in assembler errors', () => {
  const { items } = parseProgram('r0 = 0\n  goto nowhere\nexit', '/tmp/a.bpf');
  assert.equal(locate((items[1] as Instruction).position), { file: '/tmp/a.bpf', line: 2, column: 3 });
  assert.throws(() => assemble(items), /^slot 1: undefined label 'nowhere' \(\/tmp\/a\.bpf:2\)$/);
});

const REFUSED: readonly [text: string, message: string][] = [
  ['r0 = 0\nr1 ~ 5', 'text:2:4: expected'],
  ['r11 = 5', "text:1:1: expected an instruction, found 'r11'"],
  ['exit now', "text:1:6: expected the end of the line, found 'now'"],
  ['goto', "text:1:5: expected a label or 'pc+N', found the end of the line"],
  ['r0 = 0\r\ngoto\r\n', "text:2:5: expected a label or 'pc+N', found the end of the line"],
  [
    'r1 = *(',
    "text:1:8: expected 'u8', 's8', 'u16', 's16', 'u32', 's32' or 'u64', found the end of the line",
  ],
  ['r1 = bswap24 r1', 'text:1:6: expected'],
  ['r1 = be16 r2', "text:1:11: expected r1, the same register again, found 'r2'"],
  ['r1 += 2147483648', 'text:1:7: add: immediate 2147483648 does not fit in 32 signed bits'],
  ['r1 = *(u64 *)(r1 +40000)', 'text:1:18: ldx: offset 40000 does not fit in 16 signed bits'],
  ['  r1 <<= 64', 'text:1:10: lsh: shift 64 is not between 0 and 63'],
  ['r10 += 1', 'text:1:1: add: destination r10 is the frame pointer, which is read-only'],
  ['goto pc+40000', 'text:1:6: ja: distance 40000 does not fit in 16 signed bits'],
  ['r1 = 0x10000000000000000', 'text:1:6: 0x10000000000000000 does not fit in 64 bits'],
  ['r1 = 99999999999999999999', 'text:1:6: 99999999999999999999 does not fit in 32 bits'],
  ['(07) r1 = 5', 'text:1:6: opcode (07) does not match the text'],
  ['call bpf_map_lookup', 'text:1:6: unknown helper bpf_map_lookup; nearest: bpf_map_lookup_elem'],
  ['call bpf_map_lookup_elem#2', 'text:1:6: helper 2 is bpf_map_update_elem, not bpf_map_lookup_elem'],
  [
    'program one: kprobe f, 1 instruction\nexit\nprogram two: kprobe f, 1 instruction\nexit',
    'text:3:1: a text has only one program; the first one begins at line 1',
  ],
  ['call unknown', 'text:1:6: unknown helper unknown'],
  ['call unknown#1', 'text:1:6: helper 1 is bpf_map_lookup_elem, not unknown'],
  ['call bpf_ktime_get_ns#4000', 'text:1:6: helper 4000 is unknown, not bpf_ktime_get_ns'],
  [
    'call __htab_map_lookup_elem#193456',
    "text:1:6: __htab_map_lookup_elem is a kernel function that replaces a helper: use the helper's name; nearest: bpf_map_lookup_elem",
  ],
  ['r1 = map[nothing]', "text:1:10: unknown map 'nothing'"],
  ['a:\nexit\na:', "text:3:1: label 'a' is already defined at line 1"],
  ['map a: hash, key 8', "text:1:1: expected 'map NAME: KIND, key N bytes, value N bytes, N entries'"],
  ['map a: hsh, key 8 bytes, value 8 bytes, 1 entry', "text:1:8: unknown map type 'hsh'; known are hash"],
  ['map attempts: hash, key 8 bytes, value 8 bytes, 1 entry', "text:1:5: map 'attempts' is already declared"],
  [
    'map a: ringBuffer, key 4 bytes, value 4 bytes, 1 entry',
    "text:1:8: a ring buffer has no keys and values: expected 'map NAME: ringBuffer, N bytes'",
  ],
  ['map a: queue, key 4 bytes, value 4 bytes, 1 entry', 'text:1:19: the key of queue has 0 bytes, not 4'],
  [
    'map a: hash, key 0 bytes, value 4 bytes, 1 entry',
    'text:1:18: the size of 0 bytes is not between 1 and 65535',
  ],
  [
    'map a: hash, key 4 bytes, value 4 bytes, 1 entry, 3 hash functions',
    'text:1:51: hash has no hash functions; only bloomFilter has',
  ],
  [
    'map a: bloomFilter, key 0 bytes, value 4 bytes, 1 entry, 16 hash functions',
    'text:1:58: a bloom filter has 1 to 15 hash functions, not 16',
  ],
  ['map a: ringBuffer, 4294967296 bytes', 'text:1:20: 4294967296 bytes is not between 1 and 2^32-1'],
  ['map a: array, key 8 bytes, value 8 bytes, 1 entry', 'text:1:19: the key of array has 4 bytes, not 8'],
  [
    'map a: hash, key 8 bytes, value 8 bytes, 1 entry, flag 1',
    "text:1:51: expected 'flags 0xN', 'N hash functions', 'inner map NAME' or 'labels NAME, NAME', in this order",
  ],
  [
    'map a: arrayOfMaps, key 4 bytes, value 4 bytes, 1 entry',
    "text:1:56: arrayOfMaps needs an inner map: add ', inner map NAME' with the name of a map declared before",
  ],
  [
    'map a: arrayOfMaps, key 4 bytes, value 8 bytes, 1 entry, inner map attempts',
    'text:1:40: the value of arrayOfMaps has 4 bytes, not 8',
  ],
  [
    'map a: hashOfMaps, key 4 bytes, value 4 bytes, 1 entry, inner map b',
    "text:1:67: unknown map 'b': declare it first with 'map b: hash, key 4 bytes, ...'",
  ],
  [
    'map a: hashOfMaps, key 4 bytes, value 4 bytes, 1 entry, inner map attempts\nmap b: arrayOfMaps, key 4 bytes, value 4 bytes, 1 entry, inner map a',
    "text:2:68: map 'a' is a map of maps itself; the kernel allows only one level",
  ],
  [
    'map a: hash, key 4 bytes, value 4 bytes, 1 entry, inner map attempts',
    'text:1:61: hash cannot have an inner map; only arrayOfMaps and hashOfMaps can',
  ],
  [
    'map a: instructionArray, key 4 bytes, value 16 bytes, 1 entry',
    "text:1:62: instructionArray needs labels: add ', labels NAME, NAME'",
  ],
  [
    'map a: instructionArray, key 4 bytes, value 16 bytes, 1 entry, labels x, y',
    'text:1:55: 1 entry and 2 labels: a jump table needs one label for each entry',
  ],
  [
    'map a: instructionArray, key 4 bytes, value 16 bytes, 2 entries, labels x, 7',
    "text:1:76: '7' is not a label",
  ],
  ['map a: hash, key 4 bytes, value 4 bytes, 1 entry, labels x', 'text:1:58: hash cannot have labels'],
  [
    'map a: instructionArray, key 4 bytes, value 16 bytes, 2 entries, labels large, smal\nsmall:\nexit\nlarge:\nexit',
    "text:1:80: undefined label 'smal'; nearest: small",
  ],
];

for (const [text, message] of REFUSED)
  test(`refused: ${text.replaceAll('\n', ' / ')}: ${message}`, () => {
    assert.throws(
      () => parse(text),
      (error: unknown) => {
        assert.instance(error, TextError);
        assert.ok((error as Error).message.startsWith(message), (error as Error).message);
        return true;
      },
    );
  });

test('a map line has the number of entries; perf event arrays have one ring per CPU', () => {
  const key = u32;
  const value = u64;
  assert.equal(
    [
      mapLine(perfEventArray('events', u32)),
      mapLine(hash('one', { key, value, maxEntries: 1 })),
      mapLine(hash('many', { key, value, maxEntries: 2, flags: 0x11 })),
    ],
    [
      'map events: perfEventArray, key 4 bytes, value 4 bytes, one ring a CPU',
      'map one: hash, key 4 bytes, value 8 bytes, 1 entry',
      'map many: hash, key 4 bytes, value 8 bytes, 2 entries, flags 0x11',
    ],
  );
});

test('keys and values have 1 to 65535 bytes', () => {
  const line = (bytes: number) => `map odd: hash, key 4 bytes, value ${bytes} bytes, 2 entries\n`;
  for (const bytes of [1, 65535]) parseProgram(`${line(bytes)}(95) exit\n`, 'text');
  for (const bytes of [0, 65536])
    assert.throws(
      () => parseProgram(`${line(bytes)}(95) exit\n`, 'text'),
      /bytes is not between 1 and 65535/,
    );
});

test.run();
