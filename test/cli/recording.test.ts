import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Value } from '@sinclair/typebox/value';
import * as assert from 'uvu/assert';
import { headerSchema, MAX_LINE_BYTES } from '../../src/cli/json.ts';
import { OutputError } from '../../src/cli/output.ts';
import { type ConnectRecord, fieldsOf } from '../../src/cli/record.ts';
import { openRecording, type RecordingContext } from '../../src/cli/recording.ts';
import { nativeSyscalls } from '../../src/loader/koffi.ts';
import { needsRoot, suite } from '../harness.ts';
import { withDisk } from '../small-disk.ts';

const test = suite('cli/recording');

let folder = '';
test.before(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsbpf-recording-'));
});
test.after(() => rmSync(folder, { recursive: true }));

const RECORD: ConnectRecord = {
  ...{
    time_s: 0,
    time: '2026-11-25T15:39:56.123456Z',
    pid: 1,
    comm: 'x',
    uid: 33,
    container: 'a'.repeat(64),
  },
  ...{ ip: 4, saddr: '10.0.0.1', lport: 1, daddr: '192.0.2.1', dport: 443, host: 'db1.example', lat_ms: 1 },
};
const BY = { version: '1.2.3', args: ['--record', 'x'] };
const WHERE = { host: 'vm', kernel: '6.12.0', way: 'kprobe', started: '2026-11-25T15:39:56.123000Z' };

/** The error that a promise is rejected with. */
const rejection = (promise: Promise<unknown>): Promise<Error> =>
  promise.then(
    () => new Error('it was not rejected'),
    (error: Error) => error,
  );

const never = () => assert.unreachable();
/** A context with the locks of this kernel, in which warnings and failures are errors. */
const CONTEXT: RecordingContext = { syscalls: nativeSyscalls(), warn: never, onFailure: never };

test('the first line has the origin and the optional fields; names are not recorded', async () => {
  const file = join(folder, 'who');
  const recording = openRecording(file, { who: true }, BY, CONTEXT);
  recording.begin(WHERE);
  recording.add(RECORD);
  await recording.end();
  const [header = '', line = '', ...rest] = readFileSync(file, 'utf8').split('\n');
  assert.equal(JSON.parse(header), {
    tsbpf: 'tcpconnlat',
    format: 1,
    ...{ version: BY.version, options: BY.args },
    ...WHERE,
    fields: ['time', ...fieldsOf('who')],
  });
  const { host: _, ...recorded } = RECORD;
  assert.equal(JSON.parse(line), recorded);
  assert.equal(rest, ['']);
});

test('without --who there is no user and no container', async () => {
  const file = join(folder, 'plain');
  const recording = openRecording(file, { who: false }, BY, CONTEXT);
  recording.begin(WHERE);
  recording.add(RECORD);
  await recording.end();
  const [header, line] = readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((each) => JSON.parse(each));
  assert.equal(header.fields, ['time']);
  assert.equal(['uid' in line, 'container' in line, 'time' in line], [false, false, true]);
});

test('the file is truncated when tracing begins, and not before', async () => {
  const file = join(folder, 'old');
  writeFileSync(file, 'x'.repeat(10_000), { mode: 0o600 });
  const failed = openRecording(file, { who: false }, BY, CONTEXT);
  await failed.end();
  assert.is(readFileSync(file, 'utf8').length, 10_000);
  const recording = openRecording(file, { who: false }, BY, CONTEXT);
  recording.begin(WHERE);
  await recording.end();
  assert.is(JSON.parse(readFileSync(file, 'utf8')).version, '1.2.3');
});

test('a full disk is reported once, with the number of missing events', async () => {
  let failures = 0;
  const recording = openRecording('/dev/full', { who: false }, BY, {
    ...CONTEXT,
    onFailure() {
      failures += 1;
    },
  });
  recording.begin(WHERE);
  await Promise.resolve();
  for (let i = 0; i < 3; i++) recording.add(RECORD);
  const error = await rejection(recording.end());
  assert.is(failures, 1);
  assert.instance(error, OutputError);
  assert.match(
    error.message,
    /^cannot write the recording \/dev\/full: ENOSPC: no space left on device.*; 3 events are missing from it$/,
  );
});

test('a recording in a pipe ends when its reader exits', async () => {
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  assert.throws(
    () => openRecording(pipe, { who: false }, BY, CONTEXT),
    /^cannot write the recording .*pipe: ENXIO: .* \(no process reads this pipe\)$/,
  );
  const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
  let failures = 0;
  const recording = openRecording(pipe, { who: false }, BY, {
    ...CONTEXT,
    onFailure() {
      failures += 1;
    },
  });
  recording.begin(WHERE);
  await Promise.resolve();
  const read = Buffer.alloc(4096);
  const size = readSync(reader, read);
  assert.match(read.toString('utf8', 0, size), /^\{"tsbpf":"tcpconnlat".*\}\n$/);
  closeSync(reader);
  recording.add(RECORD);
  await Promise.resolve();
  assert.is(failures, 1);
  const error = await rejection(recording.end());
  assert.match(error.message, /its reader has exited; 1 events are missing from it$/);
});

test('a slow reader does not delay the run: missing events are counted', async () => {
  const pipe = join(folder, 'slow');
  execFileSync('mkfifo', [pipe]);
  const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
  const recording = openRecording(pipe, { who: false }, BY, CONTEXT);
  recording.begin(WHERE);
  for (let i = 0; i < 10_000; i++) recording.add(RECORD);
  assert.ok(recording.missing > 1000, `${recording.missing}`);
  await recording.end();
  closeSync(reader);
});

test.skipIf(needsRoot, 'if the disk is full at the first line, no file remains', async () => {
  await withDisk(folder, 'size=4k', async (disk) => {
    writeFileSync(join(disk, 'full'), 'x'.repeat(4096));
    const file = join(disk, 'new');
    const recording = openRecording(file, { who: false }, BY, { ...CONTEXT, onFailure() {} });
    recording.begin(WHERE);
    const error = await rejection(recording.end());
    assert.match(error.message, /ENOSPC/);
    assert.equal(readdirSync(disk), ['full']);
  });
});

test('a command line of any length results in a valid first line', async () => {
  const file = join(folder, 'long');
  const args = ['--to', '10.0.0.0/8,'.repeat(3000), '--comm', '\x7f\u20ac'.repeat(10_000), '-t'];
  const recording = openRecording(file, { who: false }, { version: '1.2.3', args }, CONTEXT);
  recording.begin(WHERE);
  await recording.end();
  const [header = ''] = readFileSync(file, 'utf8').split('\n');
  assert.ok(Buffer.byteLength(header) <= MAX_LINE_BYTES);
  assert.equal([...Value.Errors(headerSchema(), JSON.parse(header))], []);
  assert.equal(JSON.parse(header).options, [...args.slice(0, 3), '\u2026']);
});

for (const [file, message] of [
  ['/nowhere/x', /ENOENT/],
  ['/', /EISDIR/],
] as const)
  test(`${file} cannot be written: opening it is an error`, () => {
    const open = () => openRecording(file, { who: false }, BY, CONTEXT);
    assert.throws(open, (error: Error) => error instanceof OutputError && message.test(error.message));
  });

test.run();
