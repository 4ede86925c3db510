import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { Btf, NoSuchFieldError } from '../../src/asm/btf.ts';
import { disassemble } from '../../src/asm/disassemble.ts';
import { layoutOf, type StructLayout, valueDecoder } from '../../src/asm/layout.ts';
import { listTool } from '../../src/asm/listing.ts';
import { NoBtfError, type Target, target } from '../../src/asm/target.ts';
import { aggregation } from '../../src/programs/tcpconnlat/aggregate.ts';
import { type Filter, FilterUnavailableError } from '../../src/programs/tcpconnlat/criteria.ts';
import type { Options, ProbeType } from '../../src/programs/tcpconnlat/options.ts';
import { tcpconnlat } from '../../src/programs/tcpconnlat.ts';
import { BtfWriter } from '../asm/btf-writer.ts';
import { suite } from '../harness.ts';
import { BARS } from './bars.ts';
import { assertGolden } from './golden.ts';
import { At, socketTypes, stateFormat } from './kernel.ts';

const test = suite('programs/tcpconnlat');

const PROBE_TYPES: readonly ProbeType[] = ['kprobe', 'fentry', 'tp_btf', 'raw_tracepoint', 'trace_event'];
/** The probe types that need BTF. */
const WITH_BTF = PROBE_TYPES.filter((probe) => probe !== 'trace_event');
/** The probe types on kernel functions. They have a program for each family. */
const FUNCTION_PROBES: readonly ProbeType[] = ['kprobe', 'fentry'];
/** The probe types that always read the local port. */
const HAVE_PORT: readonly ProbeType[] = [...FUNCTION_PROBES, 'trace_event'];
const x64: Target = { ...target('x64', socketTypes()), formats: [stateFormat] };
/** Without BTF. */
const byRecord: Target = { ...target('x64'), formats: [stateFormat] };

/** BTF without the types of sockets. */
function emptyBlob(): Uint8Array {
  const writer = new BtfWriter();
  writer.int('int', 4);
  return writer.blob();
}

/** The instructions of all programs as text. */
function text(options: Options, on = x64): string[] {
  return tcpconnlat(options, on)
    .programs.flatMap(({ instructions }) => assemble(instructions).instructions)
    .map(({ instruction }) => disassemble(instruction));
}

for (const { probe, promise, check } of BARS)
  test(`${probe}: ${promise}`, () => {
    check(x64);
  });

// --- options -------------------------------------------------------------------------------------

const OPTIONS = {
  pid: { filter: { pid: { only: [[4_190_001, 4_190_001]] } } },
  minNs: { minNs: 1_234_567 },
  family4: { family: 4 },
  family6: { family: 6 },
  localPort: { localPort: true },
  outcome: { outcome: 'all' },
} as const satisfies Record<string, Partial<Options>>;

