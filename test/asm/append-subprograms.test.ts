/** Subprograms given as instruction lists, and how they are appended to a program. */
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { AssembleError, assemble } from '../../src/asm/assemble.ts';
import { programDebugInfo } from '../../src/asm/btf/debug-info.ts';
import { Btf } from '../../src/asm/btf.ts';
import {
  add,
  call,
  callSubprogram,
  exit,
  ja,
  jeq,
  label,
  lddw,
  loadFunction,
  loadMap,
  mov,
} from '../../src/asm/constructors.ts';
import { decode } from '../../src/asm/decode.ts';
import { disassemble } from '../../src/asm/disassemble.ts';
import { mapLookupElem } from '../../src/asm/helpers.ts';
import type { Item, SubprogramCode } from '../../src/asm/instruction.ts';
import { u32, u64 } from '../../src/asm/layout.ts';
import { hash } from '../../src/asm/map.ts';
import { capture, locate } from '../../src/asm/position.ts';
import { r0, r1, r2, r6 } from '../../src/asm/registers.ts';
import { suite } from '../harness.ts';
import { thrown } from '../thrown.ts';
import { textsOf } from './texts.ts';

const test = suite('asm/append-subprograms', { seconds: 60 });

const twice: SubprogramCode = { name: 'twice', instructions: [mov(r0, r1), add(r0, r0), exit()] };
const four: SubprogramCode = {
  name: 'four',
  instructions: [callSubprogram(twice), mov(r1, r0), callSubprogram(twice), exit()],
};

test('a subprogram is appended once, however often it is referenced', () => {
  assert.equal(textsOf([mov(r1, 3), callSubprogram(four), mov(r1, r0), callSubprogram(twice), exit()]), [
    'r1 = 3',
    'call four',
    'r1 = r0',
    'call twice',
    'exit',
    'four:',
    'call twice',
    'r1 = r0',
    'call twice',
    'exit',
    'twice:',
    'r0 = r1',
    'r0 += r0',
    'exit',
  ]);
});

test('loading its address references it, too', () => {
  const { instructions } = assemble([loadFunction(r2, twice), mov(r0, 0), exit()]);
  assert.is(disassemble(loadFunction(r2, twice)), '(18) r2 = subprog[twice]');
  assert.is(instructions[0]?.target, 'twice');
  assert.is(instructions[0]?.instruction.imm, 3);
});

test('a call shows the name before assembly and the distance after it', () => {
  assert.is(disassemble(callSubprogram(twice)), '(85) call twice');
  const [first] = assemble([callSubprogram(twice), exit()]).instructions;
  assert.is(first && disassemble(first.instruction), '(85) call pc+1');
});

test('labels are local to each function', () => {
  const sub: SubprogramCode = {
    name: 'sub',
    instructions: [mov(r0, 0), jeq(r1, 0, 'out'), mov(r0, 1), label('out'), exit()],
  };
  assert.equal(textsOf([callSubprogram(sub), ja('out'), label('out'), exit()]), [
    'call sub',
    'goto out',
    'out:',
    'exit',
    'sub:',
    'r0 = 0',
    'if r1 == 0x0 goto sub.out',
    'r0 = 1',
    'sub.out:',
    'exit',
  ]);
});

test('a duplicate name, also of a label, gets a number', () => {
  const other = { ...twice };
  const texts = textsOf([
    callSubprogram(twice),
    callSubprogram(other),
    ja('twice.end'),
    label('twice.end'),
    exit(),
  ]);
  assert.equal(
    texts.filter((text) => /^\w*:/.test(text)),
    ['twice_2:', 'twice_3:'],
  );
});

test('maps of a subprogram become references of the program', () => {
  const table = hash('table', { key: u32, value: u64, maxEntries: 1 });
  const find: SubprogramCode = {
    name: 'find',
    instructions: [mov(r2, r1), loadMap(r1, table), call(mapLookupElem), exit()],
  };
  assert.equal(assemble([callSubprogram(find), mov(r0, 0), exit()]).references, [{ slot: 4, map: table }]);
});

test('debug info names each subprogram', () => {
  const { bytes, functions } = programDebugInfo(
    'main',
    assemble([callSubprogram(four), callSubprogram({ ...twice }), exit()]),
    locate,
  );
  const types = Btf.parse(bytes);
  const names = ['main', 'four', 'twice', 'twice_2'];
  assert.equal(
    names.filter((name) => types.find('func', name) === undefined),
    [],
  );
  const words = new Uint32Array(functions.buffer);
  assert.equal([...words.filter((_, index) => index % 2 === 0)], [0, 3, 7, 10]);
});

test('a list without subprograms is returned unchanged', () => {
  assert.is(assemble([mov(r0, 0), exit()]).instructions.length, 2);
});

