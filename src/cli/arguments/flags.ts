/** The options of tcpconnlat as they are parsed. */
import type { Network } from '../../programs/networks.ts';
import type { Range } from '../../programs/tcpconnlat/criteria.ts';
import type { By } from '../aggregate/by.ts';
import type { BucketsPerOctave, ListenAddress } from '../exporter-options.ts';

/** The values of `--probe`. The last three are the variants of `tracepoint`. */
export const PROBES = [
  'auto',
  'kprobe',
  'fentry',
  'tracepoint',
  'tp_btf',
  'raw_tracepoint',
  'trace_event',
] as const;
export type ProbeOption = (typeof PROBES)[number];

/** The probes whose programs refer to types by BTF id, which only the running kernel's BTF has. */
export const NEEDS_KERNEL_BTF: readonly ProbeOption[] = ['fentry', 'tp_btf'];

/** The values of `--completion`. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** The options as commander parses them. */
export interface Flags {
  pid?: Range[];
  port?: Range[];
  notPort?: Range[];
  to?: Network[];
  notTo?: Network[];
  from?: Network[];
  notFrom?: Network[];
  comm?: string[];
  notComm?: string[];
  uid?: Range[];
  notUid?: Range[];
  unit?: string[];
  notUnit?: string[];
  pod?: string[];
  notPod?: string[];
  namespace?: string[];
  notNamespace?: string[];
  cgroup?: string[];
  netns?: string[];
  ipv4?: true;
  ipv6?: true;
  outcome?: true;
  failed?: true;
  pending?: true;
  /** In ms. */
  pendingAfter?: number;
  timestamp?: true;
  wall?: true;
  lport?: true;
  who?: true;
  requested?: true;
  resolve?: true;
  json?: true;
  quiet?: true;
  /** In ms. */
  duration?: number;
  count?: number;
  summary?: true;
  top?: true;
  by?: By;
  /** In ms. */
  interval?: number;
  histogram?: true;
  maxKeys?: number;
  prometheus?: true;
  listen?: ListenAddress;
  otlp?: string;
  buckets?: BucketsPerOctave;
  maxLines?: number;
  record?: string;
  replay?: string;
  report?: string;
  probe: ProbeOption;
  btf?: string;
  pages: number;
  maxConnects: number;
  keepPrivileges?: true;
  verbose?: true;
  dryRun?: true;
  diagnose?: true;
  jsonSchema?: true;
  completion?: Shell;
}
