/**
 * Connects between two network namespaces over a link that is slow, loses packets or drops all of them, with
 * every available probe at the same time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import type { ConnectRecord } from '../../src/cli/record.ts';
import { suite } from '../harness.ts';
import { Peer, until } from '../live/connects.ts';
import { noProbeHere, ofProcess, PROBE_TYPES, PROBE_TYPES_HERE, skipReason } from '../live/tracer.ts';
import { type Watch, watch } from '../live/watch.ts';
import { outsideGuest } from './guest.ts';
import { FAR, Link } from './network.ts';

/**
 * The delay that emulation may add to the smallest of several latencies, ms. A single latency may be late by
 * any amount while the machine is busy.
 */
const NOISE_MS = 30;
const TRIES = 5;
/**
 * When a SYN is retransmitted, ms: after one second of kernel ticks, which may arrive in bursts on an
 * emulated machine.
 */
const RESEND_MS = 900;

/** Asserts that the smallest latency over a link of 50 ms is about 50 ms. */
function assertDelay(latencies: readonly number[]): void {
  const smallest = Math.min(...latencies);
  assert.ok(smallest >= 50 && smallest <= 50 + NOISE_MS, `${latencies.join(', ')} ms`);
}

const skip = outsideGuest || noProbeHere;
const test = suite('lab/network', { seconds: 60 });
let near: Peer;
let far: Peer;
let link: Link;
/** A watch with each probe, on the same connects. */
let probes: readonly Watch[] = [];

test.before(async () => {
  if (skip) return;
  [near, far] = await Promise.all([Peer.start(), Peer.start()]);
  link = await Link.between(near, far);
  probes = PROBE_TYPES_HERE.map((probe) => watch({ probe, filter: ofProcess(near.pid) }));
});
test.after.each(async () => {
  if (skip) return;
  await link.restore();
});
test.after(async () => {
  for (const each of probes) each.close();
  await Promise.all([near?.stop(), far?.stop()]);
});

for (const probe of PROBE_TYPES)
  test.skipIf(outsideGuest || skipReason(probe), `${probe} is compared here`, () => {
    assert.ok(probes.some((each) => each.probe === probe));
  });

/** The record of the connect to this port with each probe. */
async function shown(port: number): Promise<ConnectRecord[]> {
  const found = () => probes.map(({ records }) => records.filter(({ dport }) => dport === port));
  await until(`the connect to ${port} with every probe`, () => found().every(({ length }) => length > 0));
  for (const [i, { length }] of found().entries())
    assert.is(length, 1, `${probes[i]?.probe}: one line a connect`);
  return found().flat();
}

async function assertNothingLeft(): Promise<void> {
  await until('empty tables', () => probes.every((each) => each.attempts() === 0));
  for (const { probe, losses } of probes) assert.is(losses(), 0, probe);
}

/** Asserts latencies over a link of 50 ms with every probe. Each element has the latencies of one connect. */
function assertDelays(latencies: readonly (readonly number[])[]): void {
  for (const i of probes.keys()) assertDelay(latencies.map((each) => each[i] ?? Number.NaN));
}

for (const [family, address] of Object.entries(FAR)) {
  test.skipIf(skip, `50 ms on the link add 50 ms to the latency, over ${family}`, async () => {
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
    await assertNothingLeft();
  });

  test.skipIf(skip, `a reset after 50 ms counts as an answer, over ${family}`, async () => {
    await link.shape('far', 'delay', '50ms');
    const latencies: number[][] = [];
    for (let tries = 0; tries < TRIES; tries++) {
      const port = await far.ask('closedPort', address);
      const { error } = await near.ask('connect', { address, port });
      assert.is(error, 'ECONNREFUSED');
      latencies.push((await shown(port)).map(({ lat_ms }) => lat_ms));
    }
    assertDelays(latencies);
    await assertNothingLeft();
  });

  test.skipIf(skip, `a lost SYN adds a second, the time to its retransmit, over ${family}`, async () => {
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
    await assertNothingLeft();
  });

  test.skipIf(
    skip,
    `an unanswered connect is not shown and leaves no table entry, over ${family}`,
    async () => {
      const { port } = await far.ask('listen', address, 16);
      await link.shape('near', 'loss', '100%');
      await link.retries('near', 1);
      const count = () => probes.map(({ records }) => records.length);
      const before = count();
      const { error, fd } = await near.ask('connect', { address, port });
      assert.is(error, 'ETIMEDOUT');
      await near.ask('close', fd);
      await assertNothingLeft();
      // The same for non-blocking connects.
      const fds: number[] = [];
      for (let i = 0; i < 20; i++)
        fds.push((await near.ask('connect', { address, port }, { nonBlocking: true })).fd);
      await until('connects in flight', () => probes.every((each) => each.attempts() === fds.length));
      await near.ask('close', ...fds);
      await assertNothingLeft();
      await sleep(100);
      assert.equal(count(), before);
    },
  );
}

test.run();
