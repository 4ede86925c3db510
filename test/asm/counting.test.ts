/** Code for counting: additions in maps, and logarithms for histograms. */
import * as assert from 'uvu/assert';
import type { Builder } from '../../src/asm/builder/builder.ts';
import { getCurrentPidTgid } from '../../src/asm/helpers.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import { chars, struct, u16, u32, u32be, u64 } from '../../src/asm/layout.ts';
import { array, hash, perCpuArray } from '../../src/asm/map.ts';
import { target } from '../../src/asm/target.ts';
import { suite } from '../harness.ts';
import { textsOf } from './texts.ts';

const test = suite('asm/counting');

/** The emitted instructions without the common `r0 = 0; exit`. */
const emitted = (body: (b: Builder) => void): string[] =>
  textsOf(rawTracepoint('test', target('x64'), body).instructions).slice(0, -2);

const table = hash('table', { key: u32, value: u64, maxEntries: 8 });

test('count inserts a missing hash entry, and adds in one place', () => {
  assert.equal(
    emitted((b) => b.count(table, 7)),
    [
      '*(u32 *)(r10 -8) = 7',
      'r1 = map[table]',
      'r2 = r10',
      'r2 += -8',
      'call bpf_map_lookup_elem#1',
      'if r0 != 0x0 goto found_2',
      '*(u64 *)(r10 -16) = 0',
      'r1 = map[table]',
      'r2 = r10',
      'r2 += -8',
      'r3 = r10',
      'r3 += -16',
      'r4 = 1',
      'call bpf_map_update_elem#2',
      'r1 = map[table]',
      'r2 = r10',
      'r2 += -8',
      'call bpf_map_lookup_elem#1',
      'if r0 == 0x0 goto counted_1',
      'found_2:',
      'r1 = 1',
      'lock *(u64 *)(r0 +0) += r1',
      'counted_1:',
    ],
  );
});

test('count on an array inserts nothing, and on a per-CPU array adds without an atomic', () => {
  const slots = { maxEntries: 4 };
  assert.equal(emitted((b) => b.count(array('slots', { value: u32, ...slots }), 1, 5)).slice(-4), [
    'if r0 == 0x0 goto counted_1',
    'r1 = 5',
    'lock *(u32 *)(r0 +0) += r1',
    'counted_1:',
  ]);
  assert.equal(emitted((b) => b.count(perCpuArray('slots', { value: u64, ...slots }), 1, 5)).slice(-5), [
    'if r0 == 0x0 goto counted_1',
    'r1 = *(u64 *)(r0 +0)',
    'r1 += 5',
    '*(u64 *)(r0 +0) = r1',
    'counted_1:',
  ]);
});

test('an amount that a call would clobber is refused; a kept one is added', () => {
  const pid = (b: Builder) => b.call(getCurrentPidTgid);
  assert.throws(
    () => emitted((b) => b.count(table, 1, pid(b))),
    /bpf_get_current_pid_tgid\(\) .* lost to bpf_map_lookup_elem .* keep\(\) it before/,
  );
  const lines = emitted((b) => b.count(table, 1, b.keep(pid(b))));
  assert.is(lines.at(-2), 'lock *(u64 *)(r0 +0) += r6');
});

test('values that are not countable numbers are refused', () => {
  for (const value of [u16, u32be, chars(8), struct({ count: u64 })])
    assert.throws(
      () => emitted((b) => b.count(hash('odd', { key: u32, value, maxEntries: 1 }), 1)),
      /^count\(\) needs map values that are integers of 4 or 8 bytes in host byte order, such as u64; map odd has others \(.*counting\.test\.ts:\d+\)$/,
    );
});

test('log2 reuses the register of its operand', () => {
  assert.equal(emitted((b) => b.exit(b.arg(0).get().log2())).slice(0, 10), [
    'r0 = *(u64 *)(r1 +0)',
    'r2 = 0',
    'r3 = 0x100000000',
    'if r0 < r3 goto below_1',
    'r0 >>= 32',
    'r2 += 32',
    'below_1:',
    'if r0 < 0x10000 goto below_2',
    'r0 >>= 16',
    'r2 += 16',
  ]);
});

test('a call frees the scratch registers of its arguments', () => {
  const cells = array('cells', { value: u64, maxEntries: 8 });
  const lines = emitted((b) => {
    const key = b.stack(u32be, 3);
    b.call(getCurrentPidTgid); // occupies r0, so that the key is converted in r1
    b.count(cells, key);
  });
  assert.ok(lines.includes('r1 = *(u32 *)(r10 -8)'), lines.join('; '));
  assert.equal(lines.slice(-3, -1), ['r1 = 1', 'lock *(u64 *)(r0 +0) += r1']);
});

test.run();