for (const probe of PROBE_TYPES) {
  test(`${probe}: a pid costs one shift and one comparison, and nothing if absent`, () => {
    const [without, some] = [text({ probe }), text({ probe, ...OPTIONS.pid })];
    const compares = (lines: string[]) => lines.filter((line) => line.includes('0x3fef31'));
    assert.equal(compares(without), []);
    const connects = FUNCTION_PROBES.includes(probe) ? 2 : 1;
    assert.is(compares(some).length, connects);
    assert.is(some.length, without.length + 2 * connects);
    assert.equal(
      without.filter((line) => line.includes('>>= 32')),
      [],
    );
  });

  test(`${probe}: a minimum latency costs one comparison and one counter at each end, and nothing if absent`, () => {
    // On functions an attempt ends at a state change, and at the return of either function.
    const ends = FUNCTION_PROBES.includes(probe) ? 3 : 1;
    const { outcome } = OPTIONS.outcome;
    const [without, some] = [text({ probe, outcome }), text({ probe, outcome, ...OPTIONS.minNs })];
    const compares = (lines: string[]) => lines.filter((line) => line.includes('0x12d687'));
    assert.equal(compares(without), []);
    assert.is(compares(some).length, ends);
    assert.match(
      String(compares(some)),
      /^\(35\) if r0 >= /,
      'unsigned: a negative latency passes, and is counted',
    );
    // The comparison; and for faster connects the address, the number, the addition and a jump.
    assert.is(some.length, without.length + (1 + 4) * ends);
    assert.equal(text({ probe, outcome, minNs: 0 }), without, '0 is none');
    assert.is(compares(text({ probe, ...OPTIONS.minNs })).length, 2, 'and one if failures are counted');
  });

  test(`${probe}: a minimum latency of more than 31 bits is compared completely`, () => {
    const lines = text({ probe, minNs: 86_400_000_000_000 });
    assert.ok(
      lines.some((line) => line.includes('0x4e94914f0000')),
      lines.join('\n'),
    );
  });

  test(`${probe}: with one family, addresses of the other are neither read nor sent`, () => {
    const size = (options: Partial<Options>) =>
      layoutOf(tcpconnlat({ probe, ...options }, x64).events.event).size;
    assert.is(size({}) - size({ family: 4 }), 32);
    assert.is(size({}) - size({ family: 6 }), 8);
  });

  test(`${probe}: the local port costs nothing if it is off`, () => {
    const [without, some] = [text({ probe }), text({ probe, ...OPTIONS.localPort })];
    if (HAVE_PORT.includes(probe)) assert.equal(some, without, 'and nothing at all if it is always read');
    else assert.ok(some.length > without.length);
  });

  test(`${probe}: --who costs five calls and four reads at the connect, and nothing if absent`, () => {
    const [without, some] = [text({ probe }), text({ probe, who: true })];
    const calls = (lines: string[]) =>
      lines.filter((line) => /call bpf_get_current_(uid_gid|cgroup_id|task)/.test(line));
    assert.equal(calls(without), []);
    const begins = FUNCTION_PROBES.includes(probe) ? 2 : 1;
    assert.is(calls(some).length, 5 * begins);
    const reads = (lines: string[]) => lines.filter((line) => line.includes('bpf_probe_read_kernel')).length;
    assert.is(reads(some) - reads(without), ['fentry', 'tp_btf'].includes(probe) ? 0 : 4 * begins);
    const size = (who: boolean) => layoutOf(tcpconnlat({ probe, who }, x64).events.event).size;
    assert.is(size(true) - size(false), 40);
  });

  test(`${probe}: without the types, or the typed reads that it needs, --who has no process`, () => {
    const has = (on: Target) =>
      'process' in tcpconnlat({ probe, who: true }, on).events.event.properties.attempt.properties;
    assert.is(has(x64), true);
    assert.is(has({ ...x64, kernel: socketTypes({ typed: false }) }), !['fentry', 'tp_btf'].includes(probe));
    if (probe === 'trace_event') assert.is(has(byRecord), false);
  });

  test(`${probe}: the table has the requested capacity`, () => {
    assert.is(tcpconnlat({ probe }, x64).attempts.maxEntries, 10_240);
    assert.is(tcpconnlat({ probe, maxAttempts: 2 }, x64).attempts.maxEntries, 2);
  });

  test(`${probe}: every combination of options produces the same programs each time`, () => {
    for (const filter of [undefined, OPTIONS.pid.filter])
      for (const family of [undefined, 4, 6] as const)
        for (const minNs of [undefined, 1, 2 ** 40])
          for (const localPort of [false, true])
            for (const who of [false, true]) {
              const options = { probe, filter, family, minNs, localPort, who };
              assert.equal(text(options), text(options));
            }
  });
}

test('tp_btf: addresses are read at their offsets in BTF', () => {
  const reads = (family: 4 | 6 | undefined, at: number) =>
    text({ probe: 'tp_btf', family }).some((line) => line.endsWith(`= *(u64 *)(r8 +${at})`));
  const read = (family?: 4 | 6) => [At.addrpair, At.v6Remote, At.v6Local].map((at) => reads(family, at));
  assert.equal(read(), [true, true, true]);
  assert.equal(read(4), [true, false, false]);
  assert.equal(read(6), [false, true, true]);
});

