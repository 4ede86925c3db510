import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import type { Builder } from '../../src/asm/builder/builder.ts';
import { ldx, mov } from '../../src/asm/constructors.ts';
import { messageWithoutPosition, withSourcePosition } from '../../src/asm/error-position.ts';
import { getCurrentComm, ktimeGetNs } from '../../src/asm/helpers.ts';
import { kprobe, tpBtf } from '../../src/asm/hooks.ts';
import { type Item, isLabel } from '../../src/asm/instruction.ts';
import { chars, encodeValue, struct, u8, u32, u64 } from '../../src/asm/layout.ts';
import { hash } from '../../src/asm/map.ts';
import { type LineTable, locate, type Position, positionAt } from '../../src/asm/position.ts';
import { r0, r1 } from '../../src/asm/registers.ts';
import { target } from '../../src/asm/target.ts';
import { suite } from '../harness.ts';

const test = suite('asm/position');
const x64 = target('x64');

/** The source lines of a program's instructions. */
function linesOf(instructions: readonly Item[]): (string | undefined)[] {
  return instructions.map((item) => {
    const place = isLabel(item) ? undefined : locate(item.position);
    return place && `${place.file.replace(/^.*\//, '').replace(/\.[jt]s$/, '')}:${place.line}`;
  });
}

/** The line after this call, in the format of `linesOf`. */
function next(): string {
  const line = Number(/position\.test\.[jt]s:(\d+)/.exec(new Error().stack?.split('\n')[2] ?? '')?.[1]);
  return `position.test:${line + 1}`;
}

// --- frames without a file -----------------------------------------------------------------------

for (const [name, stack, file, line] of [
  ['node -e', 'Error\n    at [eval]:3:5\n    at node:internal/process/execution:100:1', '[eval]', 3],
  ['the REPL', 'Error\n    at REPL7:1:2', 'REPL7', 1],
  ['a vm script', 'Error\n    at run (evalmachine.<anonymous>:2:1)', 'evalmachine.<anonymous>', 2],
] as const)
  test(`code of ${name} has a name and a line`, () => {
    const found = locate({ stack });
    assert.equal([found?.file, found?.line], [file, line]);
  });

test('frames of Node itself are skipped', () =>
  assert.is(locate({ stack: 'Error\n    at async node:internal/main/eval:5:1' }), undefined));

test('a message without a known line ends without one', () =>
  assert.is(withSourcePosition(new Error('no room'), { stack: 'Error' }).message, 'no room'));

// --- choice of the line --------------------------------------------------------------------------

const folder = mkdtempSync(join(tmpdir(), 'tsbpf-position-'));
test.after(() => rmSync(folder, { recursive: true }));

/** A helper in another package, which calls builder statements and a function of the tool. */
const LIBRARY = `
  export function stamp(b, body) {
    const inner = () => { b.value(1); };
    inner();
    body();
    b.value(2);
  }`;

/** Imports the helper from a package of this name, or from a file beside the tool. */
async function library(place: string): Promise<(b: Builder, body: () => void) => void> {
  const file = join(folder, place);
  const { mkdirSync } = await import('node:fs');
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, LIBRARY);
  return (await import(pathToFileURL(file).href)).stamp;
}

test("a statement in a library helper gets the tool's line", async () => {
  const stamp = await library('node_modules/stamps/index.mjs');
  let inside = '';
  let outside = '';
  const { instructions } = kprobe('f', x64, (b) => {
    outside = next();
    stamp(b, () => {
      inside = next();
      b.value(3);
    });
  });
  assert.equal(linesOf(instructions).slice(0, 3), [outside, inside, outside]);
});

test('jumps of a branch get the line of its statement', () => {
  const statements: string[] = [];
  const { instructions } = kprobe('f', x64, (b) => {
    statements.push(next());
    b.if(
      b.arg(0).eq(1),
      () => b.value(2),
      () => b.value(3),
    );
    statements.push(next());
    b.if(
      b.arg(0).eq(1).or(b.arg(1).eq(2)),
      () => b.value(2),
      () => b.value(3),
    );
    statements.push(next());
    b.switch(b.arg(0), [
      [1, () => b.value(2)],
      [2, () => b.value(3)],
    ]);
    b.exit();
  });
  const jumps = instructions.filter((item) => !isLabel(item) && item.reference?.kind === 'label');
  assert.ok(jumps.length >= 8, `${jumps.length} jumps`);
  assert.equal([...new Set(linesOf(jumps))], statements);
});

test("a statement in the tool's own helper gets the helper's line", async () => {
  const stamp = await library('helpers.mjs');
  const { instructions } = kprobe('f', x64, (b) => stamp(b, () => {}));
  assert.equal(linesOf(instructions).slice(0, 2), ['helpers.mjs:3', 'helpers.mjs:6']);
});

test('a tool that is itself a package gets its own lines', () => {
  const stack = [
    'Error',
    '    at f (/usr/lib/node_modules/tool/index.js:3:4)',
    '    at node:internal/modules:1:2',
  ];
  assert.equal(locate({ stack: stack.join('\n') }), {
    file: '/usr/lib/node_modules/tool/index.js',
    line: 3,
    column: 4,
  });
});

test('in a bundle the innermost frame in the line table counts', () => {
  const table: LineTable = {
    sources: [{ file: 'src/programs/tool.ts', lines: ['first', 'second', 'third'] }],
    segments: [
      [1, 1, -1, 0, 0],
      [1, 50, 0, 2, 3],
      [1, 80, -1, 0, 0],
      [1, 120, 0, 3, 1],
      [1, 130, -1, 0, 0],
    ],
  };
  const at = (...columns: number[]): Position => ({
    stack: ['Error', ...columns.map((column) => `    at name (/opt/dist/command.cjs:1:${column})`)].join(
      '\n',
    ),
  });
  assert.equal(locate(at(90, 10, 60, 125), table), {
    file: 'src/programs/tool.ts',
    line: 2,
    column: 3,
    text: 'second',
  });
  assert.is(locate(at(125), table)?.line, 3);
  assert.is(locate(at(10, 90), table), undefined);
  assert.is(locate(undefined, table), undefined);
});

