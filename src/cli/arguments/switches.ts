/**
 * The options without a value, and a parser for command lines that have no others. Commander takes a
 * twentieth of a start to parse even an empty command line, and a fifth of `--version`.
 */
import { DEFAULT_PAGES } from '../../loader/session.ts';
import { DEFAULT_MAX_ATTEMPTS } from '../../programs/tcpconnlat/options.ts';
import type { Flags } from './flags.ts';

type Switch = Exclude<
  { [Name in keyof Flags]-?: true extends Flags[Name] ? Name : never }[keyof Flags],
  'jsonSchema' | 'diagnose' | 'summary' | 'top' | 'histogram' | 'prometheus'
>;

/** Names and description, by the name in `Flags`. */
export const SWITCHES = {
  ipv4: ['-4, --ipv4', 'IPv4 only'],
  ipv6: ['-6, --ipv6', 'IPv6 only, including IPv4-mapped addresses'],
  failed: ['--failed', 'show failed connects, with the reason'],
  outcome: ['--outcome', 'show every connect when it ends, with its result'],
  pending: ['--pending', 'also show a connect once while it waits, after 5 s'],
  timestamp: ['-t, --timestamp', 'add the time of the answer, in seconds since the first'],
  wall: ['--wall', 'add the time of day (UTC, with microseconds)'],
  lport: ['-L, --lport', 'add the local port'],
  who: ['--who', 'add user, parent, unit or pod, and executable'],
  requested: ['--requested', 'add the address that the program asked for'],
  resolve: ['--resolve', 'add the names of the remote address and port'],
  json: ['--json', 'print one JSON object per line'],
  quiet: ['-q, --quiet', 'print no summary at the end'],
  keepPrivileges: ['--keep-privileges', 'drop no capabilities, and install no seccomp filter'],
  verbose: ['-v, --verbose', 'print the programs and the probe type before tracing'],
  dryRun: ['--dry-run', 'print the programs as -v does, and exit (needs no root)'],
} as const satisfies Readonly<Record<Switch, readonly [names: string, description: string]>>;

/** The name and description of the option that prints the version. */
export const VERSION_OPTION = ['--version', 'print the version'] as const;

/** How long a connect waits until `--pending` shows it, in ms. */
export const DEFAULT_PENDING_MS = 5_000;

/** The flags of an empty command line. */
export const DEFAULTS = {
  probe: 'auto',
  pages: DEFAULT_PAGES,
  maxConnects: DEFAULT_MAX_ATTEMPTS,
} as const;

/**
 * The flags of a command line of switches, as commander parses them. Undefined if it has anything else, or
 * switches that contradict each other: then commander parses it, or finds the error.
 */
export function switchesIn(args: readonly string[]): Flags | undefined {
  const flags: Flags = { ...DEFAULTS };
  for (const arg of args) {
    const name = switchNamed(arg);
    if (name === undefined) return undefined;
    flags[name] = true;
  }
  return flags.ipv4 && flags.ipv6 ? undefined : flags;
}

function switchNamed(arg: string): Switch | undefined {
  for (const name in SWITCHES)
    if (SWITCHES[name as Switch][0].split(', ').includes(arg)) return name as Switch;
  return undefined;
}