for (const probe of ['kprobe', 'fentry'] as const)
  test(`${probe}: only the functions of the selected families are probed`, () => {
    const symbols = (family?: 4 | 6) =>
      tcpconnlat({ probe, family }, x64).programs.map(({ attachment, optional }) => [
        attachment.kind === probe && attachment.symbol,
        optional,
      ]);
    const always = [
      ['tcp_v4_destroy_sock', false],
      ['tcp_set_state', false],
    ];
    assert.equal(symbols(), [...always, ['tcp_v4_connect', false], ['tcp_v6_connect', true]]);
    assert.equal(symbols(4), [...always, ['tcp_v4_connect', false]]);
    assert.equal(
      symbols(6),
      [...always, ['tcp_v6_connect', false]],
      'IPv6 is not optional if it is the only family',
    );
  });

test('fentry: functions have their BTF id, or none, which the loader reports', () => {
  const ids = (...functions: string[]) =>
    tcpconnlat({ probe: 'fentry' }, target('x64', socketTypes({ functions }))).programs.map(
      ({ attachment }) => attachment.kind === 'fentry' && attachment.btfId !== undefined,
    );
  assert.equal(ids('tcp_v4_connect', 'tcp_set_state', 'tcp_v4_destroy_sock'), [true, true, true, false]);
});

test('programs that remove entries are attached before programs that add them', () => {
  const names = tcpconnlat({ probe: 'kprobe' }, x64).programs.map(({ name }) => name);
  assert.equal(names, ['tcp_destroy', 'tcp_set_state', 'tcp_v4_connect', 'tcp_v6_connect']);
});

// --- filters -------------------------------------------------------------------------------------

for (const probe of PROBE_TYPES) {
  test(`${probe}: a filter that is off costs no instruction and no map`, () => {
    for (const options of [{}, { family: 4 }, { outcome: 'all' }] as const) {
      assert.equal(text({ ...options, probe, filter: {} }), text({ ...options, probe }));
      assert.equal(
        tcpconnlat({ ...options, probe, filter: {} }, x64).maps.map(({ name }) => name),
        tcpconnlat({ ...options, probe }, x64).maps.map(({ name }) => name),
      );
    }
  });

  test(`${probe}: a filter by process, user, name or cgroup is checked only when an attempt begins`, () => {
    const calls = (filter: Filter, id: number) =>
      text({ probe, filter }).filter((line) => line.endsWith(`#${id}`)).length;
    const begins = FUNCTION_PROBES.includes(probe) ? 2 : 1;
    const every = everyFilter(probe);
    assert.equal([calls({}, 15), calls({ uid: every.uid }, 15)], [0, begins], 'bpf_get_current_uid_gid');
    assert.equal([calls({}, 16), calls({ comm: every.comm }, 16)], [begins, begins], 'bpf_get_current_comm');
    assert.equal(
      [calls({}, 37), calls({ cgroup: every.cgroup }, 37)],
      [0, 2 * begins],
      'once for each cgroup',
    );
  });

  test(`${probe}: addresses are looked up when they are known, each in its own map`, () => {
    const maps = (filter: Filter) => tcpconnlat({ probe, filter }, x64).maps.map(({ name }) => name);
    const lookups = (filter: Filter, map: string) =>
      text({ probe, filter }).filter((line) => line.endsWith(`map[${map}]`)).length;
    const { to, from } = everyFilter(probe);
    assert.equal(maps({ to }), ['attempts', 'counters', 'to', 'events']);
    assert.equal(maps({ from }), ['attempts', 'counters', 'from', 'events']);
    assert.is(lookups({ to }, 'to'), FUNCTION_PROBES.includes(probe) ? 2 : 1);
    assert.is(lookups({ from }, 'from'), 1, 'on functions at the answer');
  });

  if (probe !== 'trace_event')
    test(`${probe}: on a kernel without IPv6 an address is looked up as an IPv4-mapped one`, () => {
      const without = { ...target('x64', socketTypes({ ipv6: false })), formats: [stateFormat] };
      const { to, from } = everyFilter(probe);
      const lines = text({ probe, filter: { to, from } }, without);
      assert.is(lines.filter((line) => line.endsWith(' = -65536')).length, 2, '::ffff');
    });
}

test('addresses of a family that the kernel does not support are not read', () => {
  const without = target('x64', socketTypes({ ipv6: false }));
  const { to, from } = everyFilter('tp_btf');
  for (const probe of WITH_BTF) text({ probe, family: 6, filter: { to, from } }, without);
});

