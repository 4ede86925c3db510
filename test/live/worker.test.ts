/** Sessions in worker threads. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import * as assert from 'uvu/assert';
import { needsRoot, sameOnEveryKernel, suite } from '../harness.ts';

const test = suite('live/worker', { seconds: 60 });

/** The BPF and perf descriptors of this process, which all of its threads share. */
function descriptors(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return /^anon_inode:.*(bpf|perf)/.test(target) ? [target] : [];
    } catch {
      return []; // the descriptor of the listing itself
    }
  });
}

const LIBRARY = new URL('../../../dist/index.js', import.meta.url).href;

/** Opens a session with a map and a raw tracepoint in a worker; closes it first if `closes`. */
async function inWorker(closes: boolean): Promise<Worker> {
  const worker = new Worker(
    `import(${JSON.stringify(LIBRARY)}).then(({ array, rawTracepoint, Session, target, u64 }) => {
      const renames = array('renames', { value: u64 });
      const program = rawTracepoint('task_rename', target(process.arch), (b) => b.count(renames, 0));
      globalThis.session = Session.open({ name: 'worker', programs: [program] });
      if (${closes}) globalThis.session.close();
      setInterval(() => {}, 1000);
      require('node:worker_threads').parentPort.postMessage('open');
    })`,
    { eval: true },
  );
  await new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  return worker;
}

test.skipIf(needsRoot, 'terminating a worker detaches its programs and closes its maps', async () => {
  const before = descriptors();
  const worker = await inWorker(false);
  const during = descriptors();
  assert.ok(during.includes('anon_inode:bpf-prog') && during.includes('anon_inode:bpf-map'), during.join());
  assert.ok(during.length >= before.length + 3, during.join());
  await worker.terminate();
  assert.equal(descriptors(), before);
});

test.skipIf(needsRoot, 'a session that is closed in a worker leaves nothing open', async () => {
  const before = descriptors();
  const worker = await inWorker(true);
  assert.equal(descriptors(), before);
  await worker.terminate();
  assert.equal(descriptors(), before);
});

/**
 * Reads events in a worker that then ends as `end` says. Prints the number of events, and the BPF and perf
 * descriptors that are open after the worker.
 */
const READER = `
  import { readdirSync, readlinkSync } from 'node:fs';
  import { Worker } from 'node:worker_threads';

  const [kind, end] = process.argv.slice(-2);
  const descriptors = () => readdirSync('/proc/self/fd').flatMap((fd) => {
    try { return [readlinkSync('/proc/self/fd/' + fd)]; } catch { return []; }
  }).filter((target) => /^anon_inode:.*(bpf|perf)/.test(target)).length;
  const worker = new Worker(\`import(${JSON.stringify(LIBRARY)}).then(async (library) => {
    const { perfEventArray, rawTracepoint, ringBuffer, Session, struct, target, u32 } = library;
    const { parentPort } = await import('node:worker_threads');
    const Entered = struct({ one: u32 });
    const events = '\${kind}' === 'perf' ? perfEventArray('events', Entered)
      : ringBuffer('events', Entered, { bytes: 65536 });
    const program = rawTracepoint('sys_enter', target(process.arch), (b) => {
      const entered = b.stack(Entered);
      entered.one.set(1);
      b.output(events, entered);
    });
    let count = 0;
    const onEvent = ({ one }) => { if ((count += one) === 100) parentPort.postMessage(count); };
    const session = Session.open({ name: 'worker', programs: [program], events }, { onEvent });
    parentPort.on('message', (end) => {
      if (end === 'close') { session.close(); parentPort.close(); }
      if (end === 'exit') process.exit();
      if (end === 'exception') throw new Error('on purpose');
    });
  })\`, { eval: true });
  const ended = new Promise((resolve) => worker.once('exit', resolve));
  worker.on('error', ({ message }) => console.log('error:', message));
  console.log(await new Promise((resolve) => worker.once('message', resolve)), 'events');
  if (end === 'exit of the process') process.exit();
  if (end === 'terminate') worker.terminate();
  else worker.postMessage(end);
  await ended;
  await new Promise((resolve) => setTimeout(resolve, 100)); // a crash may come late
  console.log(descriptors(), 'descriptors');`;

for (const kind of ['perf', 'ring buffer'])
  for (const [end, output] of [
    ['close', '100 events\n0 descriptors\n'],
    ['terminate', '100 events\n0 descriptors\n'],
    ['exit', '100 events\n0 descriptors\n'],
    ['exception', '100 events\nerror: on purpose\n0 descriptors\n'],
    ['exit of the process', '100 events\n'],
  ] as const)
    test.skipIf(
      // How the worker ends decides what Node closes; the kernel closes what is left.
      needsRoot || (!['terminate', 'exit of the process'].includes(end) && sameOnEveryKernel),
      `a worker that reads events (${kind}) ends by ${end}, and the process goes on`,
      () => {
        const { status, signal, stdout, stderr } = spawnSync(
          process.execPath,
          ['--input-type=module', '-e', READER, kind, end],
          { encoding: 'utf8' },
        );
        assert.equal(
          { status, signal, stdout, stderr },
          { status: 0, signal: null, stdout: output, stderr: '' },
        );
      },
    );

test.run();
