import * as assert from 'uvu/assert';
import { Kernel } from '../../../src/loader/kernel.ts';
import type { CpuRing } from '../../../src/loader/perf-buffer/cpu-ring.ts';
import { CpuWatch } from '../../../src/loader/perf-buffer/cpu-watch.ts';
import { suite } from '../../harness.ts';
import { FakeSyscalls } from '../fake.ts';

const test = suite('loader/perf-buffer/cpu-watch');

const ONLINE = '/sys/devices/system/cpu/online';
const UEVENTS = '/sys/kernel/uevent_seqnum';

/** As much of a ring as is looked at. */
interface Clock {
  readonly cpu: number;
  /** Whether it goes on by itself. */
  goes: boolean;
  asked: number;
}

function ringOf(cpu: number): CpuRing & Clock {
  let time = 0n;
  const ring = {
    cpu,
    goes: true,
    asked: 0,
    clock() {
      ring.asked++;
      if (ring.goes) time++;
      return time;
    },
  };
  return ring as unknown as CpuRing & Clock;
}

function watching(online: string): { fake: FakeSyscalls; watch: CpuWatch; reads: string[] } {
  const fake = new FakeSyscalls();
  fake.files.set(ONLINE, online);
  fake.files.set(UEVENTS, '100');
  const watch = new CpuWatch(new Kernel(fake));
  const reads: string[] = [];
  const read = fake.readFile.bind(fake);
  fake.readFile = (path) => {
    reads.push(path);
    return read(path);
  };
  return { fake, watch, reads };
}

test('while nothing happens one file is read, and no CPU is asked', () => {
  const { watch, reads } = watching('0-1');
  const rings = [ringOf(0), ringOf(1)];
  assert.is(watch.look(rings), undefined);
  assert.equal(reads, [UEVENTS]);
  assert.equal(
    rings.map(({ asked }) => asked),
    [0, 0],
  );
});

test('a uevent of something else is nothing, and costs two looks', () => {
  const { fake, watch, reads } = watching('0-1');
  const rings = [ringOf(0), ringOf(1)];
  fake.files.set(UEVENTS, '101');
  for (let look = 0; look < 4; look++) assert.is(watch.look(rings), undefined);
  assert.equal(
    rings.map(({ asked }) => asked),
    [2, 2],
  );
  assert.is(reads.filter((path) => path === ONLINE).length, 2);
});

for (const uevents of [true, false])
  test(`CPUs that come and go are found ${uevents ? 'by a uevent' : 'by the list, where uevents are not counted'}`, () => {
    const { fake, watch } = watching('0-2');
    const rings = [ringOf(0), ringOf(1), ringOf(2)];
    if (!uevents) {
      fake.files.delete(UEVENTS);
      watch.look(rings);
    }
    if (uevents) fake.files.set(UEVENTS, '102');
    fake.files.set(ONLINE, '0,2-3');
    const before = performance.now();
    const news = watch.look(rings);
    assert.equal(news?.dead, [rings[1]]);
    assert.equal(news?.without, [3]);
    assert.ok((news?.since ?? Number.POSITIVE_INFINITY) <= before);
    assert.is(watch.look([rings[0] as CpuRing, rings[2] as CpuRing, ringOf(3)]), undefined);
  });

test('a CPU that was away between two looks is found by the clock of its ring, since the look before', () => {
  const { fake, watch } = watching('0-1');
  const [first, second] = [ringOf(0), ringOf(1)];
  watch.look([first, second]);
  const lastSeen = performance.now();
  fake.files.set(UEVENTS, '102');
  second.goes = false;
  assert.is(watch.look([first, second]), undefined, 'not known yet');
  const news = watch.look([first, second]);
  assert.equal(news?.dead, [second]);
  assert.equal(news?.without, [1]);
  assert.ok((news?.since ?? Number.POSITIVE_INFINITY) <= lastSeen);
});

test('uevents at each look hide nothing', () => {
  const { fake, watch } = watching('0-1');
  const [first, second] = [ringOf(0), ringOf(1)];
  const found: unknown[] = [];
  for (let look = 0; look < 5; look++) {
    fake.files.set(UEVENTS, String(200 + look));
    if (look === 2) second.goes = false;
    const news = watch.look([first, second]);
    if (news) found.push(look, news.dead.length);
    if (news) second.goes = true; // another ring in its place
  }
  assert.equal(found, [2, 1]);
});

test('a ring whose clock is unknown is taken to work', () => {
  const { fake, watch } = watching('0');
  const ring = { cpu: 0, clock: () => undefined } as unknown as CpuRing;
  fake.files.set(UEVENTS, '101');
  assert.is(watch.look([ring]), undefined);
  assert.is(watch.look([ring]), undefined);
});

test('a CPU that no ring can be had for is asked again when it was away', () => {
  const { fake, watch } = watching('0-1');
  const rings = [ringOf(0)];
  const looked = (online: string) => {
    fake.files.set(ONLINE, online);
    fake.files.set(UEVENTS, `${Number(fake.files.get(UEVENTS)) + 1}`);
    return watch.look(rings)?.without;
  };
  assert.equal(looked('0-1'), [1]);
  watch.giveUp(1);
  assert.is(looked('0-1'), undefined);
  assert.is(looked('0'), undefined);
  assert.equal(looked('0-1'), [1]);
});

test.run();