test('modules are named by URL, scripts and texts by path', () => {
  for (const [stack, file] of [
    ['file:///a%20b/100%25.mjs', '/a b/100%.mjs'],
    ['/a%20b/100%.cjs', '/a%20b/100%.cjs'],
    ['file:///a%/b.mjs', '/a%/b.mjs'],
  ] as const)
    assert.equal(locate({ stack: `    at ${stack}:3:4` }), { file, line: 3, column: 4 });
  for (const file of ['/100%.bpf', '/a (1).bpf', '/a\nb.bpf', '/a%20b.bpf'])
    assert.equal(locate(positionAt(file, 3, 4)), { file, line: 3, column: 4 });
});

test('lines of a text are kept in a bundle', () => {
  const table: LineTable = { sources: [{ file: 'tool.ts', lines: ['first'] }], segments: [[3, 1, 0, 1, 1]] };
  assert.equal(locate(positionAt('/a.bpf', 3, 4), table), { file: '/a.bpf', line: 3, column: 4 });
});

// --- errors name the line ------------------------------------------------------------------------

const attempts = hash('attempts', { key: u64, value: struct({ ns: u64, comm: chars(16) }), maxEntries: 16 });

/** Errors of all kinds, each on the line after `next()`. */
const MISTAKES: Readonly<Record<string, (note: (line: string) => void) => unknown>> = {
  'an operand': (note) => {
    note(next());
    return mov(r0, 2 ** 40);
  },
  'a register': (note) => {
    note(next());
    return ldx(u64, r0, { register: 11 }, 0);
  },
  'a schema': (note) => {
    note(next());
    return struct({ 'no name': u32 });
  },
  'the length of a text': (note) => {
    note(next());
    return chars(0);
  },
  'the name of a map': (note) => {
    note(next());
    return hash('a name that is too long', { key: u32, value: u32, maxEntries: 1 });
  },
  'a value of a map': (note) => {
    note(next());
    return encodeValue(u8, 256);
  },
  'a list of instructions': (note) => {
    note(next());
    return assemble([mov(r0, 0)]);
  },
  'a target without types': (note) => {
    note(next());
    return tpBtf('sched_switch', x64, () => {});
  },
  'an argument': (note) =>
    kprobe('f', x64, (b) => {
      note(next());
      b.arg(9);
    }),
  'a field of a record': (note) =>
    kprobe('f', x64, (b) => {
      note(next());
      b.field('newstate');
    }),
  'a field of a structure': (note) =>
    kprobe('f', x64, (b) => {
      const sk = b.kernel('sock', b.arg(0));
      note(next());
      sk.fields({ state: 'no_such' });
    }),
  'an expired value': (note) =>
    kprobe('f', x64, (b) => {
      const now = b.call(ktimeGetNs);
      b.call(ktimeGetNs);
      note(next());
      b.if(now.eq(1), () => b.exit());
    }),
  'uninitialized bytes': (note) =>
    kprobe('f', x64, (b) => {
      b.keep(b.context);
      const attempt = b.stack(attempts.value);
      b.if(b.arg(0).eq(1), () => {
        b.call(getCurrentComm, attempt.comm);
        note(next());
        b.update(attempts, 1, attempt);
      });
    }),
  'a raw instruction': (note) =>
    kprobe('f', x64, (b) => {
      note(next());
      b.emit({ ...mov(r1, 0), opcode: 0x05 });
    }),
};

for (const [name, mistake] of Object.entries(MISTAKES))
  test(`an error in ${name} ends with the caller\u2019s line, also in its stack`, () => {
    let line = '';
    assert.throws(
      () => mistake((noted) => (line = noted)),
      (error: unknown) => {
        const { message, stack = '' } = error as Error;
        assert.match(message, / \(\/[^()]*position\.test\.[jt]s:\d+\)$/);
        assert.match(message.replaceAll(/\.[jt]s:/g, ':'), new RegExp(`${line}\\)$`));
        assert.is(stack.includes(message), true);
        assert.is(message.startsWith(`${messageWithoutPosition(error as Error)} (`), true);
        return true;
      },
    );
  });

test("an error thrown by the user's code is not changed", () => {
  for (const mistake of [
    () =>
      kprobe('f', x64, () => {
        throw new TypeError('mine');
      }),
    () =>
      kprobe('f', x64, (b) =>
        b.if(b.arg(0).eq(1), () => {
          throw new TypeError('mine');
        }),
      ),
  ])
    assert.throws(mistake, (error: unknown) => error instanceof TypeError && error.message === 'mine');
});

test('an error that passes several statements has the innermost line, once', () => {
  let line = '';
  assert.throws(
    () =>
      kprobe('f', x64, (b) =>
        b.if(b.arg(0).eq(1), () =>
          b.block(() => {
            line = next();
            b.arg(9);
          }),
        ),
      ),
    (error: unknown) => {
      const places = [...(error as Error).message.matchAll(/position\.test\.[jt]s:\d+/g)];
      return places.length === 1 && places[0]?.[0].replace(/\.[jt]s:/, ':') === line;
    },
  );
});

test("frames of the library's folder are distinguished from the tool's", () => {
  const { stack } = new Error();
  assert.is(
    locate({ stack })?.file,
    fileURLToPath(new URL(import.meta.url))
      .replace(/\/build\//, '/')
      .replace(/\.js$/, '.ts'),
  );
});

test.run();
