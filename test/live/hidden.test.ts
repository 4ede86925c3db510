/**
 * Connects that fail and are not shown: the summary counts as many as --failed shows, for every end that a connect can come to and in
 * every way that this kernel can be watched; and the line itself, as the command prints it.
 */
import * as assert from 'uvu/assert';
import { needsRoot, sameOnEveryKernel, suite } from '../harness.ts';
import { FullListener, loopback, Peer, Server } from './connects.ts';
import { type Hidden, noStage, observeHidden } from './outcomes.ts';
import { PROBE_TYPES, PROBE_TYPES_HERE, refusalOf, Tracer } from './tracer.ts';

const notHere = needsRoot || noStage();
let observed: Promise<ReadonlyMap<(typeof PROBE_TYPES)[number], Hidden>> | undefined;

for (const probe of PROBE_TYPES) {
  const refusal = refusalOf(probe);
  const test = suite(`live/hidden ${probe}`, { seconds: 90 });

  test.skipIf(notHere || refusal, 'as many failures are counted without --failed as it shows', async () => {
    observed ??= observeHidden(PROBE_TYPES_HERE);
    const { counted = 0, failures, skipped } = (await observed).get(probe) as Hidden;
    const list = failures.map(({ daddr, dport, result }) => `${daddr}:${dport} ${result}`).join('\n');
    assert.ok(failures.length > 15, list);
    // A program that the kernel has skipped has neither counted nor shown what it missed.
    const difference = Math.abs(counted - failures.length);
    assert.ok(
      difference <= skipped,
      `${counted} counted, ${skipped} runs skipped, ${failures.length} shown:\n${list}`,
    );
  });

  const byFunctions = probe === 'kprobe' || probe === 'fentry';
  const [shown, hidden] =
    probe === 'trace_event'
      ? ['1 connect shown', '2 failed and were not shown (--failed shows them)']
      : ['2 connects shown', '1 failed and was not shown (--failed shows them)'];
  const unrouted = byFunctions ? '' : '; connects that find no route are not counted';
  const uncounted = (option: string) =>
    `failures are not counted: --probe ${probe} can't with ${option} (--failed shows them)`;
  const open = byFunctions ? ', or failed with the socket still open' : '';

  // What differs by functions has to be tried where there are kprobes, which are guests mostly.
  const skipped = (options: readonly string[]) =>
    options.length > 0 &&
    !(byFunctions && ['0.001', '--from'].includes(options[0] ?? '')) &&
    sameOnEveryKernel;

  for (const [options, expected] of [
    [[], `${shown}; ${hidden}${unrouted}; 1 not answered yet${open}`],
    [
      ['0.001'],
      `${shown}; ${byFunctions ? uncounted('min_ms') : hidden}${unrouted}; 1 not answered yet${open}`,
    ],
    [
      ['60000'],
      `0 connects shown; ${byFunctions ? uncounted('min_ms') : '0 failed and were not shown'}${unrouted}; 1 not answered yet${open}`,
    ],
    [
      ['--from', '127.0.0.1'],
      byFunctions ? `${shown}; ${uncounted('--from')}` : `${shown}; ${hidden}${unrouted}; 1 not answered yet`,
    ],
    [['--failed'], '2 failed connects shown; 1 not answered yet'],
    [['--outcome'], '3 connects shown; 1 not answered yet'],
    [['--quiet'], ''],
  ] as const)
    test.skipIf(
      refusal || skipped(options),
      `with ${options.join(' ') || 'no option'} the last line is: ${expected || 'none'}`,
      async () => {
        const [peer, listening, server] = await Promise.all([
          Peer.start(),
          Peer.start(),
          Server.start('127.0.0.1'),
        ]);
        const full = await FullListener.start(listening);
        const tracer = await Tracer.start(['--probe', probe, '-p', String(peer.pid), ...options]);
        try {
          await peer.ask('connect', loopback(server.port));
          await peer.ask('connect', loopback(await peer.ask('closedPort', '127.0.0.1')));
          const { fd } = await peer.ask('connect', loopback(full.port), { nonBlocking: true });
          await peer.ask('close', fd);
          await peer.ask('connect', loopback(full.port), { nonBlocking: true }); // never answered
          assert.equal(await tracer.stop(), { code: 0, signal: null });
          assert.is(tracer.summary, expected);
        } finally {
          tracer.child.kill('SIGKILL');
          await Promise.all([peer.stop(), listening.stop(), server.close()]);
        }
      },
    );

  test.run();
}
