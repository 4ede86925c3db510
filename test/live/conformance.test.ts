/** The RFC 9669 part of the conformance suite on this kernel; docs/dependencies.md names its source. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { encodeAll } from '../../src/asm/encode.ts';
import { type Instruction, isLabel } from '../../src/asm/instruction.ts';
import { formOf } from '../../src/asm/isa.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { knowsForm } from '../../src/loader/load/instruction-probe.ts';
import { readTestFile, runTest, suiteFolder, testNames } from '../conformance/suite-folder.ts';
import { readProgram } from '../conformance/ubpf.ts';
import { needsRoot, sameOnEveryKernel, suite } from '../harness.ts';

const test = suite('live/conformance', { seconds: 120 });

const folder = suiteFolder();
const kernel = new Kernel();
const reason =
  needsRoot ||
  (folder === undefined && 'no conformance suite beside the project (TSBPF_CONFORMANCE names its folder)');
const PLUGIN = fileURLToPath(new URL('../../../test/conformance/plugin', import.meta.url));

/**
 * The first instruction of a test that this kernel lacks, or false. All others have to work on every kernel.
 */
function unsupportedReason(folder: string, name: string): string | false {
  for (const item of readTestFile(folder, name).program()) {
    const form = isLabel(item) ? undefined : formOf(item);
    if (form && !knowsForm(kernel, form)) return `this kernel has no ${form.name} (Linux ${form.since})`;
  }
  return false;
}

if (folder === undefined) test.skipIf(reason || 'no conformance suite', 'the conformance suite', () => {});
else
  for (const name of testNames(folder))
    test.skipIf(reason || unsupportedReason(folder, name), name, () => runTest(folder, name));

function plugin(
  program: string,
  ...args: string[]
): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(PLUGIN, args, { input: program, encoding: 'utf8' });
  return { status, stdout, stderr };
}

function hexOf(text: string): string {
  const instructions = readProgram(text).filter((item): item is Instruction => !isLabel(item));
  return Buffer.from(encodeAll(instructions)).toString('hex');
}

test.skipIf(needsRoot || sameOnEveryKernel, 'the plugin prints all 64 bits of r0', () => {
  const program = hexOf('mov %r0, -1\nexit');
  assert.equal(plugin(program), { status: 0, stdout: 'ffffffffffffffff\n', stderr: '' });
});

test.skipIf(needsRoot || sameOnEveryKernel, 'the plugin passes memory and its length to the program', () => {
  const program = hexOf('ldxw %r0, [%r1+4]\nlsh %r0, 8\nadd %r0, %r2\nexit');
  assert.is(plugin(program, '00 00 00 00 78 56 34 12').stdout, '1234567808\n');
  assert.is(plugin(program, '0000000078563412', '--debug').stdout, '1234567808\n');
});

test.skipIf(needsRoot || sameOnEveryKernel, 'the plugin reports errors', () => {
  for (const [program, message] of [
    ['', /^there is no program on the standard input\n$/],
    ['ff00000000000000', /^slot 0: unknown opcode ff/],
    ['9500', /^2 bytes are not a whole number/],
    [hexOf('ldxw %r0, [%r1+4]\nexit'), /the verifier refused it: /],
    ['no', /is not made of hexadecimal bytes/],
  ] as const) {
    const { status, stdout, stderr } = plugin(program);
    assert.is(status, 1);
    assert.is(stdout, '');
    assert.match(stderr, message);
  }
});

test.run();
