/**
 * A kernel under lockdown in confidentiality mode (`lockdown=confidentiality`): the probes that work there,
 * and the errors of the others.
 */
import * as assert from 'uvu/assert';
import { suite } from '../harness.ts';
import { loopback, Peer, Server } from '../live/connects.ts';
import { here, Tracer } from '../live/tracer.ts';
import { outsideGuest } from './guest.ts';

const elsewhere =
  outsideGuest || (here.lockdown !== 'confidentiality' && 'this kernel is not under lockdown');

const test = suite('lab/lockdown', { seconds: 60 });

let peer: Peer;
let server: Server;

test.before(async () => {
  if (elsewhere) return;
  [peer, server] = await Promise.all([Peer.start(), Server.start('127.0.0.1')]);
});
test.after(async () => {
  await Promise.all([peer?.stop(), server?.close()]);
});

test.skipIf(
  elsewhere,
  'fentry (which auto selects, also with -L) and tp_btf show connects without warnings',
  async () => {
    const tracers = await Promise.all([['-L'], ['--probe', 'tracepoint']].map((args) => Tracer.start(args)));
    try {
      const port = await peer.ask('closedPort', '127.0.0.1');
      for (const each of [server.port, port]) await peer.ask('connect', loopback(each));
      for (const tracer of tracers) {
        await tracer.until('both connects', () => tracer.rows().length >= 2);
        assert.equal(await tracer.stop(), { code: 0, signal: null });
        assert.equal(
          tracer.rows().map(({ DPORT }) => Number(DPORT)),
          [server.port, port],
        );
        assert.is(tracer.warnings, '');
      }
    } finally {
      for (const { child } of tracers) child.kill('SIGKILL');
    }
  },
);

/** Whether programs can read all of a TCP socket and of the current task without bpf_probe_read_kernel. */
const has = (name: string) => here.btf?.find('func', name) !== undefined;
const noTypedReads =
  !has('bpf_get_current_task_btf') && 'this kernel has no typed pointer to the current task (5.11)';
const noCast = noTypedReads || (!has('bpf_rdonly_cast') && 'this kernel has no bpf_rdonly_cast (6.2)');

for (const [probe, reason] of [
  ['fentry', noCast],
  ['tp_btf', noTypedReads],
] as const)
  test.skipIf(elsewhere || reason, `${probe} shows outcomes, local ports and failures`, async () => {
    const tracer = await Tracer.start(['--probe', probe, '--outcome', '-L', '--netns', String(process.pid)]);
    try {
      const port = await peer.ask('closedPort', '127.0.0.1');
      for (const each of [server.port, port]) await peer.ask('connect', loopback(each));
      await tracer.until('both connects', () => tracer.rows().length >= 2);
      assert.equal(await tracer.stop(), { code: 0, signal: null });
      assert.equal(
        tracer.rows().map(({ DPORT, RESULT }) => [Number(DPORT), RESULT]),
        [
          [server.port, 'established'],
          [port, 'refused'],
        ],
      );
      assert.ok(tracer.rows().every(({ LPORT }) => Number(LPORT) > 0));
    } finally {
      tracer.child.kill('SIGKILL');
    }
  });

for (const [args, kept, advice, reason] of [
  [['--probe', 'kprobe'], 'forbids bpf_probe_read_kernel', '--probe fentry works', false],
  [['--probe', 'trace_event'], 'forbids tracefs', '--probe fentry works', false],
  [
    ['--failed'],
    'forbids bpf_probe_read_kernel',
    '--probe fentry works without --failed',
    !noTypedReads && 'this kernel has typed pointers',
  ],
] as const)
  test.skipIf(
    elsewhere || reason,
    `${args.join(' ')} fails with status 1 and names an alternative, but not --btf`,
    async () => {
      const tracer = Tracer.run(args);
      assert.equal(await tracer.ended(), { code: 1, signal: null });
      assert.match(tracer.stderr, /kernel lockdown/i);
      assert.ok(tracer.stderr.includes(kept), tracer.stderr);
      assert.ok(tracer.stderr.endsWith(`${advice}\n`), tracer.stderr);
      assert.not.match(tracer.stderr, /--btf/);
    },
  );

test.run();