test('trace_event: a filter by a value that the record lacks is an error', () => {
  const { netns } = everyFilter('tp_btf');
  assert.throws(
    () => tcpconnlat({ probe: 'trace_event', filter: { netns } }, x64),
    (error: unknown) =>
      error instanceof FilterUnavailableError && /does not contain the network namespace/.test(error.message),
  );
});

test('a filter that matches nothing or is too large is an error', () => {
  const making = (filter: Filter) => () => tcpconnlat({ probe: 'tp_btf', filter }, x64);
  const many = Array.from({ length: 65 }, (_, i) => i);
  assert.throws(making({ port: { only: [[1, 9]], not: [[0, 10]] } }), /filter 'port' matches nothing/);
  assert.throws(making({ comm: { only: [] } }), /filter 'comm' matches nothing/);
  assert.throws(
    making({ port: { only: many.map((i) => [2 * i, 2 * i]) } }),
    /'port' has 65 values, at most 64/,
  );
  making({ port: { only: many.map((i) => [i, i]) } })();
  assert.throws(making({ cgroup: { only: many.map(String) } }), /'cgroup' has 65 values/);
  const networks = Array.from({ length: 1025 }, (_, i) => ({
    address: Uint8Array.of(10, 0, i >> 8, i & 255),
    prefix: 32,
  }));
  assert.throws(making({ to: { not: networks } }), /'to' has 1025 values, at most 1024/);
});

// --- targets -------------------------------------------------------------------------------------

test('on arm64 only the offsets of kprobe arguments differ', () => {
  const arm64 = target('arm64', socketTypes());
  const [there, here] = [text({ probe: 'kprobe' }, arm64), text({ probe: 'kprobe' })];
  const differing = here.flatMap((line, i) => (line === there[i] ? [] : [[line, there[i]]]));
  assert.is(there.length, here.length);
  assert.is(differing.length, 5, 'the first argument of each program, and the new state');
  for (const [x, a] of differing) {
    assert.match(String(x), /= \*\(u(64|32) \*\)\(r\d \+(112|104)\)$/);
    assert.is(a, x?.replace('+112', '+0').replace('+104', '+8'));
  }
  for (const probe of ['fentry', 'tp_btf', 'raw_tracepoint'] as const)
    assert.equal(text({ probe }, arm64), text({ probe }), 'the arguments of others are an array');
});

for (const probe of WITH_BTF)
  test(`${probe}: on a kernel without IPv6, events have no IPv6 addresses`, () => {
    const without = target('x64', socketTypes({ ipv6: false }));
    const { events } = tcpconnlat({ probe }, without);
    assert.equal(
      ['v4', 'v6'].map((name) => name in events.event.properties),
      [true, false],
    );
    assert.ok(text({ probe }, without).length < text({ probe }).length);
  });

test('on older kernels the protocol is an 8-bit bit field at another offset', () => {
  const old = target('x64', socketTypes({ bitField: true }));
  for (const { probe, check } of BARS) if (probe !== 'trace_event') check(old);
  assert.ok(text({ probe: 'tp_btf' }, old).includes(`(71) r0 = *(u8 *)(r7 +${At.protocol + 1})`));
});

test('without BTF, or with BTF that lacks sockets, an error names what is missing', () => {
  const without = target('x64');
  const strange = target('x64', Btf.parse(emptyBlob()));
  for (const probe of WITH_BTF) {
    assert.throws(
      () => tcpconnlat({ probe }, without),
      (error: unknown) => error instanceof NoBtfError,
    );
    assert.throws(() => tcpconnlat({ probe }, strange));
  }
  assert.throws(
    () => tcpconnlat({ probe: 'kprobe' }, strange),
    (error: unknown) => error instanceof NoSuchFieldError,
  );
});

