import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { helperName } from '../../src/asm/helper-names.ts';
import type { ArgKind } from '../../src/asm/helpers.ts';
import * as helpers from '../../src/asm/helpers.ts';
import { suite } from '../harness.ts';

const test = suite('asm/helpers');

const { HELPERS, ...byName } = helpers;
const ALL: [string, helpers.Helper][] = Object.entries(byName);

test('the list has every exported helper', () => {
  assert.equal(new Set(HELPERS), new Set(Object.values(byName)));
});

test("a helper's number and name agree, and its constant is the name in camel case", () => {
  for (const [constant, { id, name }] of ALL) {
    assert.is(name, helperName(id));
    assert.is(
      constant,
      name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase()),
    );
  }
});

test('helper names match the numbers in linux/bpf.h, 1 to 211', () => {
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
      if (['key', 'value', 'mapOut', 'initial', 'owner'].includes(kind))
        assert.ok(args.slice(0, i).includes('map'), name);
    });
  }
});

test('releases are Linux releases', () => {
  for (const [, { since, name }] of ALL) assert.match(since, /^[3-6]\.\d+$/, name);
});

const read = (file: string) =>
  readFileSync(new URL(`../../../test/asm/fixtures/${file}`, import.meta.url), 'utf8');

/** A parameter or result of a C prototype: its type without spaces, and its name. */
function declared(text: string): { type: string; name: string } {
  const [, type = '', name = ''] = /^(.*?)(\w+)$/.exec(text) ?? [text, '', text];
  return { type: type.replaceAll(' ', ''), name };
}

/**
 * The argument kinds that a parameter may have; `next` is the next parameter's name, and `before` the kind of
 * the one before.
 */
function kindsOf(
  { type, name }: { type: string; name: string },
  next: string | undefined,
  before: ArgKind | undefined,
): string[] {
  const isSize = (each = '') => /size|^sz$|buf_len/.test(each);
  // The size of a record to reserve follows the map.
  if (!type.endsWith('*')) return [isSize(name) && before !== 'map' ? 'size' : 'scalar'];
  if (type === 'structbpf_map*' || name === 'ringbuf') return ['map'];
  if (name === 'ctx' || type === 'structpt_regs*') return ['ctx'];
  if (name === 'callback_fn') return ['callback'];
  if (name === 'callback_ctx') return ['callbackContext'];
  if (name === 'user_ptr') return ['scalar'];
  // Probe reads take a kernel or user address.
  if (name === 'unsafe_ptr') return ['kernelPointer', 'scalar'];
  if (isSize(next)) return name === 'data' || type.startsWith('const') ? ['memory'] : ['out', 'partial'];
  if (['sk', 'inode', 'task', 'cgroup'].includes(name)) return ['owner', 'kernelPointer'];
  if (name === 'value' && !type.startsWith('const')) return [next === undefined ? 'mapOut' : 'initial'];
  if (name === 'key' || name === 'value') return [name];
  if (name === 'data') return ['record'];
  return ['kernelPointer'];
}

/**
 * The result types that a prototype's may have. For `long`, only the helper's code tells which bits count.
 */
const RESULTS: Readonly<Record<string, readonly string[]>> = {
  u32: ['u32'],
  u64: ['u64'],
  int: ['int'],
  long: ['int', 's32', 's64', 'u32'],
  void: ['void'],
};

/** The helpers whose `long` result is the address of a struct that the verifier knows. */
const ADDRESSES = new Set(['task_pt_regs']);

test('numbers, arguments and results match the prototypes in include/uapi/linux/bpf.h of Linux 6.2', () => {
  const prototypes = new Map(
    read('helper-prototypes.txt')
      .trim()
      .split('\n')
      .map((line) => {
        const [, id, returns = '', name = '', list = ''] = /^(\d+) (.*?)bpf_(\w+)\((.*)\)$/.exec(line) ?? [];
        const parameters = list === 'void' ? [] : list.split(', ').map(declared);
        return [name, { id: Number(id), returns: returns.replaceAll(' ', ''), parameters }] as const;
      }),
  );
  assert.is(prototypes.size, ALL.length);
  for (const [, { id, name, args, optional, result = 'u64' }] of ALL) {
    const prototype = prototypes.get(name);
    assert.ok(prototype, name);
    const { parameters, returns } = prototype;
    assert.is(id, prototype.id, name);
    const isVariadic = parameters.at(-1)?.name === '...';
    const fixed = isVariadic ? parameters.slice(0, -1) : parameters;
    assert.is(args.length, isVariadic ? 5 : fixed.length, name);
    assert.is(optional, isVariadic ? 5 - fixed.length : undefined, name);
    for (const [n, kind] of args.entries()) {
      const parameter = fixed[n];
      const kinds = parameter ? kindsOf(parameter, fixed[n + 1]?.name, args[n - 1]) : ['scalar'];
      assert.ok(kinds.includes(kind), `${name}: argument ${n} is ${kind}, not ${kinds.join(' or ')}`);
    }
    const isStruct = /^struct.*\*$/.test(returns) || ADDRESSES.has(name);
    const results =
      returns.endsWith('*') || isStruct ? ['u64', ...(isStruct ? ['pointer'] : [])] : RESULTS[returns];
    assert.ok(results?.includes(result), `${name}: ${result} for ${returns}`);
  }
});

/**
 * Guards against unintended changes: the fixture was made from the table. It includes data that no header
 * has: releases, the valid bits of a result, and restrictions to program types. test/live/program-types
 * checks these with the kernel.
 */
test('the table matches its fixture', () => {
  const rows = ALL.map(([, { id, name, since, args, optional, result, only, owner }]) =>
    [
      ...[id, name, since, `(${args.join(', ')})`],
      ...(optional ? [`optional ${optional}`] : []),
      ...(result ? [result] : []),
      ...(only ? [`only ${only.join(' ')}`] : []),
      ...(owner ? [`owner ${owner}`] : []),
    ].join(' '),
  );
  const byNumber = rows.sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
  assert.fixture(`${byNumber.join('\n')}\n`, read('helpers.txt'));
});

test.run();