for (const [what, items, message] of [
  [
    'no instructions',
    [callSubprogram({ name: 'empty', instructions: [] }), exit()],
    "subprogram 'empty' has no instructions",
  ],
  [
    'an invalid name',
    [callSubprogram({ ...twice, name: 'a b' }), exit()],
    "subprogram name 'a b' is not a C identifier",
  ],
  [
    'a path past its end',
    [callSubprogram({ name: 'open', instructions: [mov(r0, 0)] }), exit()],
    'slot 2: a subprogram ends with mov; its last instruction must be an exit or a jump',
  ],
  [
    'a label of its caller',
    [callSubprogram({ name: 'out', instructions: [ja('there')] }), label('there'), exit()],
    /^slot 2: undefined label 'out.there'/,
  ],
  [
    'a call of itself by label',
    [callSubprogram('f'), exit(), label('f'), callSubprogram('f'), exit()],
    'slot 2: recursive call: f -> f',
  ],
  [
    'a call of the program',
    [mov(r0, 0), jeq(r0, 0, 1), callSubprogram(-3), exit()],
    'slot 2: recursive call: the program -> the program',
  ],
] as const)
  test(`refused: ${what}`, () => {
    const position = capture(capture);
    assert.throws(
      () => assemble(items.map((item) => ('label' in item ? item : { ...item, position }))),
      (error: unknown) =>
        error instanceof AssembleError &&
        (typeof message === 'string'
          ? error.message.startsWith(`${message} (`)
          : message.test(error.message)),
    );
  });

test('a subprogram that references itself is refused at the line of the call', () => {
  const instructions: Item[] = [];
  const self: SubprogramCode = { name: 'self', instructions };
  const position = capture(capture);
  instructions.push({ ...callSubprogram(self), position }, exit());
  const error = thrown(() => assemble([callSubprogram(self), exit()]));
  assert.instance(error, AssembleError);
  assert.is((error as AssembleError).reason, 'recursive call: self -> self');
  assert.is((error as AssembleError).position, position);
});

test('at most eight frames are allowed', () => {
  const chain = (length: number): SubprogramCode => ({
    name: `level${length}`,
    instructions: length > 1 ? [callSubprogram(chain(length - 1)), exit()] : [mov(r0, 0), exit()],
  });
  assemble([callSubprogram(chain(7)), exit()]);
  assert.throws(
    () => assemble([callSubprogram(chain(8)), exit()]),
    /^slot 14: too many nested calls: the program -> level8 -> .* -> level1 has 9 frames; the kernel allows 8/,
  );
});

test('many paths through few frames are checked quickly', () => {
  let next: SubprogramCode = twice;
  for (let level = 0; level < 6; level++)
    next = {
      name: `level${level}`,
      instructions: [...Array.from({ length: 200 }, () => callSubprogram(next)), exit()],
    };
  assert.is(assemble([callSubprogram(next), exit()]).instructions.length, 2 + 6 * 201 + 3);
});

// --- random programs -------------------------------------------------------------------------------

/** Filler for a function: an instruction, or a jump over one with the same label in every function. */
const filler = fc.constantFrom<readonly Item[]>(
  [mov(r6, 1)],
  [lddw(r6, 2n ** 40n)],
  [jeq(r6, 0, 'over'), lddw(r6, 1n), label('over')],
);
/** A function calls only functions after it, so the number of frames is limited. */
const body = fc.record({ filler, before: fc.array(fc.nat(20), { maxLength: 3 }), last: fc.boolean() });

test('in any program each subprogram is present once and every call reaches its function', () => {
  fc.assert(
    fc.property(fc.array(body, { minLength: 1, maxLength: 7 }), (bodies) => {
      const made: SubprogramCode[] = [];
      const itemsOf = (index: number): Item[] => {
        const { filler: others, before, last } = bodies[index] as (typeof bodies)[number];
        const later = made.length;
        const calls = before.flatMap((number) =>
          later === 0 ? [] : [made[number % later] as SubprogramCode],
        );
        const called = calls.map((each) => callSubprogram(each));
        return [...(last ? called : []), ...others, ...(last ? [] : called), mov(r0, index), exit()];
      };
      for (let index = bodies.length - 1; index > 0; index--)
        made.push({ name: index % 2 ? 'f' : `f${index}`, instructions: itemsOf(index) });
      const main = itemsOf(0);
      const { bytes, instructions } = assemble(main);
      assert.is(decode(bytes).length, instructions.length);

      const reached = new Set<SubprogramCode>();
      const reach = (items: readonly Item[]): void => {
        for (const item of items) {
          if ('label' in item || item.reference?.kind !== 'subprogram') continue;
          const { subprogram } = item.reference;
          if (reached.has(subprogram)) continue;
          reached.add(subprogram);
          reach(subprogram.instructions);
        }
      };
      reach(main);
      const starts = new Map(instructions.flatMap(({ slot, labels }) => labels.map((name) => [name, slot])));
      const functions = instructions.filter(({ labels }) => labels.some((name) => !name.includes('over')));
      assert.is(functions.length, reached.size);
      for (const { slot, instruction, target } of instructions) {
        if (instruction.opcode !== 0x85) continue;
        assert.is(slot + 1 + instruction.imm, starts.get(target as string));
        assert.ok(functions.some((start) => start.slot === slot + 1 + instruction.imm));
      }
      // Each function returns its own number, which identifies it.
      const numbers = [...reached].map(({ instructions: items }) => (items.at(-2) as { imm: number }).imm);
      const returned = instructions.flatMap(({ instruction: { opcode, dst, imm } }) =>
        opcode === 0xb7 && dst === 0 ? [imm] : [],
      );
      assert.equal(returned.slice(1).sort(), numbers.sort());
    }),
    { numRuns: 500 },
  );
});

test.run();
