/** Sessions in worker threads. */
import { readdirSync, readlinkSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import * as assert from 'uvu/assert';
import { needsRoot, suite } from '../harness.ts';

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

test.run();
