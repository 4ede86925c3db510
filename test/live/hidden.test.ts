/**
 * Failed connects that are not shown: the summary counts as many as --failed shows, for every outcome and
 * every available probe. Also the summary line itself.
 */
import * as assert from 'uvu/assert';
import { needsRoot, sameOnEveryKernel, suite } from '../harness.ts';
import { FullListener, loopback, Peer, Server } from './connects.ts';
import { type Hidden, noStage, observeHidden } from './outcomes.ts';
import { PROBE_TYPES, PROBE_TYPES_HERE, skipReason, Tracer } from './tracer.ts';

const notHere = needsRoot || noStage();
let observed: Promise<ReadonlyMap<(typeof PROBE_TYPES)[number], Hidden>> | undefined;

/** The processes of all suites. */
interface Bench {
  readonly peer: Peer;
  readonly listening: Peer;
  readonly server: Server;
  readonly full: FullListener;
}
let bench: Bench | undefined;

async function openBench(): Promise<Bench> {
  const [peer, listening, server] = await Promise.all([
    Peer.start(),
    Peer.start(),
    Server.start('127.0.0.1'),
  ]);
  return { peer, listening, server, full: await FullListener.start(listening) };
}

for (const probe of PROBE_TYPES) {
  const skip = skipReason(probe);
  const test = suite(`live/hidden ${probe}`, { seconds: 90 });

  test.skipIf(notHere || skip, 'the summary counts as many failures as --failed shows', async () => {
    observed ??= observeHidden(PROBE_TYPES_HERE);
    const { counted = 0, failures, skipped } = (await observed).get(probe) as Hidden;
    const list = failures.map(({ daddr, dport, result }) => `${daddr}:${dport} ${result}`).join('\n');
    assert.ok(failures.length > 15, list);
    // A run that the kernel skipped neither counted nor showed its failure.
    const difference = Math.abs(counted - failures.length);
    assert.ok(
      difference <= skipped,
      `${counted} counted, ${skipped} runs skipped, ${failures.length} shown:\n${list}`,
    );
  });

  const onFunctions = probe === 'kprobe' || probe === 'fentry';
  const [shown, hidden] = ['2 connects shown', '  1 failed, not shown (--failed shows them)'];
  const uncounted = '  connects without a route are not counted';
  const unrouted = onFunctions ? [] : [uncounted];
  const open = `  1 not answered yet${onFunctions ? ', or failed with the socket still open' : ''} (--pending shows them)`;
  const results = (failed: boolean) =>
    failed ? '  2 ended: 1 refused, 1 aborted' : '  3 ended: 1 established, 1 refused, 1 aborted';

  // Cases that differ on functions have to run on a machine with kprobes, which mostly means guests.
  const skipped = (options: readonly string[]) =>
    options.length > 0 &&
    !(onFunctions && ['0.001', '--from'].includes(options[0] ?? '')) &&
    sameOnEveryKernel;

  for (const [options, expected] of [
    [[], [shown, hidden, open, ...unrouted]],
    [['0.001'], [shown, hidden, open, uncounted]],
    [['60000'], ['0 connects shown', '  3 below min_ms', open, uncounted]],
    [
      ['--from', '127.0.0.1'],
      [shown, hidden, ...(onFunctions ? [] : [open]), uncounted],
    ],
    [['--failed'], ['2 failed connects shown', results(true), '  1 not answered yet (--pending shows them)']],
    [
      ['--outcome'],
      [
        '3 connects shown',
        results(false),
        '  1 shown as pending',
        '  1 not answered yet (--pending shows their addresses)',
      ],
    ],
    [['--pending'], [shown, hidden, '  1 shown as pending', '  1 not answered yet', ...unrouted]],
    [
      ['--pending', '--from', '127.0.0.1'],
      [shown, hidden, '  1 shown as pending', '  1 not answered yet', uncounted],
    ],
    [['--quiet'], []],
  ] as const)
    test.skipIf(
      skip || skipped(options),
      `with ${options.join(' ') || 'no option'} the summary is: ${expected.join('; ') || 'none'}`,
      async () => {
        bench ??= await openBench();
        const { peer, server, full } = bench;
        const tracer = await Tracer.start(['--probe', probe, '-p', String(peer.pid), ...options]);
        try {
          await peer.ask('connect', loopback(server.port));
          await peer.ask('connect', loopback(await peer.ask('closedPort', '127.0.0.1')));
          const { fd } = await peer.ask('connect', loopback(full.port), { nonBlocking: true });
          await peer.ask('close', fd);
          const waiting = await peer.ask('connect', loopback(full.port), { nonBlocking: true });
          assert.equal(await tracer.stop(), { code: 0, signal: null });
          assert.equal(tracer.summary.split('\n').filter(Boolean), expected);
          await peer.ask('close', waiting.fd);
        } finally {
          tracer.child.kill('SIGKILL');
        }
      },
    );

  if (probe === PROBE_TYPES.at(-1))
    test.after(async () => {
      if (bench) await Promise.all([bench.peer.stop(), bench.listening.stop(), bench.server.close()]);
    });
  test.run();
}
