/** What the command says of connects that end in every way there is, by every way this kernel can be watched. */
import * as assert from 'uvu/assert';
import type { ConnectRecord } from '../../src/cli/record.ts';
import type { Way } from '../../src/programs/tcpconnlat.ts';
import { needsRoot, suite } from '../harness.ts';
import { Server } from './connects.ts';
import { CASES, type Case, type Expected, type Made, noStage, Stage } from './outcomes.ts';
import { refusalOf, Tracer, WAYS } from './tracer.ts';

const notHere = needsRoot || noStage();

/** What a way should say of a case. */
function expectedBy(way: Way, { expected, byRecord }: Case): Expected {
  if (way !== 'trace_event' || expected.result === 'established') return expected;
  return byRecord ?? { result: 'failed' };
}

for (const way of WAYS) {
  const refusal = notHere || refusalOf(way);
  const test = suite(`live/outcome ${way}`, { seconds: 90 });
  const seesUnrouted = way === 'kprobe' || way === 'fentry';
  const made = new Map<Case, Made>();
  let stage: Stage;
  let beacon: Server;
  let tracer: Tracer;
  let failures: Tracer;

  test.before(async () => {
    if (refusal) return;
    [stage, beacon] = await Promise.all([Stage.open(), Server.start('127.0.0.1')]);
    [tracer, failures] = await Promise.all([
      Tracer.startJson(['--probe', way, '--outcome'], beacon, '127.0.0.1'),
      Tracer.start(['--probe', way, '--failed']),
    ]);
    for (const each of CASES) if (!each.skip) made.set(each, await each.make(stage));
  });
  test.after(async () => {
    for (const each of [tracer, failures]) each?.child.kill('SIGKILL');
    await Promise.all([stage?.close(), beacon?.close()]);
  });

  const shown = ({ pid, to }: Made): ConnectRecord[] =>
    tracer
      .records()
      .filter(({ pid: by, daddr, dport }) => by === pid && dport === to.port && daddr === to.address);
  const isShown = ({ unrouted }: Case) => seesUnrouted || !unrouted;

  for (const each of CASES.filter(isShown))
    test.skipIf(refusal || each.skip, each.title, async () => {
      const attempt = made.get(each) as Made;
      const [record] = await tracer.until(each.title, () => {
        const records = shown(attempt);
        return records.length > 0 ? records : undefined;
      });
      assert.ok(record);
      const { result = '', errno, retransmits, daddr, ip, lat_ms } = record;
      assert.equal({ result, errno }, { errno: undefined, ...expectedBy(way, each) });
      assert.equal([daddr, ip], [attempt.to.address, attempt.to.address.includes(':') ? 6 : 4]);
      if (way === 'trace_event') assert.is(retransmits, undefined);
      else assert.ok((retransmits ?? -1) >= (each.resent ? 1 : 0), `sent again ${retransmits} times`);
      if (each.resent) assert.ok(lat_ms > 900, `${lat_ms} ms`);
    });

  test.skipIf(refusal, 'each connect is one line, and those that are not seen none', async () => {
    await stage.near.ask('connect', {
      address: '127.0.0.1',
      port: await stage.near.ask('closedPort', '127.0.0.1'),
    });
    for (const [each, attempt] of made)
      assert.is(
        shown(attempt).length,
        isShown(each) ? 1 : 0,
        `${each.title}: ${JSON.stringify(shown(attempt))}`,
      );
  });

  test.skipIf(refusal, '--failed shows those that failed and no others', async () => {
    const failed = [...made].filter(([each]) => isShown(each) && each.expected.result !== 'established');
    const rows = () =>
      failures.rows().map(({ PID, DADDR, DPORT, RESULT }) => [PID, DADDR, DPORT, RESULT].join(' '));
    const wanted = failed.map(([each, { pid, to }]) =>
      [pid, to.address, to.port, expectedBy(way, each).result].join(' '),
    );
    await failures.until('the last of them', () => wanted.every((line) => rows().includes(line)));
    assert.equal(await failures.stop(), { code: 0, signal: null });
    assert.not.ok(rows().some((line) => line.endsWith('established')));
    assert.is(rows().length, new Set(rows()).size);
  });

  test.skipIf(refusal, 'what this way cannot see is said once', async () => {
    assert.equal(await tracer.stop(), { code: 0, signal: null });
    const unrouted = 'tcpconnlat: connects that find no route are not seen .*\\n';
    const errors = 'tcpconnlat: why connects fail is not known: .*\\n';
    const notices = seesUnrouted ? '' : way === 'trace_event' ? errors + unrouted : unrouted;
    for (const { stderr } of [tracer, failures]) assert.match(stderr, new RegExp(`^${notices}$`));
  });

  test.run();
}
