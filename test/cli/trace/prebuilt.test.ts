/** Prebuilt programs are used for the same options under the same kernel, and replaced if they fail. */
import * as assert from 'uvu/assert';
import { target } from '../../../src/asm/target.ts';
import { readArguments } from '../../../src/cli/arguments.ts';
import { prebuiltKey, prebuiltPrograms } from '../../../src/cli/trace/prebuilt.ts';
import { withFirstProbe } from '../../../src/cli/trace/probes.ts';
import { Errno } from '../../../src/loader/errno.ts';
import { Kernel } from '../../../src/loader/kernel.ts';
import { programsFromText, programsToText } from '../../../src/programs/prebuilt.ts';
import type { Options as ToolOptions } from '../../../src/programs/tcpconnlat/options.ts';
import { type Programs, tcpconnlat } from '../../../src/programs/tcpconnlat.ts';
import { suite } from '../../harness.ts';
import { FakeSyscalls } from '../../loader/fake.ts';
import { socketTypes } from '../../programs/kernel.ts';

const test = suite('cli/trace/prebuilt');

/** Notes as in /sys/kernel/notes: another one, and the build ID. */
function notes(buildId: string): Uint8Array {
  const note = (name: string, type: number, content: Buffer) => {
    const named = Buffer.from(`${name}\0`);
    const header = Buffer.alloc(12);
    header.writeUInt32LE(named.length);
    header.writeUInt32LE(content.length, 4);
    header.writeUInt32LE(type, 8);
    const padded = [named, content].map((part) => Buffer.concat([part, Buffer.alloc(-part.length & 3)]));
    return Buffer.concat([header, ...padded]);
  };
  const id = Buffer.from(buildId, 'hex');
  return Buffer.concat([note('Linux', 3, Buffer.from('a salt')), note('GNU', 3, id), note('Xen', 1, id)]);
}

function kernelWith(content: Uint8Array | undefined): Kernel {
  const fake = new FakeSyscalls();
  fake.readFile = (path) => (path === '/sys/kernel/notes' && content) || -Errno.ENOENT;
  return new Kernel(fake);
}

const ID = '4a5a9b0affb6017f';
const asked: ToolOptions = { probe: 'tp_btf', filter: {}, localPort: false };
const built = tcpconnlat(asked, target('x64', socketTypes()));
const line = (options: ToolOptions, kernel: Kernel) =>
  `${prebuiltKey(options, kernel)}\t${programsToText(tcpconnlat(options, target('x64', socketTypes())))}\n`;
const lines = Buffer.from(
  [asked, { ...asked, localPort: true }].map((each) => line(each, kernelWith(notes(ID)))).join(''),
);

test('the build ID of the kernel is read from its notes', () => {
  assert.is(kernelWith(notes(ID)).buildId, ID);
  assert.is(kernelWith(undefined).buildId, undefined);
  const whole = notes(ID);
  for (const damaged of ['', 'x', whole.subarray(0, 30), whole.subarray(0, whole.length - 32)])
    assert.is(kernelWith(Buffer.from(damaged as string)).buildId, undefined);
});

test('the programs of the same options and kernel are found', () => {
  const found = prebuiltPrograms(asked, kernelWith(notes(ID)), lines);
  assert.equal(
    found?.programs.map(({ name, attachment }) => [name, attachment]),
    built.programs.map(({ name, attachment }) => [name, attachment]),
  );
  const sizeOf = (options: ToolOptions) =>
    prebuiltPrograms(options, kernelWith(notes(ID)), lines)?.programs[0]?.assembled?.bytes.length ?? 0;
  assert.ok(sizeOf({ ...asked, localPort: true }) > sizeOf(asked), 'each line has its own programs');
});

test('no programs are found for other options or another kernel', () => {
  for (const [options, kernel] of [
    [asked, kernelWith(notes('4a5a9b0affb6017e'))],
    [asked, kernelWith(undefined)],
    [{ ...asked, outcome: 'all' }, kernelWith(notes(ID))],
    [{ ...asked, family: 4 }, kernelWith(notes(ID))],
    [{ ...asked, filter: { pid: { only: [[1, 1]] } } }, kernelWith(notes(ID))],
    [{ ...asked, probe: 'kprobe' }, kernelWith(notes(ID))],
  ] as const)
    assert.is(prebuiltPrograms(options, kernel, lines), undefined, JSON.stringify(options));
  assert.is(prebuiltPrograms(asked, kernelWith(notes(ID)), Buffer.from('')), undefined);
});

function options(...args: string[]) {
  const request = readArguments(args, '0');
  assert.ok(request.action === 'trace');
  return request.options;
}

/** The programs that a run with these options gets in turn, if each fails but the last. */
async function used(args: readonly string[], fails: number): Promise<Programs[]> {
  const tried: Programs[] = [];
  const use = (programs: Programs) => {
    tried.push(programs);
    if (tried.length <= fails) throw new TypeError('refused');
  };
  const on = () => target('x64', socketTypes());
  await withFirstProbe(options(...args), new Kernel(new FakeSyscalls()), on, use, {
    build: () => prebuilt,
    cache: () => undefined,
  });
  return tried;
}

const prebuilt = programsFromText(programsToText(built));

test('a run uses prebuilt programs', async () => {
  assert.equal(await used(['--probe', 'tp_btf'], 0), [prebuilt]);
});

test('if prebuilt programs fail, the run builds its programs', async () => {
  const [first, second] = await used(['--probe', 'tp_btf'], 1);
  assert.is(first, prebuilt);
  assert.is(second?.programs[0]?.assembled, undefined);
});

test('the programs of a listing, and for other types, are built', async () => {
  for (const args of [['-v'], ['--dry-run'], ['--btf', 'f']]) {
    const [first] = await used([...args, '--probe', 'raw_tracepoint'], 0);
    assert.is(first?.programs[0]?.assembled, undefined, args.join());
  }
});

test.run();
