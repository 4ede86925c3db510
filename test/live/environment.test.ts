import * as assert from 'uvu/assert';
import { missing } from '../cli/terminal.ts';
import { sameOnEveryKernel, suite } from '../harness.ts';
import { connectHere, Server } from './connects.ts';
import { noProbeHere, Tracer } from './tracer.ts';

const test = suite('live/environment', { seconds: 120 });

const skip = noProbeHere || sameOnEveryKernel;
const OWN = ['-p', String(process.pid)];

test.skipIf(skip, 'if Node may not generate code, one line is printed and the status is 1', async () => {
  const tracer = Tracer.run(OWN, { under: ['env', 'NODE_OPTIONS=--disallow-code-generation-from-strings'] });
  assert.equal(await tracer.ended(), { code: 1, signal: null });
  assert.match(
    tracer.stderr,
    /^tcpconnlat: Code generation .* remove --disallow-code-generation-from-strings .*\n$/,
  );
});

test.skipIf(skip, '1.5 GiB of address space suffice; 800 MiB are reported in one line', async () => {
  const under = (mib: number) => ({ under: ['sh', '-c', `ulimit -v ${mib * 1024} && exec "$@"`, 'sh'] });
  const enough = await Tracer.start(OWN, under(1536));
  assert.equal([await enough.stop(), enough.warnings], [{ code: 0, signal: null }, '']);
  const little = Tracer.run(OWN, under(800));
  assert.equal(await little.ended(), { code: 1, signal: null });
  assert.match(
    little.stderr,
    /^tcpconnlat: .*too little address space: .* the limit is 819200; .*ulimit -v unlimited.*\n$/,
  );
});

const WITHOUT_PROC = ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs none /proc && exec "$@"', 'sh'];

test.skipIf(skip || missing('tracing works without /proc'), 'it traces without /proc', async () => {
  const server = await Server.start('127.0.0.1');
  try {
    const tracer = await Tracer.start(OWN, { under: WITHOUT_PROC });
    await connectHere(server.port);
    await tracer.until('the connect', () => tracer.rows().length === 1);
    assert.equal([await tracer.stop(), tracer.warnings], [{ code: 0, signal: null }, '']);
  } finally {
    await server.close();
  }
});

test.skipIf(
  skip || missing('a recording without /proc fails with one line'),
  'a recording without /proc is refused in one line',
  async () => {
    const tracer = Tracer.run([...OWN, '--record', '/tmp/no-such-recording'], { under: WITHOUT_PROC });
    assert.equal(await tracer.ended(), { code: 1, signal: null });
    assert.match(
      tracer.stderr,
      /^tcpconnlat: cannot write the recording .*: this needs \/proc, .*mount -t proc proc \/proc\n$/,
    );
  },
);

test.run();
