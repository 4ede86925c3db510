/** Maps that outlive their process, because a path in a bpffs refers to them. */
import { withSourcePosition } from './error-position.ts';
import type { MapSpec } from './map.ts';

/**
 * A map with a pin: the loader opens the map that is pinned at `path`, or creates it and pins it there. It
 * stays in the kernel until its pin is removed (`unpin`) and no process uses it, so several runs and several
 * tools can share it.
 *
 * `entries` and other initial content are written only when the map is created. The path is in a bpffs,
 * usually /sys/fs/bpf, and its last part has no dot. Throws TypeError for `constants` and jump tables, whose
 * content belongs to one load. Minimum kernel: 4.4. Source: man 2 bpf (BPF_OBJ_PIN).
 *
 * @example
 * ```ts
 * import { hash, pinned, u32, u64 } from 'tsbpf';
 *
 * const calls = hash('calls', { key: u32, value: u64, maxEntries: 10_240 });
 * const shared = pinned(calls, '/sys/fs/bpf/calls');
 * console.log(shared.pin); // /sys/fs/bpf/calls
 * ```
 */
export function pinned<M extends MapSpec>(spec: M, path: string): M & { readonly pin: string } {
  if (spec.frozen || 'labels' in spec)
    throw withSourcePosition(
      new TypeError(
        `map ${spec.name} cannot be pinned: its content belongs to the programs that are loaded with it; pin a hash, an array or globals`,
      ),
    );
  return { ...spec, pin: path };
}
