/** Stacks with the names of functions: of the kernel, of programs, of libraries and of JavaScript. */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';
import { getCurrentPidTgid } from '../../src/asm/helpers.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import { s32, struct, u32 } from '../../src/asm/layout.ts';
import { globals } from '../../src/asm/map.ts';
import { stackTrace } from '../../src/asm/stack-trace.ts';
import { target } from '../../src/asm/target.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { Session } from '../../src/loader/session.ts';
import { frameText, type StackFrame, Symbolizer } from '../../src/loader/symbolizer.ts';
import { needsRoot, slowness, suite } from '../harness.ts';

const test = suite('live/symbols', { seconds: 60 });

const kernel = new Kernel();
const stacks = stackTrace('stacks', { maxEntries: 1_024 });
const ids = globals('ids', struct({ kernel: s32, user: s32, pid: u32 }));

/** Stores the stacks of each system call of the process `ids.pid`. */
const onCall = () =>
  rawTracepoint('sys_enter', target(process.arch, kernel.btf), (b) => {
    b.keep(b.context);
    const pid = b.keep(b.call(getCurrentPidTgid).rsh(32));
    b.if(b.global(ids).pid.ne(pid), () => b.exit());
    const inKernel = b.keep(b.stackId(stacks, { replace: true }));
    const user = b.keep(b.stackId(stacks, { user: true, replace: true }));
    const { kernel: k, user: u } = b.global(ids);
    k.set(inKernel);
    u.set(user);
  });

/** The kernel and user stack of a system call of a process. */
async function stacksOf(pid: number): Promise<{ kernel: StackFrame[]; user: StackFrame[] }> {
  const session = Session.open({ name: 'stacks', programs: [onCall()] }, { kernel });
  try {
    const { view } = session.map(ids);
    view.user.set(-1);
    view.pid.set(pid);
    const deadline = Date.now() + 10_000;
    while (view.user.get() < 0 && Date.now() < deadline) await new Promise((done) => setTimeout(done, 20));
    view.pid.set(0); // No call replaces these stacks while they are read.
    const at = {
      kernel: session.stack(stacks, view.kernel.get()),
      user: session.stack(stacks, view.user.get(), { pid }),
    };
    assert.ok(at.kernel && at.user, `stacks ${view.kernel.get()} and ${view.user.get()}`);
    assert.is(session.stack(stacks, -14), undefined);
    return { kernel: at.kernel, user: at.user };
  } finally {
    session.close();
  }
}

const names = (frames: readonly StackFrame[]) => frames.map(({ symbol }) => symbol ?? '?');

test.skipIf(needsRoot, 'the stack of a system call leads to the entry of the kernel', async () => {
  const { kernel: frames } = await stacksOf(process.pid);
  const entry = process.arch === 'x64' ? 'entry_SYSCALL_64_after_hwframe' : 'el0t_64_sync';
  assert.ok(names(frames).includes(entry), names(frames).join(' '));
  assert.ok(
    frames.every(({ file, address }) => address > 1n << 63n && /^\[.+\]$/.test(file ?? '')),
    frames.map(frameText).join('\n'),
  );
});

test.skipIf(needsRoot, 'the stack of this process begins in a library', async () => {
  // Some functions of a stripped library have no symbol, so one stack of several has to have one.
  let symbol: string | undefined;
  for (let stack = 0; stack < 20 && symbol === undefined; stack++) {
    const [first] = (await stacksOf(process.pid)).user;
    assert.match(first?.file ?? '', /^\/.*(libc|musl|node)/);
    symbol = first?.symbol;
  }
  assert.type(symbol, 'string');
});

/** All its system calls are those of `inner`: the C library has no frame pointers. */
const PROGRAM = `
  #include <unistd.h>
  __attribute__((noinline)) static long inner(void) {
    long time[] = { 0, 1000000 };
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(35), "D"(time), "S"(0) : "rcx", "r11", "memory");
    return result + 1;
  }
  __attribute__((noinline)) long outer(void) { return inner() + 1; }
  int main(void) {
    write(1, "x", 1);
    for (;;) if (outer() == 1) return 1;
  }
`;

const noCompiler =
  needsRoot || (!existsSync('/usr/bin/cc') && 'needs cc') || (process.arch !== 'x64' && 'for x64');

