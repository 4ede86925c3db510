import * as assert from 'uvu/assert';
import { architectureOf, architectures, UnknownArchitectureError } from '../../src/asm/architecture.ts';
import { Btf, NoSuchFieldError } from '../../src/asm/btf.ts';
import { field, kernelTypes, NoBtfError, target } from '../../src/asm/target.ts';
import { suite } from '../harness.ts';
import { thrown } from '../thrown.ts';
import { BtfWriter } from './btf-writer.ts';

const test = suite('asm/target');

function types(): Btf {
  const w = new BtfWriter();
  w.struct('sock', 16, [{ name: 'sk_err', type: w.int('int', 4, 1), bits: 64 }]);
  return Btf.parse(w.blob());
}

// From arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h, and the order of registers
// in struct pt_regs, 8 bytes each.
const X64_REGISTERS = 'r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di orig_ax ip cs flags sp ss'.split(
  ' ',
);

test('x64 arguments are in the registers of the calling convention', () => {
  const { kprobeArguments, kprobeReturn, instructionPointer, stackPointer, syscalls, systemCallArguments } =
    architectures.x64;
  const saved = (name: string) => X64_REGISTERS.indexOf(name) * 8;
  assert.equal(kprobeArguments, ['di', 'si', 'dx', 'cx', 'r8', 'r9'].map(saved));
  assert.equal(systemCallArguments, ['di', 'si', 'dx', 'r10', 'r8', 'r9'].map(saved));
  assert.equal(architectures.x64.systemCallNumber, { offset: saved('orig_ax'), size: 8 });
  assert.equal([kprobeReturn, instructionPointer, stackPointer], ['ax', 'ip', 'sp'].map(saved));
  assert.equal(syscalls, { bpf: 321, perfEventOpen: 298, seccomp: 317 });
});

test('arm64 arguments are in the first eight of 31 registers', () => {
  const { kprobeArguments, kprobeReturn, instructionPointer, stackPointer, syscalls, systemCallArguments } =
    architectures.arm64;
  assert.equal(kprobeArguments, [0, 8, 16, 24, 32, 40, 48, 56]);
  assert.equal(systemCallArguments, kprobeArguments.slice(0, 6));
  // After the registers sp, pc, pstate and orig_x0.
  assert.equal(architectures.arm64.systemCallNumber, { offset: (31 + 4) * 8, size: 4 });
  assert.equal([kprobeReturn, stackPointer, instructionPointer], [0, 31 * 8, 32 * 8]);
  assert.equal(syscalls, { bpf: 280, perfEventOpen: 241, seccomp: 277 });
});

test('architectures have the names of process.arch', () => {
  assert.is(architectureOf('x64'), architectures.x64);
  assert.is(architectureOf('arm64').name, 'arm64');
});

test('an unsupported architecture throws UnknownArchitectureError with the supported ones', () => {
  for (const name of ['ia32', 's390x', '', 'toString']) {
    const error = thrown(() => architectureOf(name));
    assert.instance(error, UnknownArchitectureError);
    assert.is((error as Error).message, `unsupported architecture '${name}'; supported are x64 and arm64`);
  }
});

test('a target has its architecture, and BTF if the kernel has it', () => {
  const kernel = types();
  assert.is(target('x64', kernel).kernel, kernel);
  assert.is(kernelTypes(target('arm64', kernel)), kernel);
  assert.equal(target('arm64'), { architecture: architectures.arm64 });
  assert.instance(
    thrown(() => target('mips')),
    UnknownArchitectureError,
  );
});

test('a field is found in kernel BTF', () => {
  assert.is(field(target('x64', types()), 'sock', ['sk_error', 'sk_err']).offset, 8);
  assert.instance(
    thrown(() => field(target('x64', types()), 'sock', 'sk_error')),
    NoSuchFieldError,
  );
});

test('without kernel BTF, the error names the field and the remedy', () => {
  const error = thrown(() => field(target('x64'), 'sock', 'sk_err'));
  assert.instance(error, NoBtfError);
  assert.match(
    error.message,
    /^the field sock\.sk_err needs kernel types .* new Kernel\(\)\.btf.* CONFIG_DEBUG_INFO_BTF=y/,
  );
  assert.match(thrown(() => kernelTypes(target('x64'))).message, /^a kernel structure needs kernel types/);
});

test.run();
