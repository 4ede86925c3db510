import * as assert from 'uvu/assert';
import { assemble } from '../../../src/asm/assemble.ts';
import { exit, label, mov } from '../../../src/asm/constructors.ts';
import { jumpTable, jumpThrough } from '../../../src/asm/jump-table.ts';
import type { ProgramSpec } from '../../../src/asm/program.ts';
import { r0, r1, r2 } from '../../../src/asm/registers.ts';
import { Errno } from '../../../src/loader/errno.ts';
import { UnsupportedError } from '../../../src/loader/errors.ts';
import { Kernel } from '../../../src/loader/kernel.ts';
import { loadProgram } from '../../../src/loader/load.ts';
import type { Program } from '../../../src/loader/program.ts';
import { suite } from '../../harness.ts';
import { FakeSyscalls } from '../fake.ts';

const test = suite('loader/load/jump-tables');

const Command = { create: 0, update: 2, load: 5, freeze: 22 };

/** A program that jumps through the same table twice. */
function load(fake: FakeSyscalls): Program {
  const table = jumpTable('table', ['one', 'two']);
  const instructions = [
    ...jumpThrough(table, r1, r2),
    label('one'),
    ...jumpThrough(table, r1, r2),
    label('two'),
    mov(r0, 2),
    exit(),
  ];
  const attachment = { kind: 'raw_tracepoint', tracepoint: 'sys_enter' } as const;
  const spec: ProgramSpec = { name: 'ways', attachment, instructions };
  return loadProgram(new Kernel(fake), spec, assemble(instructions), new Map());
}

test('a jump table is created, filled and frozen once, and kept by its program only', () => {
  const fake = new FakeSyscalls();
  const entries: string[] = [];
  let table = 0;
  fake.answers.set(Command.create, (attr) => {
    assert.equal(
      [0, 4, 8, 12, 16].map((offset) => attr.getUint32(offset, true)),
      [34, 4, 16, 2, 0],
    );
    table = fake.fd();
    return table;
  });
  fake.answers.set(Command.update, (attr) => {
    const hex = (offset: number) => Buffer.from(fake.at(attr.getBigUint64(offset, true))).toString('hex');
    entries.push(`${hex(8)} ${hex(16)}`);
    return 0;
  });
  fake.answers.set(Command.load, (attr) => {
    const program = new DataView(fake.at(attr.getBigUint64(8, true)).buffer);
    assert.equal(
      [1, 7].map((slot) => program.getInt32(slot * 8 + 4, true)),
      [table, table],
    );
    assert.is(fake.open.has(table), true);
    return undefined;
  });
  const program = load(fake);
  assert.equal(entries, [
    '00000000 06000000000000000000000000000000',
    '01000000 0c000000000000000000000000000000',
  ]);
  assert.equal(
    fake.calls.filter((call) => call.startsWith('bpf')),
    ['bpf 0', 'bpf 2', 'bpf 2', 'bpf 22', 'bpf 5'],
  );
  assert.equal([...fake.open], [program.fd]);
});

for (const [what, command] of [
  ['filled', Command.update],
  ['frozen', Command.freeze],
  ['given to a program', Command.load],
] as const)
  test(`a jump table that cannot be ${what} is closed`, () => {
    const fake = new FakeSyscalls();
    fake.answers.set(command, () => -Errno.EPERM);
    assert.throws(() => load(fake), /EPERM/);
    assert.is(fake.open.size, 0);
  });

test('a kernel with gotox but without jump tables throws UnsupportedError', () => {
  const fake = new FakeSyscalls();
  fake.answers.set(Command.create, () => -Errno.EINVAL);
  assert.throws(
    () => load(fake),
    (error: unknown) =>
      error instanceof UnsupportedError &&
      error.message === "this kernel has no jump tables (Linux 6.19 and later): 'table' is a jump table",
  );
});

test.run();
