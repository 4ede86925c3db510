/**
 * What bpftool tells of a running tool: fields of maps by their names, programs by the author's lines.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { getCurrentComm, ktimeGetNs } from '../../src/asm/helpers.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import { chars, struct, u16, u32, u64 } from '../../src/asm/layout.ts';
import { arrayMap, hash, lruHash, perfEventArray } from '../../src/asm/map.ts';
import { target } from '../../src/asm/target.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { Session, type SessionOptions } from '../../src/loader/session.ts';
import { needsRoot, suite } from '../harness.ts';
import { Tracer } from './tracer.ts';

const test = suite('live/debug-info', { seconds: 60 });
/** Sources are not compiled: this file lies in build/test/live/. */
const PROJECT = new URL('../../../', import.meta.url);

const noBpftool = needsRoot || (spawnSync('bpftool', ['version']).status !== 0 && 'needs bpftool');

function bpftool(...args: readonly string[]): string {
  return execFileSync('bpftool', args, { encoding: 'utf8', maxBuffer: 2 ** 26 });
}

/** All programs or maps that there are. */
function all(what: 'prog' | 'map'): { readonly id: number; readonly name?: string }[] {
  return JSON.parse(bpftool('-j', what, 'show'));
}

/** Whether one of them has types. Asked by itself: in a list bpftool shows for one without those of the one before it. */
function hasTypes(what: 'prog' | 'map', id = 0): boolean {
  return 'btf_id' in JSON.parse(bpftool('-j', what, 'show', 'id', String(id)));
}

/** A tool whose program runs at every exec, and fills a map with a struct of all sorts. */
function watchExecs(options: Partial<SessionOptions<typeof u32>> = {}) {
  const kernel = new Kernel();
  const Entry = struct({ ns: u64, who: struct({ comm: chars(16), port: u16 }) });
  const entries = hash('entries', { key: struct({ pid: u32 }), value: Entry, maxEntries: 8 });
  const recent = lruHash('recent', { key: u64, value: u32, maxEntries: 8 });
  const totals = arrayMap('totals', { value: struct({ execs: u64 }), maxEntries: 2 });
  const events = perfEventArray('events');
  const program = rawTracepoint('sched_process_exec', target(process.arch), (b) => {
    const entry = b.stack(Entry);
    b.set(entry, 0);
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
    maps: [entries, recent, totals],
    events: { map: events, schema: u32 },
  };
  const before = new Set(all('map').map(({ id }) => id));
  const session = Session.open(tool, { kernel, onEvent: () => {}, ...options });
  const maps = all('map').filter(({ id }) => !before.has(id));
  const id = session.programs[0]?.info().id ?? 0;
  return { session, entries, id, map: (name: string) => maps.find((map) => map.name === name)?.id ?? 0 };
}

test.skipIf(noBpftool, 'maps have the fields of their schemas', () => {
  const { session, entries, map } = watchExecs({ debug: true });
  try {
    session.map(entries).update({ pid: 4711 }, { ns: 12n, who: { comm: 'node', port: 443 } });
    const dump = bpftool('map', 'dump', 'id', String(map('entries')));
    // The program adds its own meanwhile.
    const { value } = JSON.parse(dump).find(({ key }: { key: { pid: number } }) => key.pid === 4711);
    assert.is(value.ns, 12);
    assert.is(value.who.port, 443);
    assert.match(dump, /"comm": "node"/);
    assert.match(bpftool('map', 'dump', 'id', String(map('totals'))), /"execs": 0/);
    assert.is(hasTypes('map', map('recent')), true, 'an LRU hash has types');
    assert.is(hasTypes('map', map('events')), false, 'perf rings have none');
  } finally {
    session.close();
  }
});

test.skipIf(noBpftool, 'programs show the lines of the source that made them', () => {
  const { session, id } = watchExecs({ debug: true });
  try {
    const dump = bpftool('prog', 'dump', 'xlated', 'id', String(id), 'linum');
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

test.skipIf(noBpftool, 'nothing of it is loaded where it was not asked for', () => {
  const { session, map, id } = watchExecs();
  try {
    assert.is(hasTypes('map', map('entries')), false);
    assert.is(hasTypes('prog', id), false);
  } finally {
    session.close();
  }
});

for (const [how, verbose] of [
  ['with -v the command\u2019s programs show its own lines', true],
  ['without it they show none', false],
] as const)
  test.skipIf(noBpftool, how, async () => {
    const before = new Set(all('prog').map(({ id }) => id));
    const tracer = await Tracer.start(verbose ? ['-v'] : []);
    try {
      const programs = all('prog').filter(({ id }) => !before.has(id));
      assert.ok(programs.length > 0);
      const dumps = programs.map(({ id }) => bpftool('prog', 'dump', 'xlated', 'id', String(id), 'linum'));
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
