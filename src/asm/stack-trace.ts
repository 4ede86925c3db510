/**
 * Stack trace maps: the kernel stores stacks under numbers, and programs keep only the numbers.
 *
 * Source: kernel/bpf/stackmap.c.
 */
import { withSourcePosition } from './error-position.ts';
import { type ArraySchema, arrayOf, type BigIntSchema, u32, u64 } from './layout.ts';
import { type MapSpec, MapType, spec } from './map.ts';

/** A map of stacks, each an array of addresses: see `stackTrace`. */
export interface StackTraceSpec extends MapSpec<typeof u32, ArraySchema<BigIntSchema>> {
  readonly type: typeof MapType.stackTrace;
}

/** The kernel's limit of frames in a stack (`kernel.perf_event_max_stack`), unless it was raised. */
const MAX_STACK = 127;

/**
 * A map of kernel and user stacks (Linux 4.6). `b.stackId` stores the current stack and returns its number;
 * equal stacks have one number. `session.stack` reads a stack with the names of its functions.
 *
 * The map holds at most `maxEntries` stacks. Two stacks can need the same slot before the map is full, so
 * make it larger than the expected number of stacks; `b.stackId` returns -EEXIST for the second of them.
 * `depth` is the number of innermost frames that are stored (127 by default, the limit
 * `kernel.perf_event_max_stack`).
 *
 * @example
 * ```ts
 * import { hash, rawTracepoint, s32, stackTrace, target, u64 } from 'tsbpf';
 *
 * const stacks = stackTrace('stacks', { maxEntries: 4_096 });
 * const counts = hash('counts', { key: s32, value: u64, maxEntries: 4_096 });
 *
 * const onSwitch = rawTracepoint('sched_switch', target('x64'), (b) => {
 *   b.count(counts, b.stackId(stacks));
 * });
 * ```
 */
export function stackTrace(
  name: string,
  {
    depth = MAX_STACK,
    ...definition
  }: { readonly maxEntries: number; readonly depth?: number; readonly flags?: number },
): StackTraceSpec {
  if (!Number.isInteger(depth) || depth < 1)
    throw withSourcePosition(
      new RangeError(`map ${name}: the depth of a stack is the number of its frames, not ${depth}`),
    );
  const type = MapType.stackTrace;
  return { ...spec(name, type, { ...definition, key: u32, value: arrayOf(u64, depth) }), type };
}
