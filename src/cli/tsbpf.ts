/**
 * The command `tsbpf`: assembles, disassembles and dumps programs, and prints the features of the kernel. The
 * exit status after an error is that of its code (exit-status.ts).
 */
import { environmentMessage } from './environment.ts';
import { exitStatusOf } from './exit-status.ts';
import { print, printError, printWarning } from './output.ts';
import { errorLine, unexpectedErrorLines } from './text.ts';
import { readArguments } from './tsbpf/arguments.ts';
import { version } from './version.ts';

async function main(): Promise<number> {
  const request = readArguments(process.argv.slice(2), version());
  if (request.action === 'print' && request.status !== 0) {
    printError(request.text);
    return request.status;
  }
  try {
    if (request.action === 'print') print(request.text);
    // Imported when used: assembling needs no kernel, and dumping needs no parser.
    else if (request.action === 'asm') (await import('./tsbpf/asm.ts')).asm(request);
    else if (request.action === 'disasm') (await import('./tsbpf/disasm.ts')).disasm(request);
    else if (request.action === 'dump') (await import('./tsbpf/dump.ts')).dump(request);
    else (await import('./tsbpf/features.ts')).features(request);
    return 0;
  } catch (error) {
    const environment = environmentMessage(error);
    const status = exitStatusOf(error, 'user');
    if (environment !== undefined) printWarning('tsbpf', environment);
    else if (status === 'bug') printWarning('tsbpf', unexpectedErrorLines(error));
    else printWarning('tsbpf', errorLine((error as Error).message));
    return environment !== undefined || status === 'bug' ? 1 : status;
  }
}

// No top-level await: the bundle is CommonJS, which starts faster.
main().then((status) => {
  process.exitCode = status;
});
