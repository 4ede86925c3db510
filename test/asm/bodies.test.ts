/**
 * Programs that make no sense are refused at their line: async bodies, maps without room, slots and events of
 * another kind.
 */
import * as assert from 'uvu/assert';
import type { Builder } from '../../src/asm/builder/builder.ts';
import { perfEventArray } from '../../src/asm/events.ts';
import { kprobe, rawTracepoint } from '../../src/asm/hooks.ts';
import { struct, u32, u64 } from '../../src/asm/layout.ts';
import { array, hash, lpmTrie, programArray } from '../../src/asm/map.ts';
import { subprogram } from '../../src/asm/subprogram.ts';
import { target } from '../../src/asm/target.ts';
import { suite } from '../harness.ts';
import { thrown } from '../thrown.ts';
import { textsOf } from './texts.ts';

const test = suite('asm/bodies');
const x64 = target('x64');
const counts = hash('counts', { key: struct({ a: u32, b: u32 }), value: u64, maxEntries: 8 });

const buildError = (body: (b: Builder) => void) => thrown(() => rawTracepoint('sys_enter', x64, body));
const PROMISE = /returned a promise.*make it a synchronous function.*\(.*bodies\.test\.ts:\d+\)$/;

const waiting: [string, (b: Builder) => void][] = [
  // @ts-expect-error: an async arm is a type error, too.
  ['the arm of an if', (b) => b.if(b.arg(0).eq(1), async () => b.exit())],
  [
    'the second arm of an if',
    (b) => {
      const condition = b.arg(0).eq(1);
      const waits = async () => b.exit(1);
      // @ts-expect-error: an async body is a type error, too.
      b.if(condition, () => {}, waits);
    },
  ],
  // @ts-expect-error: an async body is a type error, too.
  ['an arm of a switch', (b) => b.switch(b.arg(0), [[1, async () => b.exit()]])],
  // @ts-expect-error: an async body is a type error, too.
  ['a block', (b) => b.block(async (leave) => leave())],
  [
    'the arm of a lookup',
    (b) => {
      const key = b.stack(counts.key);
      key.set(0);
      // @ts-expect-error: an async body is a type error, too.
      b.lookup(counts, key, { found: async () => b.exit() });
    },
  ],
  [
    'a subprogram',
    (b) => {
      // @ts-expect-error: an async body is a type error, too.
      const waits = subprogram('waits', [u64], async (inner, x) => inner.return(x));
      b.call(waits, 1);
    },
  ],
];
for (const [name, body] of waiting)
  test(`${name} must not be async`, () => {
    const error = buildError(body);
    assert.ok(error instanceof TypeError);
    assert.match(error.message, PROMISE);
  });

test('an async body is refused at the line of its hook', () => {
  // @ts-expect-error: an async body is a type error, too.
  const error = thrown(() => kprobe('f', x64, async (b) => b.exit()));
  assert.ok(error instanceof TypeError);
  assert.match(error.message, PROMISE);
});

test('a later rejection of a refused async body is not unhandled', async () => {
  let unhandled = 0;
  const count = () => unhandled++;
  process.on('unhandledRejection', count);
  const failing = async () => {
    throw new Error('later');
  };
  // @ts-expect-error: an async body is a type error, too.
  thrown(() => kprobe('f', x64, failing));
  await new Promise((done) => setTimeout(done, 0));
  process.off('unhandledRejection', count);
  assert.is(unhandled, 0);
});

const empty: [string, () => unknown][] = [
  ['a hash table', () => hash('m', { key: u32, value: u32, maxEntries: 0 })],
  ['an array', () => array('m', { value: u32, maxEntries: 0 })],
  ['a trie', () => lpmTrie('m', { key: struct({ bits: u32, address: u32 }), value: u32 })],
  ['a program array', () => programArray('m', { slots: [] })],
];
for (const [name, make] of empty)
  test(`${name} without entries is refused at its line`, () =>
    assert.match(thrown(make).message, /^map m: maxEntries is 0.*bodies\.test\.ts:\d+\)$/));

test('perf event arrays have one ring per CPU and no number of entries', () =>
  assert.is(perfEventArray('e', u32).maxEntries, 0));

test('a tail call checks a bigint slot like a number', () => {
  const stages = programArray('stages', { maxEntries: 4 });
  const to = (slot: number | bigint) => (b: Builder) => b.tailCall(stages, slot);
  for (const slot of [4, 4n, 5n, -1n, 2n ** 64n])
    assert.match(buildError(to(slot)).message, /program array stages has no slot .*; its slots: 0 to 3/);
  assert.ok(textsOf(rawTracepoint('sys_enter', x64, to(3n)).instructions).includes('r3 = 3'));
});

test('events with another schema than their map are refused', () => {
  const events = perfEventArray('events', struct({ a: u32, b: u32 }));
  const written = (b: Builder, value: ReturnType<typeof struct>) => {
    const memory = b.stack(value);
    memory.set(0);
    return memory;
  };
  for (const other of [struct({ a: u32, c: u32 }), struct({ a: u64 }), struct({ a: u32, b: u32, c: u32 })])
    assert.match(
      buildError((b) => void b.output(events, written(b, other) as never)).message,
      /^cannot send stack \(struct of \d+ bytes\) to map events: its events have another layout \(struct of 8 bytes\) \(.*bodies\.test\.ts:\d+\)$/,
    );
  const send = subprogram('send', [], (b) => void b.output(events, written(b, struct({ a: u64 })) as never), {
    context: true,
  });
  for (const body of [(b: Builder) => void b.call(send), (b: Builder) => void b.output(events, 1 as never)])
    assert.match(
      buildError(body).message,
      /^cannot send .* to map events: its events have another layout .*bodies\.test\.ts:\d+\)$/,
    );
  const [call] = textsOf(
    rawTracepoint('sys_enter', x64, (b) => {
      b.keep(b.context);
      b.output(events, written(b, struct({ a: u32, b: u32 })) as never);
    }).instructions,
  ).filter((line) => line.startsWith('call'));
  assert.is(call, 'call bpf_perf_event_output#25');
});

test('a number in memory is not a struct key', () =>
  assert.match(
    buildError((b) => b.delete(counts, b.stack(u64, 1))).message,
    /^the key of map counts is a struct of 8 bytes .* but got the number/,
  ));
test.run();
