import * as assert from 'uvu/assert';
import { Kernel } from '../../../src/loader/kernel.ts';
import type { CpuRing } from '../../../src/loader/perf-buffer/cpu-ring.ts';
import { CpuWatch } from '../../../src/loader/perf-buffer/cpu-watch.ts';
import { suite } from '../../harness.ts';
import { FakeSyscalls } from '../fake.ts';

const test = suite('loader/perf-buffer/cpu-watch');

const ONLINE = '/sys/devices/system/cpu/online';
const UEVENTS = '/sys/kernel/uevent_seqnum';

/** The part of a ring that a check reads. */
interface FakeTime {
  readonly cpu: number;
  /** Whether its active time increases. */
  increases: boolean;
  asked: number;
}

function ringOf(cpu: number): CpuRing & FakeTime {
  let time = 0n;
  const ring = {
    cpu,
    increases: true,
    asked: 0,
    activeTime() {
      ring.asked++;
      if (ring.increases) time++;
      return time;
    },
  };
  return ring as unknown as CpuRing & FakeTime;
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

test('without a uevent a check reads one file, and no counter of a ring', () => {
  const { watch, reads } = watching('0-1');
  const rings = [ringOf(0), ringOf(1)];
  assert.is(watch.check(rings), undefined);
  assert.equal(reads, [UEVENTS]);
  assert.equal(
    rings.map(({ asked }) => asked),
    [0, 0],
  );
});

test('another uevent changes nothing, and makes two checks read more', () => {
  const { fake, watch, reads } = watching('0-1');
  const rings = [ringOf(0), ringOf(1)];
  fake.files.set(UEVENTS, '101');
  for (let checks = 0; checks < 4; checks++) assert.is(watch.check(rings), undefined);
  assert.equal(
    rings.map(({ asked }) => asked),
    [2, 2],
  );
  assert.is(reads.filter((path) => path === ONLINE).length, 2);
});

for (const uevents of [true, false])
  test(`offline and online CPUs are found ${uevents ? 'by a uevent' : 'by the list of CPUs, without uevents'}`, () => {
    const { fake, watch } = watching('0-2');
    const rings = [ringOf(0), ringOf(1), ringOf(2)];
    if (!uevents) {
      fake.files.delete(UEVENTS);
      watch.check(rings);
    }
    if (uevents) fake.files.set(UEVENTS, '102');
    fake.files.set(ONLINE, '0,2-3');
    const before = performance.now();
    const changes = watch.check(rings);
    assert.equal(changes?.dead, [rings[1]]);
    assert.equal(changes?.withoutRing, [3]);
    assert.ok((changes?.since ?? Number.POSITIVE_INFINITY) <= before);
    assert.is(watch.check([rings[0] as CpuRing, rings[2] as CpuRing, ringOf(3)]), undefined);
  });

test('a CPU that was offline between two checks is found by the active time of its ring', () => {
  const { fake, watch } = watching('0-1');
  const [first, second] = [ringOf(0), ringOf(1)];
  watch.check([first, second]);
  const lastSeen = performance.now();
  fake.files.set(UEVENTS, '102');
  second.increases = false;
  assert.is(watch.check([first, second]), undefined, 'not known before the next check');
  const changes = watch.check([first, second]);
  assert.equal(changes?.dead, [second]);
  assert.equal(changes?.withoutRing, [1]);
  assert.ok((changes?.since ?? Number.POSITIVE_INFINITY) <= lastSeen);
});

test('uevents before every check hide no change', () => {
  const { fake, watch } = watching('0-1');
  const [first, second] = [ringOf(0), ringOf(1)];
  const found: unknown[] = [];
  for (let look = 0; look < 5; look++) {
    fake.files.set(UEVENTS, String(200 + look));
    if (look === 2) second.increases = false;
    const changes = watch.check([first, second]);
    if (changes) found.push(look, changes.dead.length);
    if (changes) second.increases = true; // another ring in its place
  }
  assert.equal(found, [2, 1]);
});

test('a ring whose active time is unknown counts as working', () => {
  const { fake, watch } = watching('0');
  const ring = { cpu: 0, activeTime: () => undefined } as unknown as CpuRing;
  fake.files.set(UEVENTS, '101');
  assert.is(watch.check([ring]), undefined);
  assert.is(watch.check([ring]), undefined);
});

test('an excluded CPU is listed again after it was offline', () => {
  const { fake, watch } = watching('0-1');
  const rings = [ringOf(0)];
  const looked = (online: string) => {
    fake.files.set(ONLINE, online);
    fake.files.set(UEVENTS, `${Number(fake.files.get(UEVENTS)) + 1}`);
    return watch.check(rings)?.withoutRing;
  };
  assert.equal(looked('0-1'), [1]);
  watch.exclude(1);
  assert.is(looked('0-1'), undefined);
  assert.is(looked('0'), undefined);
  assert.equal(looked('0-1'), [1]);
});

test.run();
