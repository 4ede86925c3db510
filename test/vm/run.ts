/**
 * Runs a command in a guest: `npm run vm -- 6.12 -- COMMAND [ARGUMENT...]`
 *
 * Boots the kernel, runs the command as root in the project's folder, and exits with its status. A single
 * word is a script for sh: `npm run vm -- 6.1 -- 'uname -r; ls /sys/kernel/btf'`. Options, before the kernel:
 *
 *   --seconds N   time limit for the guest (300); exit status 124
 *   --console     prints the kernel's console to stderr
 *   --append ARG  appends to the kernel's command line: --append ipv6.disable=1
 *
 * Exit status 125 if the guest does not report the command's status.
 */
import { parseArgs } from 'node:util';
import { runInGuest } from './guest.ts';
import { rootDisk, withProjectDisk } from './image.ts';
import { kernelOf } from './kernel.ts';

/** How many console lines to show when a guest dies. */
const CONSOLE_LINES = 40;

/** Quotes words as a script that runs them. */
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
