/** Connects from one network namespace to another, over a link that is slow, loses packets, or swallows all of them. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { suite } from '../harness.ts';
import { Peer, until } from '../live/connects.ts';
import { refusalOf, WAYS_THAT_SHOW_ALL } from '../live/tracer.ts';
import { outsideGuest, type Watch, watch } from './guest.ts';
import { FAR, Link } from './network.ts';

/** What emulation may add to the least of some latencies, ms. Any one may be late by as long as the machine is busy. */
const NOISE_MS = 30;
const TRIES = 5;
/** When a SYN is sent again, ms: after a second of the kernel's ticks, which on an emulated machine may come in a heap. */
const RESEND_MS = 900;

/** Fails where latencies over a link of 50 ms aren't that. */
function assertDelay(latencies: readonly number[]): void {
  const least = Math.min(...latencies);
  assert.ok(least >= 50 && least <= 50 + NOISE_MS, `${latencies.join(', ')} ms`);
}

for (const way of WAYS_THAT_SHOW_ALL) {
  const refusal = outsideGuest || refusalOf(way);
  const test = suite(`lab/network ${way}`, { seconds: 60 });
  let near: Peer;
  let far: Peer;
  let link: Link;
  let seen: Watch;

  test.before(async () => {
    if (refusal) return;
    [near, far] = await Promise.all([Peer.start(), Peer.start()]);
    link = await Link.between(near, far);
    seen = watch(way, near.pid);
  });
  test.after.each(async () => {
    if (refusal) return;
    await link.shape('near');
    await link.shape('far');
    await link.retries('near', 6);
  });
  test.after(async () => {
    seen?.close();
    await Promise.all([near?.stop(), far?.stop()]);
  });

  /** The latency of the one connect that is shown to that port. */
  const latencyTo = async (port: number): Promise<number> => {
    await until(`the connect to ${port}`, () => seen.records.some(({ dport }) => dport === port));
    const found = seen.records.filter(({ dport }) => dport === port);
    assert.is(found.length, 1, 'one line a connect');
    return found[0]?.lat_ms ?? Number.NaN;
  };
  const nothingIsLeft = async (): Promise<void> => {
    await until('an empty table', () => seen.attempts() === 0);
    assert.is(seen.losses(), 0);
  };

  for (const [family, address] of Object.entries(FAR)) {
    test.skipIf(refusal, `50 ms on the link are 50 ms in the output, over ${family}`, async () => {
      await link.shape('far', 'delay', '50ms');
      const latencies: number[] = [];
      for (let tries = 0; tries < TRIES; tries++) {
        const { port } = await far.ask('listen', address, 16);
        const { error, begin, end, localPort } = await near.ask('connect', { address, port });
        assert.is(error, '');
        const latency = await latencyTo(port);
        assert.ok(latency <= end - begin);
        latencies.push(latency);
        const record = seen.records.find(({ dport }) => dport === port);
        assert.equal([record?.pid, record?.daddr, record?.lport], [near.pid, address, localPort]);
      }
      assertDelay(latencies);
      await nothingIsLeft();
    });

    test.skipIf(refusal, `a reset after 50 ms is an answer, over ${family}`, async () => {
      await link.shape('far', 'delay', '50ms');
      const latencies: number[] = [];
      for (let tries = 0; tries < TRIES; tries++) {
        const port = await far.ask('closedPort', address);
        const { error } = await near.ask('connect', { address, port });
        assert.is(error, 'ECONNREFUSED');
        latencies.push(await latencyTo(port));
      }
      assertDelay(latencies);
      await nothingIsLeft();
    });

    test.skipIf(
      refusal,
      `a SYN that is lost shows as the second that it takes to be sent again, over ${family}`,
      async () => {
        const { port } = await far.ask('listen', address, 16);
        await link.shape('near', 'loss', '100%');
        const connecting = near.ask('connect', { address, port });
        await until('a lost SYN', async () => (await link.dropped('near')) > 0);
        assert.is(seen.attempts(), 1, 'a connect in flight');
        await link.shape('near');
        const { error, begin, end } = await connecting;
        assert.is(error, '');
        const latency = await latencyTo(port);
        assert.ok(latency >= RESEND_MS && latency <= end - begin, `${latency} ms of ${end - begin}`);
        await nothingIsLeft();
      },
    );

    test.skipIf(
      refusal,
      `a connect that is never answered is not shown, and leaves nothing, over ${family}`,
      async () => {
        const { port } = await far.ask('listen', address, 16);
        await link.shape('near', 'loss', '100%');
        await link.retries('near', 1);
        const shown = seen.records.length;
        const { error, fd } = await near.ask('connect', { address, port });
        assert.is(error, 'ETIMEDOUT');
        await near.ask('close', fd);
        await nothingIsLeft();
        // And connects that nobody waits for.
        const fds: number[] = [];
        for (let i = 0; i < 20; i++)
          fds.push((await near.ask('connect', { address, port }, { nonBlocking: true })).fd);
        await until('connects in flight', () => seen.attempts() === fds.length);
        await near.ask('close', ...fds);
        await nothingIsLeft();
        await sleep(100);
        assert.is(seen.records.length, shown);
      },
    );
  }

  test.run();
}
