/** The command line of tsbpf: what the man page says, with bad input refused in one line. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import type { ProgramSelector } from '../../loader/loaded/find.ts';
import { HELP_WIDTH, redirectOutput } from '../arguments/commander.ts';

/** What is to be done. `text` is for stdout (status 0) or stderr. */
export type Request =
  | {
      readonly action: 'asm';
      readonly file: string;
      readonly format: 'hex' | 'raw' | 'text';
      /** Where the program goes; stdout if not given. */
      readonly output?: string;
    }
  | { readonly action: 'disasm'; readonly file: string; readonly section?: string; readonly opcodes: boolean }
  | { readonly action: 'dump'; readonly program: ProgramSelector; readonly opcodes: boolean }
  | { readonly action: 'print'; readonly text: string; readonly status: 0 | 2 };

const EXAMPLES = `
Examples:
  tsbpf asm filter.bpf                  its bytes as hexadecimal, an instruction a line
  tsbpf asm filter.bpf -o filter.bin    the bytes themselves
  tsbpf asm filter.bpf -f text          beside its text, with the slots that jumps go to
  tsbpf disasm filter.bin               its text; of hexadecimal and of object files as well
  tsbpf disasm filter.o -s xdp          one section of an object file
  tsbpf dump 42                         a loaded program, by its id
  tsbpf dump tcp_v4_connect             by its name
  tsbpf dump /sys/fs/bpf/filter         by where it is pinned`;

/** Reads the arguments that follow the command's name. */
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

function build(version: string, say: (text: string) => void, done: (request: Request) => void): Command {
  const program = new Command('tsbpf')
    .description(
      "eBPF programs from text and to text: the kernel's own, as bpftool and the verifier print it.",
    )
    .version(version, '--version', 'print the version, and exit')
    .helpOption('-h, --help', 'print this, and exit')
    .helpCommand(false)
    .addHelpText('after', EXAMPLES)
    .configureHelp({ helpWidth: HELP_WIDTH })
    .configureOutput(redirectOutput('tsbpf', say))
    .exitOverride();
  const subcommand = (name: string, summary: string): Command =>
    program
      .command(name)
      .copyInheritedSettings(program)
      .description(summary)
      .allowExcessArguments(false)
      .helpOption('-h, --help', 'print this, and exit');

  subcommand('asm', 'assemble a program')
    .argument('<file>', "the program's text; - is the standard input")
    .option('-o, --output <file>', 'write the bytes to a file')
    .addOption(new Option('-f, --format <format>', 'how to print them').choices(['hex', 'raw', 'text']))
    .action((file: string, { output, format }: { output?: string; format?: 'hex' | 'raw' | 'text' }) =>
      done({ action: 'asm', file, output, format: format ?? (output === undefined ? 'hex' : 'raw') }),
    );
  subcommand('disasm', 'print the text of bytes, of hexadecimal, or of an object file')
    .argument('<file>', 'the program; - is the standard input')
    .option('-s, --section <name>', 'only this section of an object file')
    .option('-x, --opcodes', 'print the bytes too')
    .action((file: string, { section, opcodes }: { section?: string; opcodes?: true }) =>
      done({ action: 'disasm', file, section, opcodes: opcodes ?? false }),
    );
  subcommand('dump', 'print a loaded program, with the names of its maps and its source lines (needs root)')
    .argument('<program>', 'its id, its name, or the path where it is pinned', programOf)
    .option('-x, --opcodes', 'print the bytes too')
    .action((wanted: ProgramSelector, { opcodes }: { opcodes?: true }) =>
      done({ action: 'dump', program: wanted, opcodes: opcodes ?? false }),
    );
  return program;
}

function programOf(text: string): ProgramSelector {
  if (text.includes('/')) return { pin: text };
  if (!/^\d+$/.test(text)) return { name: text };
  const id = Number(text);
  if (id < 1 || id > 0xffff_ffff) throw new InvalidArgumentError('An id is a number from 1 to 4294967295.');
  return { id };
}
