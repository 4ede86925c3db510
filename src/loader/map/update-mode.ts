import { BPF_ANY, BPF_EXIST, BPF_NOEXIST } from '../../asm/flags.ts';

/**
 * Modes of `BpfMap.update`: `any` sets the value in any case, `create` fails with `EEXIST` if the map has the
 * key, and `replace` fails with `ENOENT` if it does not (`BPF_ANY`, `BPF_NOEXIST`, `BPF_EXIST`).
 *
 * @example
 * ```ts
 * import { BpfMap, hash, Kernel, u32, UpdateMode, u64 } from 'tsbpf';
 *
 * const map = BpfMap.create(new Kernel(), hash('counts', { key: u32, value: u64, maxEntries: 8 }));
 * map.update(7, 1n, UpdateMode.create);
 * map.update(7, 2n, UpdateMode.replace);
 * map.close();
 * ```
 */
export const UpdateMode = { any: BPF_ANY, create: BPF_NOEXIST, replace: BPF_EXIST } as const;
export type UpdateMode = (typeof UpdateMode)[keyof typeof UpdateMode];
