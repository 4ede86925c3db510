/**
 * Connects from one network namespace to another, over a link that is slow, loses packets, or swallows all of them, watched in
 * every way at once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import type { ConnectRecord } from '../../src/cli/record.ts';
import { suite } from '../harness.ts';
import { Peer, until } from '../live/connects.ts';
import {
  hidesRefused,
  noProbeHere,
  ofProcess,
  PROBE_TYPES_HERE,
  PROBE_TYPES_THAT_SHOW_ALL,
  refusalOf,
} from '../live/tracer.ts';
import { type Watch, watch } from '../live/watch.ts';
import { outsideGuest } from './guest.ts';
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

const refusal = outsideGuest || noProbeHere;
const test = suite('lab/network', { seconds: 60 });
let near: Peer;
let far: Peer;
let link: Link;
/** Each way that shows all answers, on the same connects. */
let probes: readonly Watch[] = [];

test.before(async () => {
  if (refusal) return;
  [near, far] = await Promise.all([Peer.start(), Peer.start()]);
  link = await Link.between(near, far);
  probes = PROBE_TYPES_HERE.filter((probe) => !hidesRefused(probe)).map((probe) =>
    watch({ probe, filter: ofProcess(near.pid) }),
  );
});
test.after.each(async () => {
  if (refusal) return;
  await link.restore();
});
test.after(async () => {
  for (const each of probes) each.close();
  await Promise.all([near?.stop(), far?.stop()]);
});

for (const probe of PROBE_TYPES_THAT_SHOW_ALL)
  test.skipIf(outsideGuest || refusalOf(probe), `${probe} is one of the ways that are compared here`, () => {
    assert.ok(probes.some((each) => each.probe === probe));
  });

/** What each way shows of the one connect to that port. */
async function shown(port: number): Promise<ConnectRecord[]> {
  const found = () => probes.map(({ records }) => records.filter(({ dport }) => dport === port));
  await until(`the connect to ${port} in every way`, () => found().every(({ length }) => length > 0));
  for (const [i, { length }] of found().entries())
    assert.is(length, 1, `${probes[i]?.probe}: one line a connect`);
  return found().flat();
}

async function nothingIsLeft(): Promise<void> {
  await until('empty tables', () => probes.every((each) => each.attempts() === 0));
  for (const { probe, losses } of probes) assert.is(losses(), 0, probe);
}

/** Fails where latencies over a link of 50 ms, a list for each connect, aren't that in every way. */
function assertDelays(latencies: readonly (readonly number[])[]): void {
  for (const i of probes.keys()) assertDelay(latencies.map((each) => each[i] ?? Number.NaN));
}

for (const [family, address] of Object.entries(FAR)) {
  test.skipIf(refusal, `50 ms on the link are 50 ms in the output, over ${family}`, async () => {
    await link.shape('far', 'delay', '50ms');
    const latencies: number[][] = [];
    for (let tries = 0; tries < TRIES; tries++) {
      const { port } = await far.ask('listen', address, 16);
      const { error, begin, end, localPort } = await near.ask('connect', { address, port });
      assert.is(error, '');
      const records = await shown(port);
      for (const { lat_ms, pid, daddr, lport } of records) {
        assert.ok(lat_ms <= end - begin);
        assert.equal([pid, daddr, lport], [near.pid, address, localPort]);
      }
      latencies.push(records.map(({ lat_ms }) => lat_ms));
    }
    assertDelays(latencies);
    await nothingIsLeft();
  });

  test.skipIf(refusal, `a reset after 50 ms is an answer, over ${family}`, async () => {
    await link.shape('far', 'delay', '50ms');
    const latencies: number[][] = [];
    for (let tries = 0; tries < TRIES; tries++) {
      const port = await far.ask('closedPort', address);
      const { error } = await near.ask('connect', { address, port });
      assert.is(error, 'ECONNREFUSED');
      latencies.push((await shown(port)).map(({ lat_ms }) => lat_ms));
    }
    assertDelays(latencies);
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
      for (const each of probes) assert.is(each.attempts(), 1, `${each.probe}: a connect in flight`);
      await link.shape('near');
      const { error, begin, end } = await connecting;
      assert.is(error, '');
      for (const { lat_ms } of await shown(port))
        assert.ok(lat_ms >= RESEND_MS && lat_ms <= end - begin, `${lat_ms} ms of ${end - begin}`);
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
      const count = () => probes.map(({ records }) => records.length);
      const before = count();
      const { error, fd } = await near.ask('connect', { address, port });
      assert.is(error, 'ETIMEDOUT');
      await near.ask('close', fd);
      await nothingIsLeft();
      // And connects that nobody waits for.
      const fds: number[] = [];
      for (let i = 0; i < 20; i++)
        fds.push((await near.ask('connect', { address, port }, { nonBlocking: true })).fd);
      await until('connects in flight', () => probes.every((each) => each.attempts() === fds.length));
      await near.ask('close', ...fds);
      await nothingIsLeft();
      await sleep(100);
      assert.equal(count(), before);
    },
  );
}

test.run();
