/** Statements for queues, stacks, bloom filters, stack traces and storage maps. */
import * as assert from 'uvu/assert';
import { perfEventArray } from '../../src/asm/events.ts';
import { getCurrentTask, getCurrentTaskBtf, mapPopElem, mapPushElem } from '../../src/asm/helpers.ts';
import { kprobe } from '../../src/asm/hooks.ts';
import { chars, layoutOf, struct, u8, u32, u64 } from '../../src/asm/layout.ts';
import { cgrpStorage, inodeStorage, skStorage, taskStorage } from '../../src/asm/local-storage.ts';
import { hash } from '../../src/asm/map.ts';
import { bloomFilter, queue, stack } from '../../src/asm/queue.ts';
import { stackTrace } from '../../src/asm/stack-trace.ts';
import { suite } from '../harness.ts';
import { thrown } from '../thrown.ts';
import { emitted, errorMessage, x64 } from './built.ts';

const test = suite('asm/map-kinds');

const numbers = queue('numbers', { value: u64, maxEntries: 8 });
const Job = struct({ id: u64, comm: chars(16) });
const jobs = stack('jobs', { value: Job, maxEntries: 8 });
const seen = bloomFilter('seen', { value: u64, maxEntries: 8 });
const stacks = stackTrace('stacks', { maxEntries: 8 });
const perTask = taskStorage('per_task', { value: u64 });
const table = hash('table', { key: u32, value: u64, maxEntries: 8 });

test('specs have the sizes and flags that the kernel demands', () => {
  const sizes = [numbers, jobs, seen, stacks, perTask].map(({ key, value, maxEntries, flags }) => [
    layoutOf(key).size,
    layoutOf(value).size,
    maxEntries,
    flags,
  ]);
  assert.equal(sizes, [
    [0, 8, 8, 0],
    [0, 24, 8, 0],
    [0, 8, 8, 0],
    [4, 127 * 8, 8, 0],
    [4, 8, 0, 1], // BPF_F_NO_PREALLOC
  ]);
  assert.is(layoutOf(stackTrace('s', { maxEntries: 1, depth: 5 }).value).size, 40);
  assert.equal([seen.extra, bloomFilter('s', { value: u8, maxEntries: 1, hashes: 3 }).extra], [undefined, 3]);
});

test('bad numbers of hash functions, frames and entries are refused', () => {
  for (const hashes of [0, 16, 1.5])
    assert.throws(
      () => bloomFilter('s', { value: u8, maxEntries: 1, hashes }),
      /map s: a bloom filter has 1 to 15 hash functions, not .*map-kinds\.test\.ts:\d+\)$/,
    );
  assert.throws(
    () => stackTrace('s', { maxEntries: 1, depth: 0 }),
    /map s: the depth of a stack is the number of its frames, not 0 \(.*map-kinds\.test\.ts:\d+\)$/,
  );
  assert.throws(() => queue('q', { value: u8, maxEntries: 0 }), /maxEntries is 0/);
});

test('push() stores a number on the stack and calls once', () => {
  assert.equal(emitted((b) => b.push(numbers, 7, 2)).slice(0, -2), [
    '*(u64 *)(r10 -8) = 7',
    'r1 = map[numbers]',
    'r2 = r10',
    'r2 += -8',
    'r3 = 2',
    'call bpf_map_push_elem#87',
  ]);
});

test('pop() writes to the stack, which is free after it', () => {
  const lines = emitted((b) => {
    b.pop(jobs, { found: ({ id }) => b.count(table, id.get().as(u32)), missing: () => b.exit(2) });
    b.stack(u64, 1);
  });
  assert.equal(lines.slice(0, 6), [
    'r1 = map[jobs]',
    'r2 = r10',
    'r2 += -24',
    'call bpf_map_pop_elem#88',
    'if w0 != 0x0 goto else_5',
    'r1 = *(u64 *)(r10 -24)',
  ]);
  assert.ok(lines.includes('*(u64 *)(r10 -8) = 1'), lines.join('\n'));
});