test('trace_event needs the format of the record, and no BTF', () => {
  for (const family of [undefined, 4, 6] as const)
    for (const on of [byRecord, { ...byRecord, kernel: Btf.parse(emptyBlob()) }]) {
      const lines = text({ probe: 'trace_event', family }, on);
      assert.not.match(lines.join('\n'), /bpf_probe_read_kernel/);
      assert.equal(lines, text({ probe: 'trace_event', family }, byRecord));
    }
  assert.match(text({ probe: 'trace_event' }).join('\n'), /bpf_probe_read_kernel/, 'with BTF: the socket');
  assert.throws(
    () => tcpconnlat({ probe: 'trace_event' }, target('x64', socketTypes())),
    /no format of tracepoint sock:inet_sock_set_state/,
  );
});

test('trace_event without BTF: only accepted connects are sent, and refused ones are a blind spot', () => {
  const blind = PROBE_TYPES.filter((probe) => tcpconnlat({ probe }, x64).blindSpots.length > 0);
  assert.equal(blind, []);
  assert.equal(tcpconnlat({ probe: 'trace_event' }, byRecord).blindSpots, ['refused']);
  assert.match(
    text({ probe: 'trace_event' }, byRecord).join('\n'),
    /if r6 == 0x1 goto.*\n.*map\[counters\].*\n.*\n\(db\) lock .*\n\(05\) goto/,
    'newstate is not ESTABLISHED',
  );
});

for (const probe of PROBE_TYPES)
  test(`${probe}: whether a segment was received decides if an established connect was answered`, () => {
    for (const outcome of [undefined, 'failures', 'all'] as const)
      assert.match(text({ probe, outcome }).join('\n'), new RegExp(`\\+(= |)${At.segsIn}\\b`), 'segs_in');
  });

test('trace_event: ports are in host byte order', () => {
  const { ports } = tcpconnlat({ probe: 'trace_event' }, x64).events.event.properties;
  const sent = valueDecoder(ports)(new DataView(new Uint8Array([80, 0, 0x34, 0x12]).buffer), 0);
  assert.equal(sent, { remote: 80, local: 0x1234 });
});

// --- outcomes ------------------------------------------------------------------------------------

for (const probe of PROBE_TYPES) {
  test(`${probe}: events contain the end of a connect only with outcome`, () => {
    const names = (options: Partial<Options>) =>
      Object.keys(tcpconnlat({ probe, ...options }, x64).events.event.properties);
    assert.equal(names(OPTIONS.outcome), [...names({}), 'ended', 'cause']);
  });

  test(`${probe}: failures are selected in the kernel, by the new state and the received segments`, () => {
    const states = (outcome: Options['outcome']) =>
      text({ probe, outcome }).filter((line) => /^\(\w\w\) if [rw]\d [!=]= 0x1 goto/.test(line)).length;
    assert.is(states('failures') - states('all'), 1);
    const typed = probe === 'fentry' || probe === 'tp_btf';
    assert.is(
      text({ probe, outcome: 'failures' }).length - text({ probe, outcome: 'all' }).length,
      typed ? 6 : 9,
    );
  });

  test(`${probe}: blind spots with outcome`, () => {
    const blind = tcpconnlat({ probe, outcome: 'all' }, x64).blindSpots;
    assert.equal(blind, FUNCTION_PROBES.includes(probe) ? [] : ['unrouted']);
    if (probe === 'trace_event')
      assert.equal(tcpconnlat({ probe, outcome: 'all' }, byRecord).blindSpots, ['errors', 'unrouted']);
  });
}

for (const [probe, entry, exit] of [
  ['kprobe', 'kprobe', 'kretprobe'],
  ['fentry', 'fentry', 'fexit'],
] as const)
  test(`${probe}: an attempt ends at a new state or at the return of a failed call; these programs are attached first`, () => {
    const kinds = (family?: 4 | 6) =>
      tcpconnlat({ probe, family, outcome: 'all' }, x64).programs.map(({ name, attachment, optional }) => [
        name,
        attachment.kind,
        'symbol' in attachment && attachment.symbol,
        optional,
      ]);
    const connect = (family: 4 | 6, optional: boolean) => [
      [`tcp_v${family}_return`, exit, `tcp_v${family}_connect`, optional],
      [`tcp_v${family}_connect`, entry, `tcp_v${family}_connect`, optional],
    ];
    const [[return4, connect4], [return6, connect6]] = [connect(4, false), connect(6, true)];
    const always = [
      ['tcp_destroy', entry, 'tcp_v4_destroy_sock', false],
      ['tcp_set_state', entry, 'tcp_set_state', false],
    ];
    assert.equal(kinds(), [...always, return4, return6, connect4, connect6]);
    assert.equal(kinds(4), [...always, return4, connect4]);
    assert.equal(kinds(6), [...always, ...connect(6, false)]);
  });

