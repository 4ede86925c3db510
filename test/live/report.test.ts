/** Reports of live runs: what they have, whatever the lines show. */
import { spawnSync } from 'node:child_process';
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { ReportData } from '../../src/cli/report/data.ts';
import { needsRoot, sameOnEveryKernel, slowness, suite } from '../harness.ts';
import { withDisk } from '../small-disk.ts';
import { loopback, Peer, Server } from './connects.ts';
import { COMMAND, noProbeHere, PROBE_TYPES_HERE, Tracer } from './tracer.ts';

const test = suite('live/report', { seconds: 60 });

let folder = '';
let server: Server;
let peer: Peer;
test.before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tsbpf-report-'));
  server = await Server.start('127.0.0.1');
  peer = await Peer.start();
});
test.after(async () => {
  await peer.stop();
  await server.close();
  rmSync(folder, { recursive: true });
});

function dataOf(file: string): ReportData {
  const [, json = ''] =
    /<script type="application\/json" id="data">([^<]*)<\/script>/.exec(readFileSync(file, 'utf8')) ?? [];
  return JSON.parse(json);
}

const [probe = 'kprobe'] = PROBE_TYPES_HERE;
/** trace_event does not tell refused connects from others that failed. */
const refused = probe === 'trace_event' ? 'failed' : 'refused';

test.skipIf(
  noProbeHere,
  'a report has failures that the lines do not show, and so has its recording',
  async () => {
    const [html, recording] = [join(folder, 'all.html'), join(folder, 'all.jsonl')];
    const options = ['--report', html, '--record', recording, '--who'];
    const before = Date.now();
    const tracer = await Tracer.start(['-p', String(peer.pid), '--probe', probe, ...options]);
    for (let i = 0; i < 3; i++) await peer.ask('connect', loopback(server.port));
    const closed = await peer.ask('closedPort', '127.0.0.1');
    await peer.ask('connect', loopback(closed));
    await tracer.until('four connects', () => readFileSync(recording, 'utf8').split('\n').length >= 6);
    assert.equal(await tracer.stop(), { code: 0, signal: null });

    const data = dataOf(html);
    const totals = data.results.map(({ name, counts }) => [name, counts.reduce((a, b) => a + b, 0)]);
    assert.equal(totals, [
      ['established', 3],
      [refused, 1],
    ]);
    assert.equal(
      data.destinations.map(({ address, port, connects, failures }) => [
        `${address}:${port}`,
        connects,
        failures,
      ]),
      [
        [`127.0.0.1:${server.port}`, 3, {}],
        [`127.0.0.1:${closed}`, 1, { [refused]: 1 }],
      ],
    );
    assert.is(data.failed[0]?.pid, peer.pid);
    assert.match(data.failed[0]?.exe ?? '', /node/);
    for (const { timeMs } of [...data.slowest, ...data.failed])
      assert.ok(timeMs >= before - 1000 && timeMs <= Date.now() + 1000, new Date(timeMs).toISOString());
    assert.is(statSync(html).mode & 0o777, 0o600);
    assert.match(tracer.stderr, /report: \S+all\.html \(4 connects, \d+ KiB\)/);

    const lines = readFileSync(recording, 'utf8').trim().split('\n');
    const results = lines.slice(1).map((line) => JSON.parse(line).result);
    assert.equal(results.sort(), ['established', 'established', 'established', refused].sort());
  },
);

/** The summary of a run that makes a report. */
async function summaryOf(...options: string[]): Promise<string> {
  const html = join(folder, 'summary.html');
  const tracer = await Tracer.start(['-p', String(peer.pid), '--probe', probe, '--report', html, ...options]);
  await peer.ask('connect', loopback(server.port));
  await peer.ask('connect', loopback(await peer.ask('closedPort', '127.0.0.1')));
  await peer.ask('connect', loopback(server.port));
  const shown = options.includes('--failed') ? 1 : 2;
  await tracer.until('the lines', () => tracer.stdout.split('\n').length > shown + 1);
  await tracer.stop();
  return tracer.stderr;
}

test.skipIf(
  noProbeHere || sameOnEveryKernel,
  'the lines are those without a report, and the summary counts the others',
  async () => {
    if (probe === 'trace_event') assert.match(await summaryOf(), /2 connects shown\n +1 failed, not shown/);
    else assert.match(await summaryOf(), /3 connects shown\n/);
    assert.match(
      await summaryOf('--failed'),
      /1 failed connect shown\n +3 ended: 2 established, 1 (refused|failed)\n/,
    );
  },
);

test.skipIf(
  needsRoot,
  'a report in the folder of a user is written after privileges are dropped',
  async () => {
    const home = join(folder, 'home');
    mkdirSync(home, { mode: 0o700 });
    chownSync(home, 12_345, 12_345);
    const html = join(home, 'report.html');
    const tracer = await Tracer.start(['-v', '--probe', probe, '--report', html]);
    await tracer.stop();
    assert.match(tracer.stdout, /^capabilities kept: .*CAP_DAC_OVERRIDE/m);
    assert.ok(existsSync(html), tracer.stderr);
  },
);

test.skipIf(
  needsRoot || sameOnEveryKernel,
  'a report elsewhere needs no capability to be written',
  async () => {
    const tracer = await Tracer.start(['-v', '--probe', 'tracepoint', '--report', join(folder, 'own.html')]);
    await tracer.stop();
    assert.not.match(tracer.stdout, /^capabilities kept: .*CAP_DAC_OVERRIDE/m);
    assert.ok(existsSync(join(folder, 'own.html')), tracer.stderr);
  },
);

test.skipIf(needsRoot || sameOnEveryKernel, 'a run that cannot trace leaves an older report', () => {
  const html = join(folder, 'older.html');
  writeFileSync(html, 'old');
  const args = [COMMAND, '--report', html, '--btf', '/dev/null'];
  const { status } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 20_000 * slowness });
  assert.ok(status !== 0);
  assert.is(readFileSync(html, 'utf8'), 'old');
});

test.skipIf(
  noProbeHere || sameOnEveryKernel,
  'a full disk at the end gives one line, and leaves an older report',
  async () => {
    await withDisk(folder, 'size=32k', async (disk) => {
      const html = join(disk, 'report.html');
      writeFileSync(html, 'old');
      const tracer = await Tracer.start(['-q', '--probe', probe, '--report', html]);
      assert.equal(await tracer.stop(), { code: 1, signal: null });
      assert.match(
        tracer.stderr,
        /^tcpconnlat: cannot write the report \S+: ENOSPC: no space left on device$/m,
      );
      assert.is(readFileSync(html, 'utf8'), 'old');
      assert.equal(readdirSync(disk), ['report.html']);
    });
  },
);

test.run();