test('memory that pop() and peek() pass to an arm ends with the statement', () => {
  for (const take of ['pop', 'peek'] as const)
    assert.match(
      errorMessage((b) => {
        let leaked: { get(): unknown } | undefined;
        b[take](numbers, {
          found: (value) => {
            leaked = value;
          },
        });
        leaked?.get();
      }),
      /block/,
    );
});

test('peek() passes a value to a bloom filter, and none to a queue', () => {
  assert.equal(emitted((b) => b.peek(seen, 7, { found: () => b.exit(1) })).slice(0, 6), [
    '*(u64 *)(r10 -8) = 7',
    'r1 = map[seen]',
    'r2 = r10',
    'r2 += -8',
    'call bpf_map_peek_elem#89',
    'if w0 != 0x0 goto end_2',
  ]);
  const message = /peek\(\) takes a value for a bloom filter, and none for a queue or stack/;
  assert.match(
    errorMessage((b) => b.peek(seen as never, { found: () => {} })),
    message,
  );
  assert.match(
    errorMessage((b) => b.peek(numbers as never, 7, {})),
    message,
  );
});

test('a failed arm of pop() leaves the program as it was', () => {
  const lines = emitted((b) => {
    try {
      b.pop(numbers, {
        found: () => {
          throw new Error('no');
        },
      });
    } catch {
      b.push(numbers, 1);
    }
  });
  assert.is(lines[0], '*(u64 *)(r10 -8) = 1');
});

test('stackId() makes the flags of its options, and its result may be negative', () => {
  const flags = (options: Parameters<Parameters<typeof emittedId>[0]>[1]) =>
    emittedId((b) => b.stackId(stacks, options)).find((line) => line.startsWith('r3'));
  assert.equal(
    [{}, { user: true }, { skip: 3 }, { user: true, skip: 255, replace: true, fast: true }].map(flags),
    ['r3 = 0', 'r3 = 256', 'r3 = 3', `r3 = ${0xff | 0x100 | 0x200 | 0x400}`],
  );
  assert.match(
    errorMessage((b) => b.stackId(stacks, { skip: 256 })),
    /stackId\(\) can skip 0 to 255 frames, not 256/,
  );
  assert.match(
    errorMessage((b) => b.stack(u32, b.stackId(stacks))),
    /s32, -2147483648 to 2147483647\) doesn't fit/,
  );
  assert.match(
    errorMessage((b) => {
      b.stackId(stacks);
      b.stackId(stacks, { user: true });
    }),
    /the context was a temporary in r1, lost to bpf_get_stackid/,
  );
});

function emittedId(
  body: (b: Parameters<Parameters<typeof emitted>[0]>[0], options?: object) => void,
): string[] {
  return emitted((b) => body(b));
}

test('a storage map takes its owner, and create makes a value', () => {
  const calls = (lines: readonly string[]) => lines.filter((line) => /^(r[34] =|call)/.test(line));
  const owner = 'call bpf_get_current_task_btf#158';
  const get = 'call bpf_task_storage_get#156';
  const lookup = (create?: true | number) =>
    calls(
      emitted((b) => {
        const arms = { found: () => {} };
        b.lookup(perTask, b.call(getCurrentTaskBtf), create === undefined ? arms : { ...arms, create });
      }),
    );
  assert.equal(lookup(), [owner, 'r3 = 0', 'r4 = 0', get]);
  assert.equal(lookup(true), [owner, 'r3 = 0', 'r4 = 1', get]);
  assert.equal(lookup(0), [owner, 'r3 = 0', 'r4 = 1', get]);
  assert.equal(lookup(5), [owner, 'r3 = r10', 'r4 = 1', get]);
  assert.equal(calls(emitted((b) => b.delete(perTask, b.call(getCurrentTaskBtf)))), [
    owner,
    'call bpf_task_storage_delete#157',
  ]);
  assert.equal(calls(emitted((b) => b.count(perTask, b.call(getCurrentTaskBtf)))), [
    owner,
    'r3 = 0',
    'r4 = 1',
    get,
  ]);
  assert.match(
    errorMessage((b) => b.lookup(table as never, 1 as never, { create: true, found: () => {} })),
    /map table is no storage map: create its entries with b\.update/,
  );
});