// --- connects in flight ---------------------------------------------------------------------------

for (const probe of PROBE_TYPES) {
  const onFunctions = FUNCTION_PROBES.includes(probe);
  const { from } = everyFilter(probe);

  test(`${probe}: the table has endpoints only with pending, and events do not repeat them`, () => {
    const names = (options: Partial<Options>) => {
      const { attempts, events } = tcpconnlat({ probe, ...options }, x64);
      const { attempt, ...event } = events.event.properties;
      return [attempts.value, attempt]
        .map((schema) => Object.keys(schema.properties))
        .concat([Object.keys(event)]);
    };
    const [table = [], attempt, event = []] = names({});
    assert.equal(table, attempt);
    assert.equal(names({ pending: true }), [
      [...table, 'ports', 'family', 'v4', 'v6'],
      attempt,
      [...event, 'ended', 'cause'],
    ]);
    assert.equal(text({ probe, pending: false }), text({ probe }));
  });

  test(`${probe}: with pending, answered connects are selected as without it`, () => {
    assert.is(counts({ probe, pending: true }), counts({ probe }));
    assert.equal(tcpconnlat({ probe, pending: true }, x64).blindSpots, tcpconnlat({ probe }, x64).blindSpots);
  });

  test(`${probe}: pending needs no other reads of kernel memory than the rest`, () => {
    const reads = (pending: boolean) =>
      text({ probe, pending }).filter((line) => line.endsWith('#113')).length > 0;
    assert.is(reads(true), reads(false), 'bpf_probe_read_kernel, which lockdown forbids');
  });

  test(`${probe}: all options together fit into the stack`, () => {
    const every = { who: true, minNs: 1, localPort: true, filter: everyFilter(probe) };
    for (const requested of [false, true])
      for (const outcome of [undefined, 'all', 'failures'] as const)
        assert.ok(text({ probe, pending: true, requested, outcome, ...every }).length > 0);
    const fields = { address: { v4: 24, v6: 64 }, port: true, comm: true, uid: true, cgroup: 'any' } as const;
    for (const requested of [false, true]) {
      const aggregate = aggregation({ fields, maxKeys: 16 });
      assert.ok(text({ probe, requested, aggregate, ...every }).length > 0, 'summary');
    }
  });

  test(`${probe}: with pending, filters by the route remove an attempt once it is known`, () => {
    const deletes = (options: Partial<Options>) =>
      text({ probe, pending: true, ...options }).filter((line) => line.endsWith('#3')).length;
    assert.is(deletes({ filter: { from } }) - deletes({}), onFunctions ? 1 : 0, 'bpf_map_delete_elem');
    assert.is(deletes({ family: 4 }) - deletes({}), onFunctions ? 1 : 0, 'a mapped connect');
    for (const options of [{}, { family: 4 }, { filter: { from } }] as const)
      assert.is(tcpconnlat({ probe, pending: true, ...options }, x64).remainingAttempts, 'in-flight');
  });
}

// --- the requested destination -------------------------------------------------------------------