/** Compiles the program, runs it until `use` is done, and passes the file and the process. */
async function withProgram(
  flags: readonly string[],
  use: (file: string, child: ChildProcess) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tsbpf-symbols-'));
  const file = join(folder, 'program');
  writeFileSync(`${file}.c`, PROGRAM);
  execFileSync('cc', [
    '-O1',
    '-fno-omit-frame-pointer',
    '-fno-optimize-sibling-calls',
    ...flags,
    '-o',
    file,
    `${file}.c`,
  ]);
  const child = spawn(file, { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await once(child.stdout, 'data');
    await use(file, child);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
    rmSync(folder, { recursive: true });
  }
}

/** Addresses and sizes of functions, by binutils. */
function byNm(file: string, ...flags: readonly string[]): Map<string, { start: number; size: number }> {
  const lines = execFileSync('nm', ['-S', '--defined-only', ...flags, file], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  return new Map(
    Array.from(
      lines.matchAll(/^([0-9a-f]+) ([0-9a-f]+) [tTwWi] (\S+?)(?:@.*)?$/gm),
      ([, start = '', size = '', name = '']) => [
        name,
        { start: Number.parseInt(start, 16), size: Number.parseInt(size, 16) },
      ],
    ),
  );
}

for (const [what, flags] of [
  ['position-independent', ['-fPIE', '-pie']],
  ['at fixed addresses', ['-no-pie']],
] as const)
  test.skipIf(noCompiler, `the frames of a program ${what} are its functions`, () =>
    withProgram(flags, async (file, child) => {
      const { user } = await stacksOf(child.pid as number);
      const own = user.filter((frame) => frame.file === file);
      const expected = ['inner', 'outer', 'main'];
      assert.equal(names(own).slice(0, expected.length), expected, user.map(frameText).join('\n'));
      const known = byNm(file);
      for (const { symbol = '', offset = -1, address } of own.slice(0, expected.length)) {
        const { start, size } = known.get(symbol) ?? { start: 0, size: 0 };
        assert.ok(offset > 0 && offset <= size, `${symbol}+${offset} of ${size}`);
        assert.is((address - BigInt(start) - BigInt(offset)) & 0xfffn, 0n, 'the load bias has whole pages');
      }
    }),
  );

test.skipIf(noCompiler, 'a program that was deleted still has names', () =>
  withProgram([], async (file, child) => {
    unlinkSync(file);
    const { user } = await stacksOf(child.pid as number);
    const main = user.find(({ symbol }) => symbol === 'main');
    assert.is(main?.file, `${file} (deleted)`, user.map(frameText).join('\n'));
  }),
);

test.skipIf(noCompiler, 'a stripped program has addresses for addr2line instead of names', () =>
  withProgram(['-s', '-no-pie'], async (file, child) => {
    const { user } = await stacksOf(child.pid as number);
    const own = user.filter((frame) => frame.file === file);
    assert.ok(own.length > 0, user.map(frameText).join('\n'));
    for (const { symbol, offset, address } of own) {
      if (symbol !== undefined) continue; // the symbols that the C library needs
      assert.is(BigInt(offset as number), address, 'the file is at the addresses of its headers');
    }
  }),
);

test.skipIf(needsRoot, 'a process that is gone has addresses only', async () => {
  const child = spawn('true');
  await once(child, 'exit');
  const symbols = new Symbolizer(kernel).process(child.pid as number);
  assert.is(symbols.isKnown, false);
  assert.equal(symbols.frames([0x40_1000n]), [{ address: 0x40_1000n }]);
});

test.skipIf(needsRoot, 'compiled JavaScript has the names of its perf map', async () => {
  const script =
    'function hotLoop(n) { let s = 0; for (let i = 0; i < n; i++) s += i % 7; return s; }' +
    "for (let i = 0; i < 300; i++) hotLoop(1e5); console.log('hot'); setInterval(() => hotLoop(10), 1000);";
  const folder = mkdtempSync(join(tmpdir(), 'tsbpf-symbols-'));
  const child = spawn(process.execPath, ['--perf-basic-prof', '-e', script], {
    cwd: folder, // where V8 writes its log
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const path = `/tmp/perf-${child.pid}.map`;
  try {
    await once(child.stdout, 'data');
    const linesOf = () => [
      ...readFileSync(path, 'utf8').matchAll(/^([0-9a-f]+) ([0-9a-f]+) (.*hotLoop.*)$/gm),
    ];
    const deadline = Date.now() + 5_000 * slowness;
    // `~` marks bytecode, which is no code of the processor.
    const isCompiled = () => linesOf().some(([, , , name = '']) => !name.startsWith('JS:~'));
    while (!isCompiled() && Date.now() < deadline) await new Promise((done) => setTimeout(done, 50));
    const lines = linesOf();
    assert.ok(lines.length > 0, readFileSync(path, 'utf8').slice(-300));
    const symbols = new Symbolizer(kernel).process(child.pid as number);
    const found = lines.map(([, start = '', size = '', name = '']) => {
      const [frame] = symbols.frames([BigInt(`0x${start}`) + BigInt(Number.parseInt(size, 16) - 1)]);
      return frame?.symbol === name && frame.offset === Number.parseInt(size, 16) - 1;
    });
    assert.ok(found.includes(true), JSON.stringify(lines.map(([line]) => line)));
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
    rmSync(path, { force: true });
    rmSync(folder, { recursive: true });
  }
});

test.skipIf(noCompiler, 'examples/stacks.ts prints the stacks at which a process sleeps', () =>
  withProgram([], async (file, child) => {
    const example = fileURLToPath(new URL('../../examples/stacks.js', import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [example, String(child.pid), '2'], {
      timeout: 50_000,
    });
    const [stack = ''] = /\d+ times\n( {4}.*\n)+/.exec(stdout) ?? [];
    for (const name of ['schedule', 'inner', 'outer', 'main'])
      assert.match(stack, new RegExp(`^    ${name}\\+0x`, 'm'), stdout);
    assert.ok(stack.includes(`(${file})`));
  }),
);

const vdso = /^([0-9a-f]+)-([0-9a-f]+) .*\[vdso\]$/m.exec(readFileSync('/proc/self/maps', 'utf8'));

test.skipIf(needsRoot || (vdso === null && 'this process has no vDSO'), 'the vDSO has names', () => {
  const [, start = ''] = vdso ?? [];
  const symbols = new Symbolizer(kernel).process(process.pid);
  const bytes = kernel.syscalls.readFile('/proc/self/auxv');
  assert.ok(typeof bytes !== 'number');
  const seen = new Set<string | undefined>();
  for (let at = 0n; at < 0x2000n; at += 16n) seen.add(symbols.frames([BigInt(`0x${start}`) + at])[0]?.symbol);
  const known = process.arch === 'x64' ? '__vdso_clock_gettime' : '__kernel_clock_gettime';
  assert.ok(seen.has(known), [...seen].join(' '));
});

test.run();
