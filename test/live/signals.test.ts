/** Loading programs while signals arrive. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import * as assert from 'uvu/assert';
import { needsRoot, sameOnEveryKernel, suite } from '../harness.ts';

const test = suite('live/signals', { seconds: 120 });

const file = (path: string) => new URL(path + extname(import.meta.url), import.meta.url).href;

/** A script that loads a loop whose verification takes long enough for a profiler's signals to arrive. */
const LOAD = `
  const { Kernel } = await import('${file('../../src/loader/kernel')}');
  const { loadProgram } = await import('${file('../../src/loader/load')}');
  const { assemble } = await import('${file('../../src/asm/assemble')}');
  const { add, exit, jlt, label, mov } = await import('${file('../../src/asm/constructors')}');
  const { r0, r6, r7 } = await import('${file('../../src/asm/registers')}');
  const instructions = [
    mov(r6, 0), label('top'), add(r6, 1), mov(r7, r6), add(r7, 3), jlt(r6, 200_000, 'top'), mov(r0, 0), exit(),
  ];
  const attachment = { kind: 'raw_tracepoint', tracepoint: 'sys_enter' };
  const load = () =>
    loadProgram(new Kernel(), { name: 'slow', attachment, instructions }, assemble(instructions), new Map()).close();
`;

/**
 * Runs a script under Node with these options in an empty folder; returns its output and the files it
 * created.
 */
function run(
  options: readonly string[],
  script: string,
): { readonly output: string; readonly files: string[] } {
  const folder = mkdtempSync(join(tmpdir(), 'tsbpf-'));
  try {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [...options, '--input-type=module', '-e', LOAD + script],
      { cwd: folder, encoding: 'utf8' },
    );
    assert.is(stderr, '');
    assert.is(status, 0);
    return { output: stdout, files: readdirSync(folder) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

for (const interval of [1000, 200])
  test.skipIf(
    needsRoot || sameOnEveryKernel,
    `programs load under node --cpu-prof with an interval of ${interval} us`,
    () => {
      const { output, files } = run(
        ['--cpu-prof', `--cpu-prof-interval=${interval}`],
        `
          const before = (await import('node:fs')).readFileSync('/proc/thread-self/status', 'utf8').match(/^SigBlk.*$/m)[0];
          load();
          const after = (await import('node:fs')).readFileSync('/proc/thread-self/status', 'utf8').match(/^SigBlk.*$/m)[0];
          console.log('loaded', before === after);
        `,
      );
      assert.is(output, 'loaded true\n');
      assert.is(files.filter((name) => name.endsWith('.cpuprofile')).length, 1, 'Node wrote the profile');
    },
  );

test.skipIf(
  needsRoot || sameOnEveryKernel,
  'a load that signals interrupt is retried until it succeeds',
  () => {
    // Each signal interrupts an attempt; the attempt after them succeeds.
    const { output } = run(
      [],
      `
        const { spawn } = await import('node:child_process');
        process.on('SIGUSR2', () => {});
        const sender = spawn('sh', ['-c', 'for i in 1 2 3 4 5; do kill -USR2 ' + process.pid + '; sleep 0.02; done; echo'], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        load();
        await new Promise((resolve) => sender.on('exit', resolve));
        console.log('loaded');
      `,
    );
    assert.is(output, 'loaded\n');
  },
);

test.skipIf(
  needsRoot || sameOnEveryKernel,
  'if signals keep interrupting a load, the error says so and does not mention the verifier',
  () => {
    // An interval timer, like that of profilers which do not use SIGPROF. The script handles SIGALRM, which
    // would end Node otherwise.
    const { output } = run(
      [],
      `
        const { createRequire } = await import('node:module');
        const koffi = createRequire('${file('../../src/loader/koffi')}')('koffi');
        const libc = koffi.load(null);
        const setitimer = libc.func('int setitimer(int which, void *value, void *old)');
        const every = (us) => setitimer(0, new Uint8Array(new BigInt64Array([0n, us, 0n, us]).buffer), null);
        process.on('SIGALRM', () => {});
        every(500n);
        let error;
        try {
          load();
        } catch (thrown) {
          error = thrown;
        }
        every(0n);
        console.log(error.constructor.name, error.errnoName, error.message);
      `,
    );
    assert.match(
      output,
      /^KernelError EAGAIN cannot load the program 'slow': bpf\(BPF_PROG_LOAD\): EAGAIN \(try again\): signals interrupt [^\n]*\n$/,
    );
    assert.not.match(output, /verifier/);
  },
);

test.run();
