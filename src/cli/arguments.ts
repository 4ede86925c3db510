/**
 * The command line of tcpconnlat: what the man page says, with bad input refused in one line.
 */
import { CommanderError } from 'commander';
import { collected } from './arguments/collected.ts';
import { type FilterWords, filterIn, messageWithoutPosition } from './arguments/filter.ts';
import { commandLine, type Flags, type Probe, type Shell } from './arguments/options.ts';

/** Those whose programs name types by their numbers, which only the kernel's own BTF has. */
const BY_TYPE_NUMBER: readonly Probe[] = ['fentry', 'tp_btf'];

/** What the user asked for. */
export interface Settings {
  readonly timestamp: boolean;
  readonly lport: boolean;
  readonly json: boolean;
  /** Whether there is no summary at the end. */
  readonly quiet: boolean;
  readonly filter: FilterWords;
  readonly wall: boolean;
  readonly who: boolean;
  readonly resolve: boolean;
  /** Where what is traced is recorded. */
  readonly record?: string;
  readonly family?: 4 | 6;
  /** Least latency, ns. */
  readonly minNs?: number;
  /** Every connect when it ends, with what became of it, or only those that fail. */
  readonly outcome?: 'all' | 'failures';
  readonly probe: Probe;
  /** The file with the kernel's types; its own if not given. */
  readonly btf?: string;
  /** Pages of each CPU's ring. */
  readonly pages: number;
  readonly verbose: boolean;
  readonly dryRun: boolean;
}

/** What is to be done, and for all but `trace` nothing is left to do: `text` is for stdout (status 0) or stderr. */
export type Request =
  | { readonly action: 'trace'; readonly settings: Settings }
  /** `file` is a recording, `-` for standard input. */
  | { readonly action: 'replay'; readonly settings: Settings; readonly file: string }
  | { readonly action: 'schema' }
  | { readonly action: 'completion'; readonly shell: Shell }
  | { readonly action: 'say'; readonly text: string; readonly status: 0 | 2 };

/** Reads the arguments that follow the command's name. */
export function readArguments(args: readonly string[], version: string): Request {
  const said: string[] = [];
  const say = (text: string) => said.push(text);
  const command = commandLine(version).configureOutput(collected('tcpconnlat', say)).exitOverride();
  try {
    command.parse(args, { from: 'user' });
    const flags = command.opts<Flags>();
    const { btf, probe } = flags;
    const fault = messageWithoutPosition(filterIn(flags), probe);
    if (fault) command.error(`error: ${fault}`);
    if (btf !== undefined && BY_TYPE_NUMBER.includes(probe))
      command.error(
        `error: option '--btf <file>' cannot be used with '--probe ${probe}', which needs the kernel's own BTF`,
      );
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    const status = error.exitCode === 0 ? 0 : 2;
    const usage = status === 0 ? '' : `Usage: tcpconnlat ${command.usage()}\nTry 'tcpconnlat --help'.\n`;
    return { action: 'say', text: said.join('') + usage, status };
  }
  const flags = command.opts<Flags>();
  if (flags.jsonSchema) return { action: 'schema' };
  if (flags.completion) return { action: 'completion', shell: flags.completion };
  const settings = settingsOf(flags, command.processedArgs[0] as number | undefined);
  return flags.replay === undefined
    ? { action: 'trace', settings }
    : { action: 'replay', settings, file: flags.replay };
}

function settingsOf(flags: Flags, minNs: number | undefined): Settings {
  return {
    timestamp: flags.timestamp ?? false,
    lport: flags.lport ?? false,
    json: flags.json ?? false,
    quiet: flags.quiet ?? false,
    filter: filterIn(flags),
    wall: flags.wall ?? false,
    who: flags.who ?? false,
    resolve: flags.resolve ?? false,
    record: flags.record,
    family: flags.ipv4 ? 4 : flags.ipv6 ? 6 : undefined,
    minNs,
    outcome: flags.failed ? 'failures' : flags.outcome && 'all',
    probe: flags.probe,
    btf: flags.btf,
    pages: flags.pages,
    verbose: flags.verbose ?? false,
    dryRun: flags.dryRun ?? false,
  };
}
