/**
 * Parses the command line of tcpconnlat. A command line that is not valid results in a one-line error
 * message.
 */
import { resolve } from 'node:path';
import { CommanderError } from 'commander';
import { sameNetwork } from '../programs/networks.ts';
import { without } from '../programs/tcpconnlat/criteria.ts';
import { formatAddress } from './address.ts';
import { redirectOutput } from './arguments/commander.ts';
import { type Flags, NEEDS_KERNEL_BTF } from './arguments/flags.ts';
import { commandLine, OF_KEYS, OF_PROMETHEUS } from './arguments/options.ts';
import { exports, filterFrom, optionsFrom, type Request } from './arguments/request.ts';
import { CALLER_FILTERS } from './caller-filter.ts';

export type { FilterOptions, Options, Request } from './arguments/request.ts';

/** Parses the arguments after the name of the command. */
export function readArguments(args: readonly string[], version: string): Request {
  const printed: string[] = [];
  const print = (text: string) => printed.push(text);
  const command = commandLine(version).configureOutput(redirectOutput('tcpconnlat', print)).exitOverride();
  try {
    command.parse(args, { from: 'user' });
    const conflict = conflictIn(command.opts<Flags>());
    if (conflict) command.error(`error: ${conflict}`);
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    const status = error.exitCode === 0 ? 0 : 2;
    const usage = status === 0 ? '' : `Usage: tcpconnlat ${command.usage()}\nTry 'tcpconnlat --help'.\n`;
    const text = printed.join('').replace(/\n$/, `${remedyFor(error.message)}\n`);
    return { action: 'print', text: text + usage, status };
  }
  const flags = command.opts<Flags>();
  if (flags.jsonSchema) return { action: 'schema' };
  if (flags.completion) return { action: 'completion', shell: flags.completion };
  const options = optionsFrom(flags, command.processedArgs[0] as number | undefined);
  if (flags.diagnose) return { action: 'diagnose', options };
  return flags.replay === undefined
    ? { action: 'trace', options }
    : { action: 'replay', options, file: flags.replay };
}

/** What to do instead of combining two options, by the error of commander. */
const REMEDIES: readonly (readonly [RegExp, string])[] = [
  [
    /option '--(prometheus|otlp <url>)' cannot .* '--(summary|top|histogram)'$/,
    '; both show the same counts: run a second tcpconnlat for the table',
  ],
  [
    /option '--(prometheus|otlp <url>)' cannot /,
    '; an exporter shows no single connects: run a second tcpconnlat for them',
  ],
  [
    /option '--(summary|top)' cannot .* '--(report|record) <file>'$/,
    '; it needs every connect, and these are only counted: run a second tcpconnlat for it',
  ],
];

function remedyFor(message: string): string {
  return REMEDIES.find(([error]) => error.test(message))?.[1] ?? '';
}

/** Why options contradict each other; undefined if they do not. */
function conflictIn(flags: Flags): string | undefined {
  const filter = filterFrom(flags);
  for (const name of ['port', 'uid'] as const) {
    const { only, not = [] } = filter[name] ?? {};
    if (only && without(only, not).length === 0) return nothingLeft(name);
  }
  for (const name of ['comm', ...CALLER_FILTERS] as const) {
    const { only, not = [] } = filter[name] ?? {};
    if (only?.every((each) => not.includes(each))) return nothingLeft(name);
  }
  for (const name of ['to', 'from'] as const) {
    const { only = [], not = [] } = filter[name] ?? {};
    const both = only.find((network) => not.some((other) => sameNetwork(network, other)));
    if (both)
      return `options '--${name}' and '--not-${name}' both contain ${formatAddress(both.address)}/${both.prefix}`;
  }
  if (filter.netns && flags.probe === 'trace_event')
    return "option '--netns <file|pid>' cannot be used with '--probe trace_event', whose record has no network namespace";
  if (flags.btf !== undefined && NEEDS_KERNEL_BTF.includes(flags.probe))
    return `option '--btf <file>' cannot be used with '--probe ${flags.probe}', which needs the BTF of the running kernel`;
  const { record, replay, report } = flags;
  for (const [option, file] of [
    ['--record', record],
    ['--replay', replay],
  ])
    if (report !== undefined && file !== undefined && resolve(report) === resolve(file))
      return `options '${option} <file>' and '--report <file>' name the same file`;
  return missingIn(flags);
}

/** Which option another one needs; undefined if it is there. */
function missingIn(flags: Flags): string | undefined {
  const { top, summary = top, prometheus, otlp } = flags;
  const needs = (names: readonly (keyof Flags)[], others: string) => {
    const lone = names.find((name) => flags[name] !== undefined);
    const words = lone?.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    return words && `option '--${words}' needs ${others}`;
  };
  return (
    (summary ? undefined : needs(['histogram'], "'--summary'")) ??
    (summary || otlp ? undefined : needs(['interval'], "'--summary', '--top' or '--otlp'")) ??
    (summary || exports(flags)
      ? undefined
      : needs(OF_KEYS, "'--summary', '--top', '--prometheus' or '--otlp'")) ??
    (prometheus ? undefined : needs(OF_PROMETHEUS, "'--prometheus'"))
  );
}

const nothingLeft = (name: string) => `option '--not-${name}' excludes every value of '--${name}'`;