test('an owner must be a pointer that the verifier knows', () => {
  const message =
    /^bpf_task_storage_get needs a pointer to a task_struct, not .*, whose type the verifier does not know: pass b\.call\(getCurrentTaskBtf\)/;
  assert.match(
    errorMessage((b) => b.lookup(perTask, b.call(getCurrentTask), { found: () => {} })),
    message,
  );
  assert.match(
    errorMessage((b) => b.lookup(perTask, b.arg(0), { found: () => {} })),
    message,
  );
  assert.match(
    errorMessage((b) => b.lookup(perTask, b.kernel('task_struct', b.arg(0)), { found: () => {} })),
    message,
  );
  assert.match(
    errorMessage((b) => b.lookup(perTask, 7 as never, { found: () => {} })),
    /needs a pointer to a task_struct, not the number 7: pass/,
  );
});

test('a helper is refused for a map that the verifier does not let it use', () => {
  const cases: readonly [Parameters<typeof emitted>[0], RegExp][] = [
    [
      (b) => b.lookup(numbers as never, 1 as never, { found: () => {} }),
      /^bpf_map_lookup_elem cannot use map numbers, a queue: such maps are for b\.push, b\.pop and b\.peek/,
    ],
    [(b) => b.update(stacks as never, 1, 1), /bpf_map_update_elem cannot use map stacks, a stackTrace/],
    [
      (b) => b.delete(seen as never, 1),
      /cannot use map seen, a bloomFilter: such maps are for b\.push and b\.peek/,
    ],
    [(b) => b.count(numbers as never, 1 as never), /cannot use map numbers, a queue/],
    [
      (b) => b.push(table as never, 1),
      /^bpf_map_push_elem needs a map made by queue\(\) or stack\(\) or bloomFilter\(\); map table is a hash/,
    ],
    [
      (b) => b.pop(seen as never, { found: () => {} }),
      /^bpf_map_pop_elem cannot use map seen, a bloomFilter/,
    ],
    [
      (b) => b.stackId(table as never),
      /bpf_get_stackid needs a map made by stackTrace\(\); map table is a hash/,
    ],
    [
      (b) => b.update(perTask, 1, 1),
      /cannot use map per_task, a taskStorage: such maps are for b\.lookup, b\.count and b\.delete with a pointer/,
    ],
    [
      (b) => b.update(perfEventArray('events', u64), 0, 1),
      /cannot use map events, a perfEventArray: .* b\.output/,
    ],
  ];
  for (const [body, message] of cases) assert.match(errorMessage(body), message);
});

test('values have the size and range of the schema', () => {
  assert.match(
    errorMessage((b) => b.push(jobs, b.stack(u64, 1) as never)),
    /the value of map jobs has 24 bytes, but/,
  );
  assert.match(
    errorMessage((b) => b.call(mapPopElem, jobs, b.stack(u64))),
    /the value of map jobs has 24 bytes, but stack has 8/,
  );
  assert.match(
    errorMessage((b) => b.call(mapPushElem, bloomFilter('small', { value: u8, maxEntries: 1 }), 256, 0)),
    /256 doesn't fit/,
  );
});

test('storage helpers are refused in programs that cannot call them', () => {
  const inodes = inodeStorage('inodes', { value: u64 });
  const sockets = skStorage('sockets', { value: u64 });
  const groups = cgrpStorage('groups', { value: u64 });
  assert.match(
    errorMessage((b) => b.count(inodes, b.arg(0))),
    /raw tracepoint test cannot call bpf_inode_storage_get: only lsm programs can/,
  );
  assert.match(
    thrown(() => kprobe('tcp_close', x64, (b) => b.count(sockets, b.arg(0)))).message,
    /kprobe tcp_close cannot call bpf_sk_storage_get: only tp_btf, fentry, fexit, lsm programs can/,
  );
  assert.match(
    errorMessage((b) => b.count(groups, b.arg(0))),
    /bpf_cgrp_storage_get needs a pointer to a cgroup, not .*: pass an argument of a tp_btf, fentry or lsm program/,
  );
});

test.run();
