import * as assert from 'uvu/assert';
import { Btf } from '../../../src/asm/btf.ts';
import { type Options, readArguments } from '../../../src/cli/arguments.ts';
import { BtfFileError, traceTarget } from '../../../src/cli/trace/btf.ts';
import { withFirstProbe } from '../../../src/cli/trace/probes.ts';
import { Errno } from '../../../src/loader/errno.ts';
import { Kernel } from '../../../src/loader/kernel.ts';
import { BtfWriter } from '../../asm/btf-writer.ts';
import { suite } from '../../harness.ts';
import { FakeSyscalls } from '../../loader/fake.ts';
import { socketBlob } from '../../programs/kernel.ts';
import { rejected, thrown } from '../../thrown.ts';

const test = suite('cli/trace/btf');

function options(...args: string[]): Options {
  const request = readArguments(args, '');
  if (request.action !== 'trace') throw new Error(args.join(' '));
  return request.options;
}

/** A machine with a file `f` of these bytes. */
function withFile(bytes: Uint8Array | string): Kernel {
  const fake = new FakeSyscalls();
  fake.files.set('f', typeof bytes === 'string' ? bytes : Buffer.from(bytes).toString('latin1'));
  return new Kernel(fake);
}

/** The error message for a file. */
function messageFor(kernel: Kernel): string {
  const error = thrown(() => traceTarget(options('--btf', 'f'), kernel));
  assert.instance(error, BtfFileError);
  return error.message;
}

test('without --btf the target has the BTF of the kernel, if there is one', () => {
  assert.is(traceTarget(options(), new Kernel(new FakeSyscalls())).kernel, undefined);
  const kernel = withFile('');
  const own = Btf.parse(socketBlob());
  Object.defineProperty(kernel, 'btf', { value: own });
  assert.is(traceTarget(options(), kernel).kernel, own);
});

test('--btf is used whether the kernel has BTF or not', () => {
  const { kernel } = traceTarget(options('--btf', 'f'), withFile(socketBlob()));
  assert.ok(kernel?.has('inet_sock', 'inet_sport'));
});

test('a file that is not kernel BTF causes a one-line error with its name', () => {
  const empty = new BtfWriter();
  empty.int('int', 4);
  for (const [bytes, message] of [
    ['', /^--btf f: 0 bytes are too few for BTF/],
    ['hello, this is no BTF at all', /^--btf f: not BTF: it begins with 0x6568/],
    [
      '\x7fELF\x02\x01\x01',
      /^--btf f: it is an ELF file.*objcopy -O binary --only-section=.BTF vmlinux FILE$/,
    ],
    [socketBlob().subarray(0, 200), /^--btf f: .*ends past/],
    [empty.blob(), /^--btf f: this is not the BTF of a kernel/],
  ] as const) {
    const text = messageFor(withFile(bytes));
    assert.match(text, message);
    assert.not.match(text, /\n/);
  }
});

test('a file that cannot be read causes an error with the reason', () => {
  const fake = new FakeSyscalls();
  assert.is(
    messageFor(new Kernel(fake)),
    '--btf f: cannot read the file: ENOENT (no such file or directory)',
  );
  fake.readFile = () => -Errno.EACCES;
  assert.match(messageFor(new Kernel(fake)), /EACCES \(permission denied\)$/);
  fake.readFile = () => -Errno.EFBIG;
  assert.match(messageFor(new Kernel(fake)), /^--btf f: it is larger than 256 MiB.*objcopy .* vmlinux FILE$/);
});

test('an error in BTF that appears when it is used names the file', async () => {
  const w = new BtfWriter();
  w.struct('sock', 8, [{ name: '__sk_common', type: 999, bits: 0 }]);
  const kernel = withFile(w.blob());
  const dryRun = options('--btf', 'f', '--dry-run');
  const error = await rejected(() =>
    withFirstProbe(
      dryRun,
      kernel,
      () => traceTarget(dryRun, kernel),
      (programs) => programs.probe,
    ),
  );
  assert.instance(error, BtfFileError);
  assert.match(error.message, /^--btf f: no type with the id 999/);
});

test.run();
