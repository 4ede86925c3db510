/** Privileges after start: of the command, with every thread, and of the library's `dropPrivileges`. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { Kernel } from '../../src/loader/kernel.ts';
import { inGuest, needsRoot, sameOnEveryKernel, suite } from '../harness.ts';
import { connectHere, Server, until } from './connects.ts';
import { here, noProbeHere, PROBE_TYPES_HERE, Tracer } from './tracer.ts';

const test = suite('live/privileges', { seconds: 90 });

const folder = mkdtempSync(join(tmpdir(), 'privileges-'));
let server: Server;
test.before(async () => {
  server = await Server.start('127.0.0.1');
});
test.after(async () => {
  await server?.close();
  rmSync(folder, { recursive: true });
});

const LIBRARY = new URL('../../../dist/index.js', import.meta.url).href;

/** Fields of a status file in /proc. */
interface Status {
  readonly NoNewPrivs?: string;
  readonly Seccomp?: string;
  readonly CapEff?: string;
  readonly CapPrm?: string;
  readonly CapInh?: string;
}

function statusOf(path: string): Status {
  return Object.fromEntries(
    [...readFileSync(path, 'latin1').matchAll(/^(\w+):\t(.*)$/gm)].map(([, name, value]) => [name, value]),
  );
}

/** The threads of a process; the main thread has the number of the process. */
const threadsOf = (pid: number) => readdirSync(`/proc/${pid}/task`).map(Number);

/** The numbers of the capabilities in a mask, with their names. */
const NAMES: Readonly<Record<number, string>> = {
  ...{ 14: 'IPC_LOCK', 19: 'SYS_PTRACE', 21: 'SYS_ADMIN', 38: 'PERFMON', 39: 'BPF' },
};
const namesIn = (mask = '') =>
  Array.from({ length: 64 }, (_, bit) => bit)
    .filter((bit) => ((BigInt(`0x${mask}`) >> BigInt(bit)) & 1n) === 1n)
    .map((bit) => NAMES[bit] ?? `${bit}`);

const kernel = new Kernel();
/** CPUs that can come online need privileges. */
const cpusCanComeOnline = !needsRoot && kernel.possibleCpus.length > kernel.onlineCpus.length;
const FOR_CPUS = !cpusCanComeOnline
  ? []
  : ['IPC_LOCK', (kernel.perfParanoid ?? 0) > 2 ? 'SYS_ADMIN' : 'PERFMON'];
const expected = (...more: string[]) => ['BPF', ...FOR_CPUS, ...more].sort();

// What --who adds does not depend on the probe, so guests run it with one.
for (const probe of PROBE_TYPES_HERE)
  for (const [args, capabilities] of [
    [[], expected()],
    [['--who'], expected('SYS_PTRACE')],
  ] as const)
    test.skipIf(
      probe !== PROBE_TYPES_HERE[0] && args.length > 0 && sameOnEveryKernel,
      `${probe} ${args.join()}: every thread has the filter, and the main thread ${capabilities.join()}`,
      async () => {
        const tracer = await Tracer.start(['--probe', probe, ...args]);
        const status = () => statusOf(`/proc/${tracer.pid}/status`);
        // Soon after the header, and capabilities last.
        await tracer.until(
          'dropped capabilities',
          () => namesIn(status().CapEff).length === capabilities.length,
        );
        const threads = threadsOf(tracer.pid);
        assert.ok(threads.length > 3, threads.join());
        for (const thread of threads) {
          const { NoNewPrivs, Seccomp } = statusOf(`/proc/${tracer.pid}/task/${thread}/status`);
          assert.equal({ NoNewPrivs, Seccomp }, { NoNewPrivs: '1', Seccomp: '2' }, `thread ${thread}`);
        }
        const { CapEff, CapPrm, CapInh } = status();
        assert.equal(namesIn(CapEff).sort(), capabilities);
        assert.is(CapPrm, CapEff);
        assert.equal(namesIn(CapInh), []);
        const { localPort } = await connectHere(server.port);
        assert.ok(localPort > 0);
        await tracer.until('the connect', () =>
          tracer.rows().some(({ DPORT }) => Number(DPORT) === server.port),
        );
        assert.equal(await tracer.stop('SIGINT'), { code: 0, signal: null });
        assert.match(tracer.summary, /^\d+ connects? shown/, 'the final counters');
        assert.not.match(tracer.stderr, /EPERM|privileges/);
      },
    );

