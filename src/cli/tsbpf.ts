/**
 * The command `tsbpf`: programs from text and to text. Exit status 0, 1 where the kernel or the system refuses, 2 for a command line or a
 * file that makes no sense.
 */
import { AssembleError } from '../asm/assemble.ts';
import { BtfError } from '../asm/btf.ts';
import { DecodeError } from '../asm/decode.ts';
import { ElfError } from '../asm/elf.ts';
import { TextError } from '../asm/text/parse.ts';
import { KernelError } from '../loader/errors.ts';
import { NoSuchProgramError } from '../loader/loaded/find.ts';
import { NativeCodeError } from '../loader/native-code.ts';
import { environmentFault } from './environment.ts';
import { OutputError, print, printError, warn } from './output.ts';
import { errorLine, unexpected } from './text.ts';
import { readArguments } from './tsbpf/arguments.ts';
import { FileError, FileSizeError } from './tsbpf/file.ts';
import { version } from './version.ts';

/** What a file of the user's may come to, and what the kernel may answer; anything else is a mistake of ours. */
const SENSELESS = [TextError, AssembleError, DecodeError, ElfError, FileSizeError];
const REFUSED = [KernelError, NativeCodeError, NoSuchProgramError, BtfError, FileError, OutputError];

async function main(): Promise<number> {
  const request = readArguments(process.argv.slice(2), version());
  if (request.action === 'print' && request.status !== 0) {
    printError(request.text);
    return request.status;
  }
  try {
    if (request.action === 'print') print(request.text);
    // Each is loaded only when it is used: assembling needs no kernel, and dumping no parser.
    else if (request.action === 'asm') (await import('./tsbpf/asm.ts')).asm(request);
    else if (request.action === 'disasm') (await import('./tsbpf/disasm.ts')).disasm(request);
    else (await import('./tsbpf/dump.ts')).dump(request);
    return 0;
  } catch (error) {
    const fault = environmentFault(error);
    const expected = [...SENSELESS, ...REFUSED].some((kind) => error instanceof kind);
    warn('tsbpf', fault ?? (expected ? errorLine((error as Error).message) : unexpected(error)));
    if (fault !== undefined) return 1;
    return SENSELESS.some((kind) => error instanceof kind) ? 2 : 1;
  }
}

// No await here: the bundle is CommonJS, which Node starts sooner.
main().then((status) => {
  process.exitCode = status;
});
