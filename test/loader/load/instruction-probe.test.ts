import * as assert from 'uvu/assert';
import { assemble } from '../../../src/asm/assemble.ts';
import { exit, gotol, gotox, label, ldsx, mov, movsx } from '../../../src/asm/constructors.ts';
import type { Item } from '../../../src/asm/instruction.ts';
import { type Form, formOf } from '../../../src/asm/isa.ts';
import { s8 } from '../../../src/asm/layout.ts';
import type { ProgramSpec } from '../../../src/asm/program.ts';
import { r0, r1, r10 } from '../../../src/asm/registers.ts';
import { Errno } from '../../../src/loader/errno.ts';
import {
  KernelError,
  UnsupportedError,
  UnsupportedInstructionError,
  VerifierError,
} from '../../../src/loader/errors.ts';
import { Kernel } from '../../../src/loader/kernel.ts';
import { knowsForm } from '../../../src/loader/load/instruction-probe.ts';
import { loadProgram } from '../../../src/loader/load.ts';
import { suite } from '../../harness.ts';
import { FakeSyscalls } from '../fake.ts';

const test = suite('loader/load/instruction-probe');

const LOAD = 5;

/**
 * A kernel that refuses programs with one of these opcodes, with this message in the log, and all programs of
 * a type other than 1.
 */
function kernelWithout(opcodes: Readonly<Record<number, string>>): [Kernel, FakeSyscalls, number[]] {
  const fake = new FakeSyscalls();
  const probed: number[] = [];
  fake.answers.set(LOAD, (attr) => {
    const bytes = fake.at(attr.getBigUint64(8, true));
    const probe = attr.getUint32(0, true) === 1;
    const unknown = [...bytes.keys()].find((at) => at % 8 === 0 && (bytes[at] as number) in opcodes);
    const text = unknown === undefined ? 'R1 type=ctx expected=fp' : opcodes[bytes[unknown] as number];
    if (probe) probed.push(bytes[8 * 8] as number);
    if (attr.getUint32(24, true) > 0) fake.at(attr.getBigUint64(32, true)).set(Buffer.from(`${text}\n\0`));
    return probe && unknown === undefined ? undefined : -Errno.EINVAL;
  });
  return [new Kernel(fake), fake, probed];
}

function load(kernel: Kernel, instructions: readonly Item[]): void {
  const attachment = { kind: 'raw_tracepoint', tracepoint: 'sys_enter' } as const;
  const spec: ProgramSpec = { name: 'modern', attachment, instructions };
  loadProgram(kernel, spec, assemble(instructions), new Map());
}

for (const [what, instructions, opcodes, slot, since, text] of [
  [
    'an opcode',
    [mov(r0, 0), gotol('out'), label('out'), exit()],
    { 6: 'unknown opcode 06' },
    1,
    '6.6',
    'gotol pc+0',
  ],
  [
    'a field',
    [mov(r1, 1), movsx(s8, r0, r1), exit()],
    { 191: 'BPF_MOV uses reserved fields' },
    1,
    '6.6',
    'r0 = (s8)r1',
  ],
  [
    'the first of several',
    [ldsx(s8, r0, r10, -1), gotox(r0)],
    { 145: 'unknown opcode 91', 13: 'unknown opcode 0d' },
    0,
    '6.6',
    'r0 = *(s8 *)(r10 -1)',
  ],
] as const)
  test(`the error of ${what} that the kernel does not know has its slot and first release`, () => {
    const [kernel, fake] = kernelWithout(opcodes);
    assert.throws(
      () => load(kernel, instructions),
      (error: unknown) => {
        assert.instance(error, UnsupportedInstructionError);
        assert.instance(error, UnsupportedError);
        const { message, placed, program } = error as UnsupportedInstructionError;
        assert.is(placed.slot, slot);
        assert.is(program, 'modern');
        assert.is(
          message,
          `this kernel has no instruction '${text}' (Linux ${since} and later): program 'modern', slot ${slot}`,
        );
        return true;
      },
    );
    assert.is(fake.open.size, 0);
  });

test('the error omits the source line of an instruction whose line is unknown', () => {
  const [kernel] = kernelWithout({ 6: 'unknown opcode 06' });
  const position = { stack: 'Error\n    at <anonymous>' };
  assert.throws(
    () => load(kernel, [mov(r0, 0), { ...gotol('out'), position }, label('out'), exit()]),
    (error: unknown) =>
      error instanceof UnsupportedInstructionError && error.message.endsWith("program 'modern', slot 1"),
  );
});

test('a program that is refused for another reason keeps the reason of the verifier', () => {
  const [kernel] = kernelWithout({});
  assert.throws(
    () => load(kernel, [mov(r1, 1), movsx(s8, r0, r1), exit()]),
    (error: unknown) => error instanceof VerifierError && /R1 type=ctx/.test(error.message),
  );
});

test('instructions of Linux 3.18 are not probed, and others once', () => {
  const [kernel, , probed] = kernelWithout({});
  for (const instructions of [
    [mov(r0, 0), exit()],
    [mov(r1, 1), movsx(s8, r0, r1), movsx(s8, r0, r1), exit()],
    [mov(r1, 1), movsx(s8, r0, r1), exit()],
  ])
    assert.throws(() => load(kernel, instructions), /R1 type=ctx/);
  assert.equal(probed, [0xbf]);
});

/** A kernel that refuses all programs. Probes fail with the result of `errno`. */
function kernelThatAnswers(errno: () => number, log = ''): Kernel {
  const fake = new FakeSyscalls();
  fake.answers.set(LOAD, (attr) => {
    const probe = attr.getUint32(0, true) === 1;
    const text = probe ? log : 'R1 type=ctx expected=fp';
    if (attr.getUint32(24, true) > 0) fake.at(attr.getBigUint64(32, true)).set(Buffer.from(`${text}\n\0`));
    return probe ? -errno() : -Errno.EINVAL;
  });
  return new Kernel(fake);
}

const modern = formOf(movsx(s8, r0, r1)) as Form;

for (const errno of [Errno.EAGAIN, Errno.EINTR, Errno.ENOMEM, Errno.EMFILE, Errno.EPERM])
  test(`errno ${errno} of a probe is inconclusive`, () => {
    let answer: number = errno;
    const kernel = kernelThatAnswers(() => answer, errno === Errno.EPERM ? '' : 'unknown opcode bf');
    assert.throws(
      () => load(kernel, [mov(r1, 1), movsx(s8, r0, r1), exit()]),
      (error: unknown) => error instanceof VerifierError && /R1 type=ctx/.test(error.message),
    );
    assert.throws(
      () => knowsForm(kernel, modern),
      (error: unknown) => error instanceof KernelError && error.errno === errno,
    );
    answer = Errno.EINVAL;
    assert.is(knowsForm(kernel, modern), errno === Errno.EPERM, 'the probe is repeated');
  });

test('a probe interrupted by a signal is repeated', () => {
  let attempts = 0;
  const kernel = kernelThatAnswers(() => (++attempts < 5 ? Errno.EAGAIN : Errno.EINVAL), 'unknown opcode bf');
  assert.is(knowsForm(kernel, modern), false);
  assert.is(attempts, 5);
});

test.run();