test.skipIf(noProbeHere, '-v says what is denied and which capabilities are kept', async () => {
  const tracer = await Tracer.start(['-v']);
  const perf = cpusCanComeOnline ? '' : 'perf events, ';
  assert.ok(
    tracer.stdout.includes(
      `\nseccomp: denies new programs, maps, ${perf}child processes, mounts, modules (all threads)\n` +
        'capabilities kept: CAP_BPF (map access)',
    ),
    tracer.stdout.slice(-600),
  );
  await tracer.stop();
});

test.skipIf(
  noProbeHere,
  'without seccomp(2) the command traces, drops capabilities, and -v says why',
  async () => {
    // A filter of a container: seccomp(2) with a new filter fails with EPERM for the command.
    const forbids = join(folder, 'forbids.mjs');
    writeFileSync(
      forbids,
      `import { assembleClassic, BPF_JUMP, BPF_STMT } from '${new URL('../../../dist/asm.js', import.meta.url).href}';
    import { Kernel, systemCallNumber, target } from '${LIBRARY}';
    const { syscalls } = new Kernel();
    const filter = assembleClassic([
      BPF_STMT(0x20, 0), // the number
      BPF_JUMP(0x15, systemCallNumber(target(process.arch), 'seccomp'), 'deny'),
      BPF_STMT(0x06, 0x7fff0000),
      { label: 'deny' },
      BPF_STMT(0x06, 0x00050001),
    ]);
    const program = new DataView(new ArrayBuffer(16));
    program.setUint16(0, filter.length / 8, true);
    program.setBigUint64(8, syscalls.address(filter), true);
    syscalls.noNewPrivileges();
    if (syscalls.seccomp(1, 1, syscalls.address(new Uint8Array(program.buffer))) !== 0) process.exit(9);
    process.argv.splice(1, 1);
    await import('node:child_process').then(({ spawn }) => {
      const child = spawn(process.argv[1], process.argv.slice(2), { stdio: 'inherit' });
      for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
      child.on('exit', (code) => process.exit(code));
    });`,
    );
    const tracer = await Tracer.start(['-v'], { under: [process.execPath, forbids] });
    assert.match(
      tracer.stdout,
      /^seccomp: no filter: cannot install a seccomp filter: seccomp\(SECCOMP_SET_MODE_FILTER\): EPERM .*: a container or a security module forbids it$/m,
    );
    assert.match(tracer.stdout, /^capabilities kept: CAP_BPF/m);
    assert.equal(await tracer.stop('SIGINT'), { code: 0, signal: null });
  },
);

/** Runs a module that uses the library in a process of its own. Returns what it prints as JSON. */
function inProcess(source: string, under: readonly string[] = []): Record<string, unknown> {
  const file = join(folder, 'tool.mjs');
  writeFileSync(file, `import * as t from '${LIBRARY}';\n${source}`);
  const [command = '', ...words] = [...under, process.execPath, file];
  const { stdout, stderr, status } = spawnSync(command, words, { encoding: 'utf8' });
  assert.is(status, 0, stderr);
  return JSON.parse(stdout);
}

