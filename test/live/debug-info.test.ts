/** Debug info of a running tool in bpftool: map fields by name, and source lines of programs. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { type PerfEventArraySpec, perfEventArray } from '../../src/asm/events.ts';
import { getCurrentComm, ktimeGetNs } from '../../src/asm/helpers.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import { chars, struct, u16, u32, u64 } from '../../src/asm/layout.ts';
import { array, constants, globals, hash, lruHash, type MapSpec } from '../../src/asm/map.ts';
import { target } from '../../src/asm/target.ts';
import { objectInfo } from '../../src/loader/object-info.ts';
import { Session, type SessionOptions } from '../../src/loader/session.ts';
import { needsRoot, suite } from '../harness.ts';
import { programsOf } from './loaded.ts';
import { here, Tracer } from './tracer.ts';

const test = suite('live/debug-info', { seconds: 60 });
/** This file lies in build/test/live/; the sources are read from the project. */
const PROJECT = new URL('../../../', import.meta.url);

const noBpftool = needsRoot || (spawnSync('bpftool', ['version']).status !== 0 && 'needs bpftool');

function bpftool(...args: readonly string[]): string {
  return execFileSync('bpftool', args, { encoding: 'utf8', maxBuffer: 2 ** 26 });
}

/**
 * The ids of a map or program and of its BTF (0 for none). Read from the kernel, because bpftool loads
 * programs of its own to find the owners of an object, which takes seconds on an emulated machine.
 */
function idsOf(what: 'prog' | 'map', fd = -1): { readonly id: number; readonly types: number } {
  const at = BTF_ID[what];
  const { view } = objectInfo(here, fd, at + 4);
  return { id: view.getUint32(ID, true), types: view.getUint32(at, true) };
}
/** `id` and `btf_id` in `struct bpf_prog_info` and `bpf_map_info`, include/uapi/linux/bpf.h. */
const ID = 4;
const BTF_ID = { prog: 128, map: 64 };

/** A tool whose program runs at every exec and fills a map with a nested struct. */
function watchExecs(options: Partial<SessionOptions<PerfEventArraySpec<typeof u32>>> = {}) {
  const Entry = struct({ ns: u64, who: struct({ comm: chars(16), port: u16 }) });
  const entries = hash('entries', { key: struct({ pid: u32 }), value: Entry, maxEntries: 8 });
  const recent = lruHash('recent', { key: u64, value: u32, maxEntries: 8 });
  const totals = array('totals', { value: struct({ execs: u64 }), maxEntries: 2 });
  const stats = globals('stats', struct({ seen: u64 }), { seen: 3n });
  const limits = constants('limits', struct({ least: u32 }), { least: 5 });
  const events = perfEventArray('events', u32);
  const program = rawTracepoint('sched_process_exec', target(process.arch), (b) => {
    const entry = b.stack(Entry);
    entry.set(0);
    entry.ns.set(b.call(ktimeGetNs));
    b.call(getCurrentComm, entry.who.comm);
    entry.who.port.set(443);
    const key = b.stack(entries.key);
    key.pid.set(7);
    b.update(entries, key, entry);
  });
  const tool = {
    name: 'execs',
    programs: [program],
    maps: [entries, recent, totals, stats, limits],
    events,
  };
  const session = Session.open(tool, { kernel: here, onEvent: () => {}, ...options });
  const map = (spec: MapSpec) => idsOf('map', session.map(spec).fd);
  return {
    session,
    maps: { entries, recent, totals, events },
    map,
    program: idsOf('prog', session.programs[0]?.fd),
  };
}

test.skipIf(noBpftool, 'maps show the fields of their schemas', () => {
  const { session, maps, map } = watchExecs({ debug: true });
  try {
    session.map(maps.entries).update({ pid: 4711 }, { ns: 12n, who: { comm: 'node', port: 443 } });
    const dump = bpftool('map', 'dump', 'id', String(map(maps.entries).id));
    // The program adds its own entries in between.
    const { value } = JSON.parse(dump).find(({ key }: { key: { pid: number } }) => key.pid === 4711);
    assert.is(value.ns, 12);
    assert.is(value.who.port, 443);
    assert.match(dump, /"comm": "node"/);
    assert.match(bpftool('map', 'dump', 'id', String(map(maps.totals).id)), /"execs": 0/);
    assert.is.not(map(maps.recent).types, 0, 'an LRU hash has types');
    assert.is(map(maps.events).types, 0, 'perf rings have none');
  } finally {
    session.close();
  }
});

test.skipIf(noBpftool, 'programs show their source lines', () => {
  const { session, program } = watchExecs({ debug: true });
  try {
    const dump = bpftool('prog', 'dump', 'xlated', 'id', String(program.id), 'linum');
    const source = readFileSync(
      new URL('../../../test/live/debug-info.test.ts', import.meta.url),
      'utf8',
    ).split('\n');
    const shown = [...dump.matchAll(/^; (.*) \[file:(.*) line_num:(\d+) line_col:\d+\]$/gm)];
    assert.ok(shown.length >= 6, dump);
    for (const [, text, file, line] of shown) {
      assert.match(file ?? '', /\/test\/live\/debug-info\.test\.ts$/);
      assert.is(text, source[Number(line) - 1]?.trim());
    }
    const texts = shown.map(([, text]) => text);
    assert.ok(texts.includes('b.call(getCurrentComm, entry.who.comm);'), dump);
    assert.match(dump, /^int sched_process_e\((void)?\):/m);
  } finally {
    session.close();
  }
});

test.skipIf(noBpftool, 'no debug info is loaded by default', () => {
  const { session, maps, map, program } = watchExecs();
  try {
    assert.is(map(maps.entries).types, 0);
    assert.is(program.types, 0);
  } finally {
    session.close();
  }
});

for (const [how, verbose] of [
  ['with -v the programs of tcpconnlat show their source lines', true],
  ['without -v they show none', false],
] as const)
  test.skipIf(noBpftool, how, async () => {
    const tracer = await Tracer.start(verbose ? ['-v'] : []);
    try {
      const programs = programsOf(tracer.pid);
      assert.ok(programs.length > 0);
      const dumps = programs.map((id) => bpftool('prog', 'dump', 'xlated', 'id', String(id), 'linum'));
      const shown = [...dumps.join('').matchAll(/^; (.*) \[file:(.*) line_num:(\d+)/gm)];
      if (!verbose) {
        assert.is(shown.length, 0);
        return;
      }
      assert.ok(shown.length > 20, dumps.join(''));
      for (const [, text, file = '', line] of shown) {
        assert.match(file, /^src\/programs\/tcpconnlat\S*\.ts$/);
        const source = readFileSync(new URL(file, PROJECT), 'utf8').split('\n');
        assert.is(text, source[Number(line) - 1]?.trim());
      }
    } finally {
      await tracer.stop();
    }
  });

test.run();
