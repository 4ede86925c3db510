/** Functions in modules, addresses, offsets, and names that the kernel refuses, on a kernel with kprobes. */
import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { fentry, fexit, kprobe, kretprobe } from '../../src/asm/hooks.ts';
import { u64n } from '../../src/asm/layout.ts';
import { array } from '../../src/asm/map.ts';
import type { ProgramSpec } from '../../src/asm/program.ts';
import { type Target, target } from '../../src/asm/target.ts';
import {
  AmbiguousSymbolError,
  NoSuchSymbolError,
  type SymbolError,
  UntraceableSymbolError,
} from '../../src/loader/errors.ts';
import { functionsNamed } from '../../src/loader/kallsyms.ts';
import { kprobesUnsupportedReason } from '../../src/loader/kprobe-events.ts';
import { unsupportedReason } from '../../src/loader/probe.ts';
import { Session } from '../../src/loader/session.ts';
import { readKallsyms } from '../../src/loader/symbol-table.ts';
import { inGuest, needsRoot, suite } from '../harness.ts';
import { withoutPmu } from './kernels.ts';
import { isReleased } from './release.ts';
import { here } from './tracer.ts';

const test = suite('live/function-names', { seconds: 60 });

const noKprobes = needsRoot || (kprobesUnsupportedReason(here)?.message ?? false);
const on = target(process.arch, here.btf);
const noFentry =
  needsRoot ||
  (unsupportedReason(here, {
    kind: 'fentry',
    symbol: 'tcp_v4_connect',
    btfId: here.btf?.find('func', 'tcp_v4_connect'),
  })?.message ??
    false);

/** A module with a network device. */
const MODULE = 'dummy';
const noModule = noKprobes || (inGuest ? false : 'loads a kernel module: only in guests of the lab');
const noModuleBtf =
  noModule || noFentry || (isReleased('5.11') ? false : 'this kernel has no BTF of modules');

const GETUID = process.arch === 'arm64' ? '__arm64_sys_getuid' : '__x64_sys_getuid';
const symbols = needsRoot ? Buffer.alloc(0) : readKallsyms(here.syscalls);

const hits = array('hits', { value: u64n });
const count = (b: Parameters<Parameters<typeof kprobe>[2]>[0]) => {
  b.count(hits, 0);
};

/** Runs a program and returns how often it ran during `work`. */
async function hitsOf(program: ProgramSpec, work: () => unknown, kernel = here): Promise<number> {
  const session = Session.open({ name: 'symbols', programs: [program] }, { kernel });
  try {
    await work();
    return session.map(hits).lookup(0) as number;
  } finally {
    session.close();
  }
}

function refusal(program: ProgramSpec, kernel = here): SymbolError {
  try {
    Session.open({ name: 'symbols', programs: [program] }, { kernel }).close();
  } catch (error) {
    return error as SymbolError;
  }
  throw new Error(`${program.name} was attached`);
}

const getuid = () => process.getuid?.();

async function sendOverModule(): Promise<void> {
  const socket = createSocket('udp4');
  socket.send('hello', 9, '10.99.0.2');
  await once(socket, 'listening');
  await new Promise((resolve) => setTimeout(resolve, 200));
  socket.close();
}

test.before(() => {
  if (noModule) return;
  execFileSync('modprobe', [MODULE]);
  execFileSync('ip', ['link', 'add', 'dummy9', 'type', 'dummy']);
  execFileSync('ip', ['addr', 'add', '10.99.0.1/24', 'dev', 'dummy9']);
  execFileSync('ip', ['link', 'set', 'dummy9', 'up', 'arp', 'off']);
});
test.after(() => {
  if (!noModule) execFileSync('ip', ['link', 'del', 'dummy9']);
});