test.skipIf(needsRoot, 'after dropPrivileges new programs fail, and everything that runs continues', () => {
  const result = inProcess(`
    import { spawnSync } from 'node:child_process';
    import { readFile } from 'node:fs/promises';
    import { lookup } from 'node:dns/promises';
    import { Worker } from 'node:worker_threads';
    const kernel = new t.Kernel();
    const counts = t.hash('counts', { key: t.u32, value: t.u64, maxEntries: 64 });
    const events = t.perfEventArray('events', t.struct({ ns: t.u64 }));
    const program = () => t.rawTracepoint('task_rename', t.target(process.arch), (b) => {
      b.keep(b.context);
      b.count(counts, 0);
      const event = b.stack(events.event);
      event.set(0);
      b.output(events, event);
    });
    let seen = 0;
    const tool = { name: 'tool', programs: [program()], events };
    const session = t.Session.open(tool, { kernel, onEvent: () => seen++ });
    const { filterError, capabilityError, perfEvents } = t.dropPrivileges(kernel);
    const errorOf = async (work) => {
      try { await work(); return 'none'; } catch (error) { return error.code + ' ' + error.message; }
    };
    const map = t.array('other', { value: t.u64, maxEntries: 1 });
    const out = {
      errors: [filterError, capabilityError].map((error) => error?.message ?? 'none'),
      perfEvents,
      load: await errorOf(() => session.load(program())),
      map: await errorOf(() => t.BpfMap.create(kernel, map)),
      again: await errorOf(() => t.Session.open(tool, { kernel, onEvent: () => {} })),
      perf: kernel.syscalls.perfEventOpen(new Uint8Array(new ArrayBuffer(64)), -1, 0, -1, 0),
      // BPF_BTF_LOAD
      btf: kernel.syscalls.bpf(18, new Uint8Array(new ArrayBuffer(32))),
      child: spawnSync('/bin/true').error?.code ?? 'none',
      worker: await new Promise((resolve, reject) => {
        const worker = new Worker(\`
          import('\${'${LIBRARY}'}').then(({ Kernel }) => {
            const { syscalls } = new Kernel();
            const attr = new Uint8Array(new ArrayBuffer(128));
            const name = 'worker-' + process.pid;
            require('node:worker_threads').parentPort.postMessage([syscalls.bpf(5, attr), syscalls.bpf(0, attr)]);
          })\`, { eval: true });
        worker.on('message', resolve).on('error', reject);
      }),
      pool: (await readFile('/proc/self/comm', 'utf8')).trim(),
      dns: (await lookup('127.0.0.1')).address,
    };
    // Renames threads, which the program counts: process.title sets the name of the main thread.
    for (let i = 0; i < 5000; i++) process.title = 'title' + i;
    out.rows = [...session.map(counts).entries()].map(([key, value]) => [key, Number(value)]);
    session.detach();
    out.seen = seen + session.lost;
    out.missed = session.missedRuns().counted;
    out.final = [...session.map(counts).entries()].map(([, value]) => Number(value));
    session.close();
    console.log(JSON.stringify(out));
  `);
  const denied =
    /^ERR_NOT_PERMITTED cannot .*EPERM .*: this process has dropped its privileges \(dropPrivileges\)/;
  assert.equal(result.errors, ['none', 'none']);
  assert.is(result.perfEvents, cpusCanComeOnline);
  for (const each of ['load', 'map', 'again']) assert.match(result[each] as string, denied, each);
  assert.is(result.perf === -1, !cpusCanComeOnline, 'perf_event_open');
  assert.is(result.btf, -1);
  assert.is(result.child, 'EPERM');
  assert.equal(result.worker, [-1, -1], 'a thread that started later');
  assert.is(result.dns, '127.0.0.1');
  const [final] = result.final as number[];
  assert.ok((final as number) >= 5000 - (result.missed as number), JSON.stringify(result));
  assert.is(result.seen, final, 'events and counts agree after a burst');
});

