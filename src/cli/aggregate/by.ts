/** The keys of `--by`: what connects are grouped by. */
import type { KeyFields } from '../../programs/tcpconnlat/aggregate.ts';
import { KEY_PARTS, type KeyPart } from './snapshot.ts';

/** The default capacity of each of the two tables of keys, which then take some 45 MiB. */
export const DEFAULT_MAX_KEYS = 10_240;
/** The least capacity: the reserved entries, and some others. */
export const MIN_KEYS = 64;

/** The parsed value of `--by`. */
export interface By {
  /** In the order of `KEY_PARTS`; empty for `all`. */
  readonly parts: readonly KeyPart[];
  /** The prefix lengths of `net`, by family. */
  readonly prefixes: { readonly v4: number; readonly v6: number };
}

/** The prefix lengths of `net` without numbers: a usual subnet of each family. */
const DEFAULT_PREFIXES = { v4: 24, v6: 64 };

/** The default of `--by`. */
export const DEFAULT_BY: By = { parts: ['dest', 'port'], prefixes: DEFAULT_PREFIXES };

const NET = /^net(?:\/(\d{1,2})(?:\/(\d{1,3}))?)?$/;

/** Parses a list of parts (`dest,port`, `net/16/56,comm`) or `all`. Returns the reason if it is not valid. */
export function parseBy(text: string): By | string {
  if (text === 'all') return { ...DEFAULT_BY, parts: [] };
  const found = new Set<KeyPart>();
  let prefixes = DEFAULT_PREFIXES;
  for (const name of text.split(',')) {
    const net = NET.exec(name);
    const part = net ? 'net' : KEY_PARTS.find((each) => each === name);
    if (part === undefined)
      return `'${name}' is not a key; choose from ${KEY_PARTS.join(', ')}, or all alone.`;
    if (found.has(part)) return `'${part}' occurs twice.`;
    found.add(part);
    if (!net) continue;
    const { v4, v6 } = DEFAULT_PREFIXES;
    prefixes = { v4: Number(net[1] ?? v4), v6: Number(net[2] ?? v6) };
    if (prefixes.v4 > 32 || prefixes.v6 > 128)
      return `'${name}' has a prefix that is too long; the longest is net/32/128.`;
  }
  return { parts: KEY_PARTS.filter((part) => found.has(part)), prefixes };
}

/** The parts that the caller's cgroups tell. */
const WORKLOAD_PARTS: readonly KeyPart[] = ['pod', 'unit', 'container'];

/** Whether keys have a part that the caller's cgroups tell. */
export function hasWorkload({ parts }: By): boolean {
  return parts.some((part) => WORKLOAD_PARTS.includes(part));
}

/** The fields of the kernel's keys. */
export function keyFields({ parts, prefixes }: By): Omit<KeyFields, 'cgroup'> {
  const has = (part: KeyPart) => parts.includes(part);
  return {
    ...(has('dest') ? { address: 'all' } : has('net') && { address: prefixes }),
    port: has('port'),
    comm: has('comm'),
    uid: has('user'),
  };
}
