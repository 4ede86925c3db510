/**
 * Maps without keys: queues, stacks and bloom filters.
 *
 * Source: kernel/bpf/queue_stack_maps.c, kernel/bpf/bloom_filter.c.
 */
import type { TSchema } from '@sinclair/typebox';
import { withSourcePosition } from './error-position.ts';
import { layoutOf } from './layout.ts';
import { type MapSpec, MapType, spec } from './map.ts';

/** The schema of the keys of a map without keys: no value has it. */
export interface NoKey extends TSchema {
  readonly ctype: 'none';
  static: never;
}

export const NO_KEY = { ctype: 'none' } as unknown as NoKey;

/** A queue or a stack: see `queue` and `stack`. */
export interface QueueSpec<V extends TSchema = TSchema> extends MapSpec<NoKey, V> {
  readonly type: typeof MapType.queue | typeof MapType.stack;
}

/** A bloom filter: see `bloomFilter`. */
export interface BloomFilterSpec<V extends TSchema = TSchema> extends MapSpec<NoKey, V> {
  readonly type: typeof MapType.bloomFilter;
}

/** Whether a map has no keys, so that only `push`, `pop` and `peek` reach its values. */
export function isKeyless({ key }: MapSpec): boolean {
  return layoutOf(key).size === 0;
}

export function isBloomFilter(map: MapSpec): map is BloomFilterSpec {
  return map.type === MapType.bloomFilter;
}

interface QueueDefinition<V extends TSchema> {
  readonly value: V;
  readonly maxEntries: number;
  readonly flags?: number;
}

/**
 * A first-in, first-out queue of at most `maxEntries` values (Linux 4.20). Programs and this process push
 * (`b.push`, `BpfMap.push`) and pop. A push to a full queue fails with E2BIG, or replaces the oldest value
 * with the flag `BPF_EXIST`.
 *
 * @example
 * ```ts
 * import { getCurrentPidTgid, queue, rawTracepoint, target, u32 } from 'tsbpf';
 *
 * const exited = queue('exited', { value: u32, maxEntries: 1_024 });
 *
 * const onExit = rawTracepoint('sched_process_exit', target('x64'), (b) => {
 *   b.push(exited, b.call(getCurrentPidTgid).rsh(32));
 * });
 * ```
 */
export function queue<V extends TSchema>(name: string, definition: QueueDefinition<V>): QueueSpec<V> {
  return { ...spec(name, MapType.queue, { ...definition, key: NO_KEY }), type: MapType.queue };
}

/**
 * A last-in, first-out stack of at most `maxEntries` values (Linux 4.20). It is used as a `queue`, but a pop
 * takes the newest value. For memory on the stack of a program see `b.stack`.
 *
 * @example
 * ```ts
 * import { BPF_EXIST, rawTracepoint, stack, target, u64 } from 'tsbpf';
 *
 * // The last 16 system calls, newest first.
 * const latest = stack('latest', { value: u64, maxEntries: 16 });
 *
 * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => b.push(latest, b.arg(1), BPF_EXIST));
 * ```
 */
export function stack<V extends TSchema>(name: string, definition: QueueDefinition<V>): QueueSpec<V> {
  return { ...spec(name, MapType.stack, { ...definition, key: NO_KEY }), type: MapType.stack };
}

/**
 * A bloom filter: a set of values that answers "maybe" or "no" (Linux 5.16). `b.peek` and `BpfMap.has` find
 * every value that was added, and a few others. Values cannot be removed or listed.
 *
 * `maxEntries` is the expected number of values; more values make wrong answers more frequent. `hashes` is
 * the number of hash functions, 1 to 15. The default is the kernel's: 5, with about 3 % wrong answers for a
 * full filter.
 *
 * @example
 * ```ts
 * import { bloomFilter, rawTracepoint, target, u64 } from 'tsbpf';
 *
 * const seen = bloomFilter('seen', { value: u64, maxEntries: 10_000 });
 *
 * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
 *   const number = b.keep(b.arg(1));
 *   b.peek(seen, number, { found: () => b.exit() });
 *   b.push(seen, number);
 * });
 * ```
 */
export function bloomFilter<V extends TSchema>(
  name: string,
  { hashes, ...definition }: QueueDefinition<V> & { readonly hashes?: number },
): BloomFilterSpec<V> {
  if (hashes !== undefined && !(Number.isInteger(hashes) && hashes >= 1 && hashes <= 15))
    throw withSourcePosition(
      new RangeError(`map ${name}: a bloom filter has 1 to 15 hash functions, not ${hashes}`),
    );
  const made = spec(name, MapType.bloomFilter, { ...definition, key: NO_KEY });
  return { ...made, type: MapType.bloomFilter, ...(hashes !== undefined && { extra: hashes }) };
}
