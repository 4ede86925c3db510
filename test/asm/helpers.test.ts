import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { helperName } from '../../src/asm/helper-names.ts';
import * as helpers from '../../src/asm/helpers.ts';
import { suite } from '../harness.ts';

const test = suite('asm/helpers');

const ALL: [string, helpers.Helper][] = Object.entries(helpers);

test("a helper's number and name agree, and its constant is the name in camel case", () => {
  for (const [constant, { id, name }] of ALL) {
    assert.is(name, helperName(id));
    assert.is(
      constant,
      name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase()),
    );
  }
});

test('names are at the numbers of linux/bpf.h, 1 to 211', () => {
  const known = {
    1: 'map_lookup_elem',
    25: 'perf_event_output',
    35: 'get_current_task',
    80: 'get_current_cgroup_id',
    113: 'probe_read_kernel',
    130: 'ringbuf_output',
    158: 'get_current_task_btf',
    180: 'find_vma',
    208: 'ktime_get_tai_ns',
    211: 'cgrp_storage_delete',
  };
  for (const [id, name] of Object.entries(known)) assert.is(helperName(Number(id)), name);
  assert.is(helperName(212), undefined);
});

test('arguments fit r1 to r5, sizes follow memory, keys and values follow their map', () => {
  for (const [, { name, args }] of ALL) {
    assert.ok(args.length <= 5, name);
    args.forEach((kind, i) => {
      if (['memory', 'out', 'partial'].includes(kind)) assert.is(args[i + 1], 'size', name);
      if (kind === 'size') assert.match(args[i - 1] ?? '', /^(memory|out|partial)$/, name);
      if (kind === 'key' || kind === 'value') assert.ok(args.slice(0, i).includes('map'), name);
    });
  }
});

test('releases are numbers of Linux releases', () => {
  for (const [, { since, name }] of ALL) assert.match(since, /^[3-6]\.\d+$/, name);
});

/** By number: name, release, arguments, how many may be absent, result, and the only program types, as include/uapi/linux/bpf.h has them. */
const PROTOTYPES = new URL('../../../test/asm/fixtures/helpers.txt', import.meta.url);

test('every helper is in the fixture, with the arguments and the result of its prototype', () => {
  const rows = ALL.map(([, { id, name, since, args, optional, result, only }]) =>
    [
      ...[id, name, since, `(${args.join(', ')})`],
      ...(optional ? [`optional ${optional}`] : []),
      ...(result ? [result] : []),
      ...(only ? [`only ${only.join(' ')}`] : []),
    ].join(' '),
  );
  const byNumber = rows.sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
  assert.fixture(`${byNumber.join('\n')}\n`, readFileSync(PROTOTYPES, 'utf8'));
});

test.run();