for (const [method, kernel] of [
  ['the PMU', here],
  ['tracefs', withoutPmu()],
] as const) {
  test.skipIf(noModule, `a kprobe of module:function runs, through ${method}`, async () => {
    assert.ok((await hitsOf(kprobe(`${MODULE}:dummy_xmit`, on, count), sendOverModule, kernel)) > 0);
    assert.ok((await hitsOf(kretprobe(`${MODULE}:dummy_xmit`, on, count), sendOverModule, kernel)) > 0);
  });

  test.skipIf(noKprobes, `a kprobe of an address runs, through ${method}`, async () => {
    const [found] = functionsNamed(symbols, GETUID);
    assert.ok(found && found.address > 0n);
    for (const program of [kprobe(found.address, on, count), kretprobe(found.address, on, count)])
      assert.ok((await hitsOf(program, getuid, kernel)) > 0);
  });

  test.skipIf(noKprobes, `a kprobe of an offset runs, through ${method}`, async () => {
    // The function begins with a place for ftrace (5 bytes; 4 on arm64), after endbr64 on newer x64 kernels.
    const offsets = process.arch === 'arm64' ? [8] : [5, 9];
    const attempts = offsets.map(async (offset) =>
      hitsOf(kprobe(`${GETUID}+${offset}`, on, count), getuid, kernel),
    );
    const settled = await Promise.allSettled(attempts);
    assert.ok(
      settled.some((each) => each.status === 'fulfilled' && each.value > 0),
      settled.map(String).join(),
    );
  });

  test.skipIf(noKprobes, `an offset inside an instruction is explained, through ${method}`, () => {
    const error = refusal(
      kprobe(`${GETUID}+1`, on, () => {}),
      kernel,
    );
    assert.instance(error, UntraceableSymbolError);
    assert.match(error.message, /no instruction .*begins there/);
  });

  test.skipIf(
    noKprobes,
    `a function that kprobes must not use is told from an unknown one, through ${method}`,
    () => {
      const blacklist = readFileSync('/sys/kernel/debug/kprobes/blacklist', 'utf8');
      const [, symbol] =
        /\t(notify_die|atomic_notifier_call_chain|do_int3|debug_exception_enter)$/m.exec(blacklist) ?? [];
      assert.ok(symbol, blacklist.slice(0, 500));
      const error = refusal(
        kprobe(symbol, on, () => {}),
        kernel,
      );
      assert.instance(error, UntraceableSymbolError);
      assert.match(
        error.message,
        /the function exists, but it is in the list of functions that kprobes must not use/,
      );
      const unknown = refusal(
        kprobe('no_such_thing_at_all', on, () => {}),
        kernel,
      );
      assert.instance(unknown, NoSuchSymbolError);
      assert.match(unknown.message, /this kernel has no such function/);
    },
  );

  test.skipIf(
    noKprobes || (!isReleased('6.6') && 'the kernel takes the first function of an ambiguous name'),
    `an ambiguous name has its number of functions and their addresses, through ${method}`,
    async () => {
      const { name, addresses } = ambiguousName();
      const error = refusal(kprobe(name, on, count), kernel) as AmbiguousSymbolError;
      assert.instance(error, AmbiguousSymbolError);
      assert.is(error.candidates.length, addresses.length);
      assert.ok(
        error.message.includes(`this kernel has ${addresses.length} functions with this name, at 0x`),
        error.message,
      );
      const session = Session.open(
        {
          name: 'symbols',
          programs: [
            kprobe(name, on, count, { optional: true }),
            ...addresses.map((address) => kprobe(address, on, count, { name: 'by_address' })),
          ],
        },
        { kernel },
      );
      assert.equal(
        session.skipped.map(({ reason }) => reason.name),
        ['AmbiguousSymbolError'],
      );
      assert.is(session.programs.length, addresses.length);
      session.close();
    },
  );
}

/** A name of several functions of the kernel, all of which kprobes can use. */
function ambiguousName(): { readonly name: string; readonly addresses: readonly bigint[] } {
  const counts = new Map<string, number>();
  for (const [, name = ''] of symbols
    .toString('latin1')
    .matchAll(/^\S+ t ([a-z]+_(?:open|show|store|release))$/gm))
    counts.set(name, (counts.get(name) ?? 0) + 1);
  for (const [name, times] of counts) {
    const found = functionsNamed(symbols, name);
    if (times > 1 && found.length > 1) return { name, addresses: found.map(({ address }) => address) };
  }
  throw new Error('no ambiguous name');
}

test.skipIf(noModule, 'a module that is not loaded, or lacks the function, is named', () => {
  assert.match(
    refusal(kprobe('no_such_module:f', on, () => {})).message,
    /the module no_such_module is not loaded; load it first: modprobe no_such_module/,
  );
  const error = refusal(kprobe(`${MODULE}:tcp_v4_connect`, on, () => {}));
  assert.instance(error, NoSuchSymbolError);
  assert.match(error.message, /no such function, but the kernel itself has: remove 'dummy:'/);
});

function withModule(): Target {
  return { ...on, modules: { [MODULE]: here.moduleBtf(MODULE) } };
}

test.skipIf(
  noModuleBtf,
  'fentry and fexit of module:function have typed arguments by the BTF of the module',
  async () => {
    const inModule = withModule();
    const xmit = `${MODULE}:dummy_xmit`;
    const bytes = array('bytes', { value: u64n });
    const entry = fentry(xmit, inModule, (b) => {
      const length = b.keep(b.kernel(b.arg('skb')).fields({ len: 'len' }).len);
      b.count(hits, 0);
      b.count(bytes, 0, length);
    });
    assert.is(entry.name, 'dummy_xmit');
    const session = Session.open({ name: 'symbols', programs: [entry] }, { kernel: here });
    await sendOverModule();
    assert.ok((session.map(hits).lookup(0) as number) > 0);
    assert.ok((session.map(bytes).lookup(0) as number) >= 28 + 5);
    session.close();
    assert.ok(
      (await hitsOf(
        fexit(xmit, inModule, (b) => b.count(hits, 0)),
        sendOverModule,
      )) > 0,
    );
    // A kprobe of the same function has the same names.
    await hitsOf(
      kprobe(xmit, inModule, (b) =>
        b.count(hits, b.kernel('sk_buff', b.arg('skb')).fields({ len: 'len' }).len),
      ),
      sendOverModule,
    );
  },
);

test.skipIf(noModuleBtf, 'fentry of a function in a module without the module names it', () => {
  const error = refusal(fentry('dummy_xmit', on, () => {}));
  assert.instance(error, UntraceableSymbolError);
  assert.match(error.message, /it is in the module dummy: write 'dummy:dummy_xmit'/);
});

test.skipIf(noFentry, 'fentry of a function that must not be traced is told from an unknown one', () => {
  const error = refusal(fentry('start_kernel', on, () => {}));
  assert.instance(error, UntraceableSymbolError);
  assert.match(error.message, /the function exists, but/);
  assert.instance(refusal(fentry('no_such_thing_at_all', on, () => {})), NoSuchSymbolError);
});

test.run();
