import * as assert from 'uvu/assert';
import { callSubprogram, exit, loadMap, mov } from '../../src/asm/constructors.ts';
import { type PerfEventArraySpec, perfEventArray } from '../../src/asm/events.ts';
import { struct, u32, u64 } from '../../src/asm/layout.ts';
import { array, type MapSpec, programArray } from '../../src/asm/map.ts';
import type { ProgramSpec, Tool } from '../../src/asm/program.ts';
import { r0, r2 } from '../../src/asm/registers.ts';
import { Errno } from '../../src/loader/errno.ts';
import { NoSuchSymbolError, UntraceableSymbolError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { Session, type SessionOptions } from '../../src/loader/session.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';
import { until } from './tools.ts';

const test = suite('loader/session');

const Event = struct({ pid: u32, ns: u64 });
const counts = array('counts', { value: u64 });
const events = perfEventArray('events', Event);

function program(symbol: string, optional = false): ProgramSpec {
  return {
    name: `on_${symbol}`.slice(0, 15),
    attachment: { kind: 'kprobe', symbol },
    instructions: [mov(r0, 0), exit()],
    optional,
  };
}

function tool(...programs: ProgramSpec[]): Tool<PerfEventArraySpec<typeof Event>> {
  return { name: 'fake', programs, maps: [counts, events], events };
}

/** Kprobes of these symbols answer ENOENT. */
function missing(fake: FakeSyscalls, ...symbols: string[]): void {
  fake.onPerfEventOpen = (attr) => {
    const isKprobe = attr.getUint32(0, true) === 8;
    return isKprobe && symbols.includes(fake.textAt(attr.getBigUint64(56, true))) ? -Errno.ENOENT : undefined;
  };
}

type Options = Partial<SessionOptions<PerfEventArraySpec<typeof Event>>>;

function open(
  fake: FakeSyscalls,
  what: Tool<PerfEventArraySpec<typeof Event>>,
  options: Options = {},
): Session<PerfEventArraySpec<typeof Event>> {
  return Session.open(what, { kernel: new Kernel(fake), onEvent: () => {}, ...options });
}

test('maps, programs, rings and links are opened in this order, and closed in reverse', () => {
  const fake = new FakeSyscalls();
  const session = open(fake, tool(program('a'), program('b')));
  assert.equal(
    fake.calls.filter((call) => /^bpf [05]|^perf/.test(call)),
    [
      ...['bpf 0', 'bpf 0', 'bpf 5', 'bpf 5'],
      // for each ring a second event, which batches its wake-ups
      ...['perfEventOpen cpu 0', 'perfEventOpen cpu 0', 'perfEventOpen cpu 1', 'perfEventOpen cpu 1'],
      ...['perfEventOpen cpu 0', 'perfEventOpen cpu 0'],
    ],
  );
  const before = fake.calls.length;
  session.close();
  const closed = fake.calls.slice(before).filter((call) => call.startsWith('close'));
  assert.equal(
    closed,
    ['21', '20', '19', '18', '14', '15', '16', '17', '13', '12', '11', '10'].map((fd) => `close ${fd}`),
    'links with their events, rings, programs, maps',
  );
  assert.is(fake.open.size, 0);
});

test('events are decoded, including those that close delivers', () => {
  const fake = new FakeSyscalls();
  const seen: unknown[] = [];
  const session = open(fake, tool(program('a')), { onEvent: (event, cpu) => seen.push([event, cpu]) });
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(0, 42, true);
  new DataView(bytes.buffer).setBigUint64(8, 2n ** 60n, true);
  fake.ring(1).sample(bytes);
  session.close();
  assert.equal(seen, [[{ pid: 42, ns: 2n ** 60n }, 1]]);
});

test('onSample gets one view, which reads each event in its ring', () => {
  const fake = new FakeSyscalls();
  const seen: unknown[] = [];
  const views = new Set<object>();
  const session = Session.open(tool(program('a')), {
    kernel: new Kernel(fake),
    onSample(sample, cpu) {
      views.add(sample);
      seen.push([sample.pid, sample.ns, cpu]);
    },
  });
  for (const pid of [42, 43]) {
    const bytes = new Uint8Array(16);
    new DataView(bytes.buffer).setUint32(0, pid, true);
    new DataView(bytes.buffer).setBigUint64(8, 2n ** 60n, true);
    fake.ring(1).sample(bytes);
  }
  session.close();
  assert.equal(seen, [
    [42, 2n ** 60n, 1],
    [43, 2n ** 60n, 1],
  ]);
  assert.is(views.size, 1);
});

test('counts can be read after detach', () => {
  const fake = new FakeSyscalls();
  const seen: number[] = [];
  const session = open(fake, tool(program('a')), { onEvent: ({ pid }) => seen.push(pid) });
  const bytes = new Uint8Array(16);
  bytes[0] = 7;
  fake.ring(0).sample(bytes);
  session.detach();
  assert.equal(seen, [7]);
  assert.is(fake.open.size, 3, 'two maps and a program');
  assert.is(session.map(counts).lookup(0), 0n);
  assert.is(session.lost, 0);
  session.close();
  assert.is(fake.open.size, 0);
});

test('an event that is too short is an error', () => {
  const fake = new FakeSyscalls();
  const errors: unknown[] = [];
  const session = open(fake, tool(program('a')), { onError: (error) => errors.push(String(error)) });
  fake.ring(0).sample(new Uint8Array(4));
  session.close();
  assert.equal(errors, [
    "RangeError: an event has 4 bytes, but the schema of 'events' 16; send the whole struct with b.output",
  ]);
});

test('an optional program without a symbol is skipped with its reason', () => {
  const fake = new FakeSyscalls();
  missing(fake, 'tcp_v6_connect');
  const session = open(fake, tool(program('tcp_v4_connect'), program('tcp_v6_connect', true)));
  assert.equal(
    session.programs.map(({ spec }) => spec.name),
    ['on_tcp_v4_conne'],
  );
  assert.equal(
    session.skipped.map((left) => [left.program.name, left.reason.symbol]),
    [['on_tcp_v6_conne', 'tcp_v6_connect']],
  );
  assert.is(fake.open.size, 9, 'two maps, one program, two rings of two events, one event and its link');
  session.close();
  assert.is(fake.open.size, 0);
});

test('an optional program that cannot be loaded is skipped as well', () => {
  const fake = new FakeSyscalls();
  const fentry = (symbol: string, optional: boolean, btfId?: number): ProgramSpec => ({
    ...program(symbol, optional),
    attachment: { kind: 'fentry', symbol, btfId },
  });
  const session = open(fake, tool(fentry('tcp_v4_connect', false, 7), fentry('tcp_v6_connect', true)));
  assert.equal(
    session.skipped.map((left) => left.reason.symbol),
    ['tcp_v6_connect'],
  );
  assert.is(session.programs.length, 1);
  session.close();
  assert.throws(
    () => open(fake, tool(fentry('tcp_v4_connect', false))),
    (error: unknown) => error instanceof NoSuchSymbolError,
  );
  assert.is(fake.open.size, 0);
});

test('a required program that fails closes all others', () => {
  const fake = new FakeSyscalls();
  missing(fake, 'b');
  assert.throws(
    () => open(fake, tool(program('a'), program('b'), program('c'))),
    (error: unknown) => error instanceof NoSuchSymbolError && error.symbol === 'b',
  );
  assert.is(fake.open.size, 0);
  assert.is(fake.rings.size, 0);
  assert.is(fake.polls.size, 0);
});

test('a missing function or tracepoint gets suggestions', () => {
  const fake = new FakeSyscalls();
  missing(fake, 'do_unlinkat', 'vfs_reed', 'schedul');
  fake.files.set(
    '/proc/kallsyms',
    [
      'ffffffff81000000 t do_unlinkat.isra.0',
      'ffffffff81000010 T vfs_read',
      'ffffffff81000020 D vfs_rood',
      'ffffffff81000030 T __traceiter_schedule\n',
    ].join('\n'),
  );
  for (const [symbol, near] of [
    ['vfs_reed', 'vfs_read'],
    ['schedul', undefined],
  ] as const)
    assert.throws(
      () => open(fake, tool(program(symbol))),
      (error: Error) =>
        error instanceof NoSuchSymbolError &&
        error.symbol === symbol &&
        (near
          ? error.message.includes(`/proc/kallsyms; nearest: ${near} (`)
          : !/nearest/.test(error.message)),
    );
  assert.throws(
    () => open(fake, tool(program('do_unlinkat'))),
    (error: Error) =>
      error instanceof UntraceableSymbolError &&
      /only parts that the compiler renamed: do_unlinkat\.isra\.0/.test(error.message),
  );
  assert.is(fake.open.size, 0);
});

test('an optional program that the verifier refuses is an error', () => {
  const fake = new FakeSyscalls();
  fake.answers.set(5, () => -Errno.EACCES);
  assert.throws(() => open(fake, tool(program('a', true))), /EACCES/);
  assert.is(fake.open.size, 0);
});

test('an event larger than a ring is refused, and everything is closed', () => {
  const fake = new FakeSyscalls();
  fake.files.set('/sys/devices/system/cpu/online', '0\n');
  const Large = struct({
    ...Object.fromEntries(Array.from({ length: 520 }, (_, index) => [`n${index}`, u64])),
  });
  const large = { ...tool(program('a')), maps: [counts], events: perfEventArray('events', Large) };
  const options = { kernel: new Kernel(fake), pagesPerCpu: 1, onEvent: () => {} };
  assert.throws(() => Session.open(large, options), /sample of 4160 bytes.*more pages/);
  assert.is(fake.open.size, 0);
});

/** A program that refers to a map. If `hidden`, only a nested subprogram does. */
function referring(map: MapSpec, hidden = false): ProgramSpec {
  const load = [loadMap(r2, map), mov(r0, 0), exit()];
  const inner = { name: 'inner', instructions: load };
  const outer = { name: 'outer', instructions: [callSubprogram(inner), exit()] };
  const instructions = hidden ? [callSubprogram(outer), callSubprogram(inner), exit()] : load;
  return { ...program('a'), instructions };
}

for (const hidden of [false, true])
  test(`a map that ${hidden ? 'only a subprogram' : 'a program'} refers to need not be listed`, () => {
    const fake = new FakeSyscalls();
    const session = Session.open(
      { name: 'counter', programs: [referring(counts, hidden)] },
      { kernel: new Kernel(fake) },
    );
    assert.is(session.map(counts).lookup(0), 0n);
    assert.is(fake.calls.filter((call) => call === 'bpf 0').length, 1);
    session.close();
    assert.is(fake.open.size, 0);
  });

test('a tool without events has no rings and no losses, and onTick runs', async () => {
  const fake = new FakeSyscalls();
  let sweeps = 0;
  const session = Session.open(
    { name: 'counter', programs: [program('a')] },
    { kernel: new Kernel(fake), onTick: () => sweeps++ },
  );
  assert.is(session.lost, 0);
  assert.not.ok(fake.calls.some((call) => call.startsWith('mmap')));
  await until(() => sweeps > 0);
  session.detach();
  const before = sweeps;
  await new Promise((resolve) => setTimeout(resolve, 1100));
  assert.is(sweeps, before, 'no ticks after detach');
  session.close();
  assert.is(fake.open.size, 0);
});

test('events that are neither a perf event array nor a ring buffer are refused', () => {
  const kernel = new Kernel(new FakeSyscalls());
  for (const wrong of [counts, { map: events, schema: Event }, { ...events, event: undefined }])
    assert.throws(
      () => Session.open({ ...tool(program('a')), events: wrong as never }, { kernel, onEvent: () => {} }),
      /^the events of the tool fake are neither a perf event array nor a ring buffer: pass maps made by perfEventArray or ringBuffer \(.*session\.test\.ts:\d+\)$/,
    );
});

test('events without a handler, and handlers without events, are refused', () => {
  const fake = new FakeSyscalls();
  const kernel = new Kernel(fake);
  assert.throws(
    () => Session.open(tool(program('a')), { kernel }),
    /^the tool fake has events, but no handler for them; pass onEvent to Session.open \(.*session.test.ts:\d+\)/,
  );
  assert.throws(
    () => Session.open(tool(program('a')), { kernel, onEvent: () => {}, onSample: () => {} }),
    /^the tool fake cannot have two handlers of its events; pass onEvent or onSample to Session.open \(/,
  );
  assert.throws(
    () => Session.open({ name: 'counter', programs: [program('a')] }, { kernel, onEvent: () => {} }),
    /^the tool counter has no events, so onEvent has no effect; set the tool's events to a perf event array or a ring buffer, or remove onEvent/,
  );
  assert.is(fake.open.size, 0);
});

test('maps are found by their spec', () => {
  const fake = new FakeSyscalls();
  const session = open(fake, tool(program('a')));
  assert.is(session.map(counts).spec, counts);
  assert.throws(() => session.map(array('other', { value: u64 })), /does not use the map 'other'/);
  session.close();
});

/**
 * By kernel release: the size of program info and link info in that kernel, the total of missed runs and hits
 * of two kprobes, and the number of programs whose missed hits are not counted.
 */
for (const [release, programSize, linkSize, counted, uncounted] of [
  ['6.7 and later', 232, 64, 2 * (3 + 40), 0],
  ['5.15 to 6.6', 232, 48, 2 * 3, 2],
  ['5.10', 200, 0, 0, 2],
] as const)
  test(`missed runs and hits are counted as Linux ${release} reports them`, () => {
    const fake = new FakeSyscalls();
    if (linkSize === 0) fake.answers.set(28, () => -Errno.EINVAL);
    fake.answers.set(15, (attr) => {
      const info = new DataView(fake.at(attr.getBigUint64(8, true)).buffer);
      const isLink = info.byteLength === 56;
      const size = Math.min(isLink ? linkSize : programSize, info.byteLength);
      info.setUint32(16, 3, true);
      if (isLink && size >= 56) info.setBigUint64(48, 40n, true);
      if (!isLink && size >= 216) info.setBigUint64(208, 3n, true);
      attr.setUint32(4, size, true);
      return 0;
    });
    const session = open(fake, tool(program('a'), program('b')));
    const expected = { counted, uncounted: uncounted === 0 ? [] : session.programs };
    assert.equal(session.missedRuns(), expected);
    session.detach();
    assert.equal(session.missedRuns(), expected, 'also after detach');
    session.close();
  });

const stages = programArray('stages', { slots: ['first', 'second'] });

/** A tool whose program array contains `programs`, by slot. */
function tailCalling(
  programs: Record<string, ProgramSpec>,
  ...attached: ProgramSpec[]
): Tool<PerfEventArraySpec<typeof Event>> {
  return { ...tool(...attached), tailCalled: [{ array: stages, programs }] };
}

/** The maps and programs created, and the entries written, before the first perf event opens. */
function beforeRings({ calls }: FakeSyscalls): string[] {
  return calls
    .slice(
      0,
      calls.findIndex((call) => call.startsWith('perf')),
    )
    .filter((call) => /^bpf [025]/.test(call));
}

test('program arrays are filled after all programs are loaded and before any is attached', () => {
  const fake = new FakeSyscalls();
  const slots: [slot: number, fd: number][] = [];
  fake.answers.set(2, (attr) => {
    const at = (offset: number) => Buffer.from(fake.at(attr.getBigUint64(offset, true))).readUInt32LE();
    slots.push([at(8), at(16)]);
    return 0;
  });
  const shared = program('b');
  const session = open(fake, tailCalling({ first: program('c'), second: shared }, program('a'), shared));
  assert.equal(beforeRings(fake), ['bpf 0', 'bpf 0', 'bpf 0', 'bpf 5', 'bpf 5', 'bpf 5', 'bpf 2', 'bpf 2']);
  const [, attached] = session.programs;
  assert.equal(
    session.programs.map(({ spec }) => spec.name),
    ['on_a', 'on_b'],
  );
  assert.equal(slots[1], [1, attached?.fd]);
  session.close();
  assert.is(fake.open.size, 0);
});

test('if a program array cannot be filled, everything is closed', () => {
  const fake = new FakeSyscalls();
  fake.answers.set(2, () => -Errno.EINVAL);
  assert.throws(
    () => open(fake, tailCalling({ first: program('c') })),
    /put the program 'on_c' into slot first of the program array 'stages'.*EINVAL.*must have one type/,
  );
  assert.is(fake.open.size, 0);
});

for (const [what, programs, message] of [
  [
    'a slot that does not exist',
    { third: program('c') },
    /stages has no slot third; its slots: first, second \(/,
  ],
  ['a number past the last', { 2: program('c') }, /stages has no slot 2; its slots: first, second \(/],
  [
    'programs of two types',
    {
      first: program('c'),
      1: { ...program('d'), attachment: { kind: 'raw_tracepoint', tracepoint: 'd' } as const },
    },
    /^program array 'stages': 'on_\w', which is in slot \w+, has the type \w+, and 'on_\w', .*must have one type/,
  ],
  [
    'a program whose type differs from that of a program that uses the array in a subprogram',
    { first: program('c') },
    /'user', which uses it, has the type tp_btf, and 'on_c', which is in slot first, has the type kprobe/,
  ],
] as const)
  test(`a program array is not filled with ${what}`, () => {
    const fake = new FakeSyscalls();
    const inner = { name: 'inner', instructions: [loadMap(r2, stages), mov(r0, 0), exit()] };
    const user: ProgramSpec = {
      name: 'user',
      attachment: { kind: 'tp_btf', tracepoint: 'x', btfId: 1 },
      instructions: [callSubprogram(inner), exit()],
    };
    assert.throws(
      () => open(fake, tailCalling(programs, ...(what.endsWith('in a subprogram') ? [user] : []))),
      message,
    );
    assert.is(fake.calls.filter((call) => call === 'bpf 5').length, 0);
    assert.is(fake.open.size, 0);
  });

test('a skipped optional program leaves its slot empty', () => {
  const fake = new FakeSyscalls();
  const absent: ProgramSpec = {
    ...program('absent', true),
    attachment: { kind: 'fentry', symbol: 'absent' },
  };
  const session = open(fake, tailCalling({ first: absent }));
  assert.equal(
    session.skipped.map((each) => each.program.name),
    ['on_absent'],
  );
  assert.equal(beforeRings(fake), ['bpf 0', 'bpf 0', 'bpf 0']);
  session.close();
});

test('a program loaded later is closed with the session', () => {
  const fake = new FakeSyscalls();
  const session = open(fake, tailCalling({}, program('a')));
  const later = session.load(program('c'));
  session.programArray(stages).update('second', later);
  assert.ok(fake.open.has(later.fd));
  session.close();
  assert.is(fake.open.size, 0);
});

test.run();
