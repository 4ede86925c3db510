/** Parses the command line of tsbpf. A command line that is not valid results in a one-line error message. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { type ProgramTypeName, programTypes } from '../../asm/kernel-features.ts';
import { PROGRAM_TYPES } from '../../asm/program-types.ts';
import type { ProgramSelector } from '../../loader/loaded/find.ts';
import { HELP_WIDTH, redirectOutput } from '../arguments/commander.ts';

/**
 * What the command line asks for. `print` has the complete text for stdout (status 0) or stderr (status 2).
 */
export type Request =
  | {
      readonly action: 'asm';
      readonly file: string;
      readonly format: 'hex' | 'raw' | 'text';
      /** The output file. Default: stdout. */
      readonly output?: string;
    }
  | { readonly action: 'disasm'; readonly file: string; readonly section?: string; readonly opcodes: boolean }
  | { readonly action: 'dump'; readonly program: ProgramSelector; readonly opcodes: boolean }
  | {
      readonly action: 'features';
      /** Parts of names; all features if empty. */
      readonly words: readonly string[];
      /** The type of programs whose helpers are listed. */
      readonly type: ProgramTypeName;
      readonly json: boolean;
    }
  | { readonly action: 'print'; readonly text: string; readonly status: 0 | 2 };

const EXAMPLES = `
Examples:
  tsbpf asm filter.bpf                 hexadecimal, one instruction per line
  tsbpf asm filter.bpf -o filter.bin   raw bytes
  tsbpf asm filter.bpf -f text         bytes and text, with jump targets
  tsbpf disasm filter.bin              raw bytes, hexadecimal or object files
  tsbpf disasm filter.o -s xdp         one section of an object file
  tsbpf dump 42                        a loaded program by id
  tsbpf dump tcp_v4_connect            by name
  tsbpf dump /sys/fs/bpf/filter        by path of its pin
  tsbpf features                       what this kernel supports
  tsbpf features ringbuf multi         features with such names, and their first kernels`;

/** Parses the arguments after the name of the command. */
export function readArguments(args: readonly string[], version: string): Request {
  const printed: string[] = [];
  let request: Request | undefined;
  const command = build(
    version,
    (text) => printed.push(text),
    (made) => {
      request = made;
    },
  );
  try {
    command.parse(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    const status = error.exitCode === 0 ? 0 : 2;
    const hint = status === 0 || printed.length === 0 ? '' : "Try 'tsbpf --help'.\n";
    return { action: 'print', text: printed.join('') + hint, status };
  }
  return request ?? { action: 'print', text: command.helpInformation(), status: 2 };
}

function build(version: string, print: (text: string) => void, done: (request: Request) => void): Command {
  const program = new Command('tsbpf')
    .description('Assemble and disassemble eBPF programs, in the syntax that bpftool and the verifier use.')
    .version(version, '--version', 'print the version and exit')
    .helpOption('-h, --help', 'print this help and exit')
    .helpCommand(false)
    .addHelpText('after', EXAMPLES)
    .configureHelp({ helpWidth: HELP_WIDTH })
    .configureOutput(redirectOutput('tsbpf', print))
    .exitOverride();
  const subcommand = (name: string, summary: string): Command =>
    program
      .command(name)
      .copyInheritedSettings(program)
      .description(summary)
      .allowExcessArguments(false)
      .helpOption('-h, --help', 'print this help and exit');

  subcommand('asm', 'assemble a program')
    .argument('<file>', 'the text of the program (- for standard input)')
    .option('-o, --output <file>', 'write the bytes to FILE')
    .addOption(new Option('-f, --format <format>', 'output format').choices(['hex', 'raw', 'text']))
    .action((file: string, { output, format }: { output?: string; format?: 'hex' | 'raw' | 'text' }) =>
      done({ action: 'asm', file, output, format: format ?? (output === undefined ? 'hex' : 'raw') }),
    );
  subcommand('disasm', 'disassemble raw bytes, hexadecimal, or an object file')
    .argument('<file>', 'the program (- for standard input)')
    .option('-s, --section <name>', 'only this section of an object file')
    .option('-x, --opcodes', 'also print the bytes')
    .action((file: string, { section, opcodes }: { section?: string; opcodes?: true }) =>
      done({ action: 'disasm', file, section, opcodes: opcodes ?? false }),
    );
  subcommand('dump', 'print a loaded program with map names and source lines (needs root)')
    .argument('<program>', 'id, name, or path of a pin', programSelector)
    .option('-x, --opcodes', 'also print the bytes')
    .action((selector: ProgramSelector, { opcodes }: { opcodes?: true }) =>
      done({ action: 'dump', program: selector, opcodes: opcodes ?? false }),
    );
  subcommand('features', 'print what this kernel supports (needs root)')
    .argument('[words...]', 'only features whose names contain one of these words')
    .addOption(
      new Option('-t, --type <type>', 'type of programs whose helpers are listed')
        .choices([...new Set([...Object.keys(PROGRAM_TYPES), ...Object.keys(programTypes())])])
        .default('kprobe'),
    )
    .option('-j, --json', 'print JSON')
    .action((words: string[], { type, json }: { type: ProgramTypeName; json?: true }) =>
      done({ action: 'features', words, type, json: json ?? false }),
    );
  return program;
}

function programSelector(text: string): ProgramSelector {
  if (text.includes('/')) return { pin: text };
  if (!/^\d+$/.test(text)) return { name: text };
  const id = Number(text);
  if (id < 1 || id > 0xffff_ffff)
    throw new InvalidArgumentError('A program id is a number from 1 to 4294967295.');
  return { id };
}