for (const probe of PROBE_TYPES) {
  const onFunctions = FUNCTION_PROBES.includes(probe);
  const names = (options: Partial<Options> = {}, on = x64) =>
    tcpconnlat({ probe, ...options }, on).programs.map(({ name }) => name);

  test(`${probe}: requested adds 24 bytes to an event, and changes nothing if it is off`, () => {
    const size = (requested: boolean) => layoutOf(tcpconnlat({ probe, requested }, x64).events.event).size;
    assert.is(size(true) - size(false), 24);
    assert.equal(text({ probe, requested: false }), text({ probe }));
  });

  test(`${probe}: requested adds programs before those that take what they store`, () => {
    const before = names();
    const added = onFunctions
      ? ['tcp_v4_denied', 'tcp_v4_request', 'tcp_v6_denied', 'tcp_v6_request']
      : probe === 'tp_btf'
        ? []
        : ['sys_enter'];
    const first = onFunctions ? 2 : 0;
    assert.equal(names({ requested: true }), [...before.slice(0, first), ...added, ...before.slice(first)]);
    const { slowsSystemCalls, blindSpots } = tcpconnlat({ probe, requested: true }, x64);
    assert.is(slowsSystemCalls, added.includes('sys_enter'));
    assert.is(blindSpots.includes('io_uring'), !onFunctions);
  });

  test(`${probe}: requested adds programs for the traced families only`, () => {
    if (!onFunctions) return;
    const added = (family: 4 | 6) =>
      names({ requested: true, family }).filter((name) => /denied|request/.test(name));
    assert.equal(added(4), ['tcp_v4_denied', 'tcp_v4_request']);
    assert.equal(added(6), ['tcp_v6_denied', 'tcp_v6_request']);
  });
}

test('tp_btf: before Linux 5.15 the registers come from sys_enter', () => {
  const { programs, slowsSystemCalls } = tcpconnlat(
    { probe: 'tp_btf', requested: true },
    target('x64', socketTypes({ typed: false })),
  );
  assert.equal([programs[0]?.name, slowsSystemCalls], ['sys_enter', true]);
});

test('trace_event: the requested destination needs no BTF', () => {
  assert.ok(text({ probe: 'trace_event', requested: true }, byRecord).length > 0);
});

// --- failures that are not shown -----------------------------------------------------------------

/** The number of additions to the counter of failures. */
function counts(options: Options): number {
  const { fields } = layoutOf(tcpconnlat(options, x64).counters.value) as StructLayout;
  const offset = fields.find(({ name }) => name === 'failed')?.offset;
  const addition = new RegExp(`^\\(db\\) lock \\*\\(u64 \\*\\)\\(r\\d \\+${offset}\\)`);
  return text(options).filter((line) => addition.test(line)).length;
}

for (const probe of PROBE_TYPES) {
  const onFunctions = FUNCTION_PROBES.includes(probe);

  test(`${probe}: failures are counted if they are not sent, and each end only once`, () => {
    assert.is(tcpconnlat({ probe }, x64).countsUnrouted, onFunctions);
    // On functions also when a socket is destroyed, and when it connects again by either function.
    assert.is(counts({ probe }), onFunctions ? 4 : 1);
    for (const outcome of ['all', 'failures'] as const) {
      assert.is(tcpconnlat({ probe, outcome }, x64).countsUnrouted, false);
      assert.is(counts({ probe, outcome }), 0);
    }
  });

  for (const [what, options] of [
    ['a minimum latency', { minNs: 1_000_000 }],
    ['a filter by the local address', { filter: { from: everyFilter(probe).from } }],
  ] as const)
    test(`${probe}: with ${what} failures are counted when the value is known, at a change of state`, () => {
      assert.is(tcpconnlat({ probe, ...options }, x64).countsUnrouted, false);
      assert.is(counts({ probe, ...options }), 1);
    });

  test(`${probe}: failures are counted with every other filter at once`, () => {
    const { from: _, ...filter } = everyFilter(probe);
    for (const family of [undefined, 4, 6] as const)
      assert.is(counts({ probe, filter, family }), onFunctions ? (family ? 3 : 4) : 1);
  });

  test(`${probe}: what the table holds at the end`, () => {
    const left = (options: Partial<Options>) => tcpconnlat({ probe, ...options }, x64).remainingAttempts;
    const { from } = everyFilter(probe);
    assert.is(left({}), onFunctions ? 'unanswered' : 'in-flight');
    assert.is(left({ outcome: 'failures' }), 'in-flight');
    assert.is(left({ family: 4 }), onFunctions ? undefined : 'in-flight', 'it holds mapped connects');
    assert.is(left({ outcome: 'all', filter: { from } }), onFunctions ? undefined : 'in-flight');
  });
}