test.skipIf(
  noProbeHere,
  'the command cannot load programs, but loads modules late; with --keep-privileges it can',
  async () => {
    const attempt = join(folder, 'attempt.cjs');
    writeFileSync(
      attempt,
      `process.on('SIGUSR2', () => import('${LIBRARY}').then(({ array, BpfMap, Kernel, rawTracepoint, Session, target, u64 }) => {
      const write = (text) => require('node:fs').writeSync(2, text);
      for (const work of [
        () => Session.open({ name: 'x', programs: [rawTracepoint('sys_enter', target(process.arch), () => {})] }).close(),
        () => BpfMap.create(new Kernel(), array('x', { value: u64, maxEntries: 1 })).close(),
        () => require('node:child_process').execFileSync('/bin/true'),
      ])
        try { work(); write('attempt: worked\\n'); } catch (error) { write('attempt: ' + error.message + '\\n'); }
    }));`,
    );
    const attempts = async (args: readonly string[], check: (tracer: Tracer) => void = () => {}) => {
      const tracer = await Tracer.start(args, { under: ['env', `NODE_OPTIONS=--require=${attempt}`] });
      check(tracer);
      tracer.child.kill('SIGUSR2');
      await tracer.until('three attempts', () => tracer.stderr.match(/^attempt: .*\n/gm)?.length === 3);
      assert.equal(await tracer.stop('SIGINT'), { code: 0, signal: null });
      return tracer.stderr.match(/^attempt: .*$/gm) as string[];
    };
    const [load = '', map = '', child = ''] = await attempts([]);
    assert.match(load, /bpf\(BPF_PROG_LOAD\): EPERM/);
    assert.match(map, /bpf\(BPF_MAP_CREATE\): EPERM/);
    assert.match(child, /EPERM/);
    // With --keep-privileges it keeps all capabilities, without a filter.
    const all = await attempts(['--keep-privileges', '-v'], (tracer) => {
      const { CapEff, NoNewPrivs, Seccomp } = statusOf(`/proc/${tracer.pid}/status`);
      const own = statusOf('/proc/self/status');
      assert.equal([CapEff, NoNewPrivs, Seccomp], [own.CapEff, own.NoNewPrivs, own.Seccomp]);
      assert.match(tracer.stdout, /^privileges: all kept \(--keep-privileges\)$/m);
    });
    assert.equal(all, Array(3).fill('attempt: worked'));
  },
);

test.skipIf(noProbeHere, 'under load, with --record and -v, every connect is shown or counted', async () => {
  const file = join(folder, 'load.jsonl');
  const tracer = await Tracer.start(['--record', file, '--who', '--port', String(server.port)]);
  const perfEvents = readdirSync(`/proc/${tracer.pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${tracer.pid}/fd/${fd}`) === 'anon_inode:[perf_event]';
    } catch {
      return false;
    }
  });
  assert.ok(perfEvents.length >= 2 * here.onlineCpus.length, 'two events for each CPU, opened at the start');
  const made = inGuest ? 400 : 6000;
  for (let i = 0; i < made; i += 100)
    await Promise.all(Array.from({ length: 100 }, () => connectHere(server.port)));
  await until('the lines', () => tracer.lines().length > made / 2);
  assert.equal(await tracer.stop('SIGINT'), { code: 0, signal: null });
  const shown = Number(/^(\d+) connects? shown/.exec(tracer.summary)?.[1]);
  const dropped = [...tracer.stderr.matchAll(/^tcpconnlat: total: (\d+) events lost/gm)];
  const lost = dropped.reduce((sum, [, count]) => sum + Number(count), 0);
  assert.is(shown + lost + tracer.skipped >= made && shown <= made, true, tracer.stderr);
  assert.is(readFileSync(file, 'utf8').split('\n').length, shown + 2, 'the recording is complete');
});

/**
 * A namespace whose /proc hides the processes of other users, except from members of a group. A new mount,
 * because a remount would change /proc everywhere.
 */
const HIDEPID = [
  'unshare',
  '--mount',
  'sh',
  '-c',
  'mount -t proc -o hidepid=2,gid=54321 proc /proc && exec "$@"',
  'sh',
];
const [unshare = '', ...inNamespace] = HIDEPID;
const noHidepid =
  needsRoot || (spawnSync(unshare, [...inNamespace, 'true']).status !== 0 && 'mounting /proc is refused');

test.skipIf(noHidepid, '--who needs the capability that it keeps, if /proc hides processes', () => {
  const other = spawn('sleep', ['60'], { uid: 54_321, gid: 54_322 });
  const readsAfter = (keep: string) =>
    inProcess(
      `import { readFileSync } from 'node:fs';
      const { capabilityError } = t.dropPrivileges(new t.Kernel(), { keep: [${keep}] });
      if (capabilityError) throw capabilityError;
      let works = true;
      try { readFileSync('/proc/${other.pid}/cgroup'); } catch { works = false; }
      console.log(JSON.stringify({ works }));`,
      HIDEPID,
    ).works;
  try {
    assert.is(readsAfter(''), false);
    assert.is(readsAfter("'CAP_SYS_PTRACE'"), true);
  } finally {
    other.kill();
  }
});

test.run();
