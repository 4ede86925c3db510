/**
 * A command in a guest: `npm run vm -- 6.12 -- COMMAND [ARGUMENT...]`
 *
 * Boots that kernel, runs the command as root in the project's folder and exits as it did. A single word is a script
 * for sh: `npm run vm -- 6.1 -- 'uname -r; ls /sys/kernel/btf'`. Options, before the kernel:
 *
 *   --seconds N   ends the guest after so long (300); exit status 124
 *   --console     shows what the kernel wrote to its console, on stderr
 *   --append ARG  adds to the kernel's command line: --append ipv6.disable=1
 *
 * A guest that doesn't get to tell how the command ended is exit status 125.
 */
import { parseArgs } from 'node:util';
import { runInGuest } from './guest.ts';
import { rootDisk, withProjectDisk } from './image.ts';
import { kernelOf } from './kernel.ts';

/** How many lines of the console explain a guest that died. */
const CONSOLE_LINES = 40;

/** Turns words into a script that runs exactly these. */
function scriptOf(words: readonly string[]): string {
  if (words.length === 1) return `${words[0]}\n`;
  return `exec ${words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')}\n`;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: {
      seconds: { type: 'string', default: '300' },
      console: { type: 'boolean', default: false },
      append: { type: 'string' },
    },
    allowPositionals: true,
  });
  const [series, ...words] = positionals;
  if (!series || words.length === 0) {
    console.error(
      'usage: npm run vm -- [--seconds N] [--console] [--append ARGUMENT] KERNEL -- COMMAND [ARGUMENT...]',
    );
    return 2;
  }

  const kernel = await kernelOf(series);
  const root = await rootDisk(kernel.processor);
  const outcome = await withProjectDisk((projectDisk) =>
    runInGuest(
      { kernel, rootDisk: root, projectDisk, kernelArguments: values.append },
      {
        script: scriptOf(words),
        seconds: Number(values.seconds),
        stdout: process.stdout,
        stderr: process.stderr,
      },
    ),
  );
  if (values.console) console.error(outcome.console);
  if (outcome.failure) {
    if (!values.console) console.error(outcome.console.split('\n').slice(-CONSOLE_LINES).join('\n'));
    console.error(`vm ${series}: ${outcome.failure}`);
  }
  return outcome.status;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));
main().then(
  (status) => {
    process.exitCode = status;
  },
  (error: Error) => {
    console.error(error.message);
    process.exitCode = 125;
  },
);