test('on functions, an IPv4 connect with an existing attempt checks for a mapped address', () => {
  for (const probe of FUNCTION_PROBES as ProbeType[]) {
    const connect = tcpconnlat({ probe }, x64).programs.find(({ name }) => name === 'tcp_v4_connect');
    const lines = assemble(connect?.instructions ?? []).instructions.map(({ instruction }) =>
      disassemble(instruction),
    );
    const compares = lines.findIndex((line) => / != 0xffffffef goto/.test(line));
    assert.ok(compares > 0, 'EEXIST');
    assert.match(lines.slice(compares).join('\n'), /if r\d != 0x2 goto[\s\S]*\(db\) lock/, 'AF_INET');
  }
});

// --- listings ------------------------------------------------------------------------------------

const EVERYTHING = { filter: { pid: { only: [[4242, 4242]] } }, minNs: 1_500_000, localPort: true } as const;
const TO_AND_NOT: Filter['to'] = {
  only: [{ address: Uint8Array.of(10, 0, 0, 0), prefix: 8 }],
  not: [{ address: Uint8Array.of(10, 1, 0, 0), prefix: 16 }],
};
const listings: [string, Options][] = [
  ...PROBE_TYPES.map((probe): [string, Options] => [`${probe}.txt`, { probe }]),
  ...PROBE_TYPES.map((probe): [string, Options] => [
    `${probe}-p-L-4-min.txt`,
    { probe, family: 4, ...EVERYTHING },
  ]),
  ...PROBE_TYPES.map((probe): [string, Options] => [`${probe}-outcome.txt`, { probe, ...OPTIONS.outcome }]),
  ...PROBE_TYPES.map((probe): [string, Options] => [`${probe}-who.txt`, { probe, who: true }]),
  ...PROBE_TYPES.map((probe): [string, Options] => [`${probe}-pending.txt`, { probe, pending: true }]),
  ...PROBE_TYPES.map((probe): [string, Options] => [`${probe}-requested.txt`, { probe, requested: true }]),
  ...(['kprobe', 'tp_btf'] as const).map((probe): [string, Options] => [
    `${probe}-requested-filters.txt`,
    { probe, requested: true, outcome: 'all', filter: { to: TO_AND_NOT, port: { only: [[53, 53]] } } },
  ]),
];
/** Every filter that a probe type supports, some as inclusions and some as exclusions. */
function everyFilter(probe: ProbeType): Filter {
  const network = (prefix: number, ...address: number[]) => ({ address: Uint8Array.from(address), prefix });
  return {
    pid: {
      only: [
        [4242, 4242],
        [4300, 4310],
      ],
    },
    uid: {
      only: [
        [0, 0],
        [1000, 4_294_967_294],
      ],
      not: [[1001, 1001]],
    },
    comm: { only: ['curl', 'a-name-of-15-by'] },
    cgroup: { only: ['/sys/fs/cgroup/system.slice', '/sys/fs/cgroup/user.slice'] },
    port: {
      not: [
        [22, 22],
        [8000, 8100],
      ],
    },
    to: { only: [network(8, 10, 0, 0, 0)], not: [network(16, 10, 1, 0, 0)] },
    from: { not: [network(128, ...new Uint8Array(15), 1)] },
    ...(probe !== 'trace_event' && { netns: { only: [[4_026_531_840, 4_026_531_840]] } }),
  };
}

for (const probe of PROBE_TYPES)
  listings.push([`${probe}-filters.txt`, { probe, filter: everyFilter(probe) }]);
listings.push([
  'kprobe-outcome-from.txt',
  { probe: 'kprobe', outcome: 'all', filter: { from: everyFilter('kprobe').from } },
]);
listings.push([
  'fentry-pending-from-4.txt',
  { probe: 'fentry', pending: true, family: 4, filter: { from: everyFilter('fentry').from } },
]);
for (const probe of PROBE_TYPES)
  listings.push([
    `${probe}-aggregate.txt`,
    {
      probe,
      who: true,
      aggregate: aggregation({
        fields: { address: { v4: 24, v6: 64 }, port: true, comm: true, uid: true, cgroup: 'any' },
        maxKeys: 1024,
        compareExchange: probe !== 'trace_event',
      }),
    },
  ]);
for (const [file, options] of listings)
  test(`the programs match golden/${file}`, () => {
    assertGolden(
      file,
      listTool(tcpconnlat(options, x64), () => undefined),
    );
  });

test.run();
