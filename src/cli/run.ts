/**
 * What a run of the command has whatever it shows: an output, and an end.
 */
import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import type { Syscalls } from '../loader/syscalls.ts';
import { type LineOutput, lineOutput, standardOutput, warn } from './output.ts';
import { onHangUp } from './shared.ts';
import { STOP_SIGNALS } from './signals.ts';
import { isTerminal, mayBeTerminal } from './terminal.ts';

/**
 * From its opening until the process exits, stop signals end the run and never kill the process. Under nohup
 * SIGHUP is ignored.
 */
export interface Run {
  readonly output: LineOutput;
  /** Settles at the end: with an error where that is why. */
  readonly ended: Promise<Error | undefined>;
  /** Whether whoever reads the output has gone, or can't be written to. */
  readonly readerGone: boolean;
  end(error?: Error): void;
  /** Writes what waits, for half a second at most. */
  close(): Promise<void>;
}

/** Opens a run. With `syscalls` it also ends when the reader of stdout exits while there is nothing to write. */
export function openRun(syscalls?: Syscalls): Run {
  let end: (error?: Error) => void = () => {};
  const ended = new Promise<Error | undefined>((resolve) => {
    end = resolve;
  });
  const stop = () => end();
  const ignored = underNohup() ? 'SIGHUP' : undefined;
  for (const signal of STOP_SIGNALS) process.on(signal, signal === ignored ? () => {} : stop);
  leaveTerminalsThatGo();
  const stdout = standardOutput();
  let readerGone = false;
  const output = lineOutput(stdout.write, (error) => {
    readerGone = true;
    end(error);
  });
  const hangUp =
    syscalls &&
    onHangUp(syscalls, 1, () => {
      readerGone = true;
      end();
    });
  return {
    output,
    ended,
    end,
    get readerGone() {
      return readerGone;
    },
    async close() {
      hangUp?.close();
      await output.end();
      stdout.close();
    },
  };
}

/**
 * Whether nohup was told to keep SIGHUP away. Node gives every signal its default meaning when it starts, so that one that was
 * ignored can't be told from others; but where stdin was a terminal, nohup puts a descriptor there that can't be read.
 *
 * Source: nohup(1) of GNU coreutils; PlatformInit in Node's src/node.cc.
 */
function underNohup(): boolean {
  try {
    const flags = /^flags:\t([0-7]+)$/m.exec(readFileSync('/proc/self/fdinfo/0', 'latin1'))?.[1];
    return (Number.parseInt(flags ?? '0', 8) & constants.O_WRONLY) !== 0;
  } catch {
    return false; // no /proc
  }
}

/**
 * Node resets its terminals when it ends, and aborts, with a core dump, where one has gone meanwhile; not where something else
 * is in its place (ResetStdio in src/node.cc).
 */
function leaveTerminalsThatGo(): void {
  const terminals = [0, 1, 2].filter(mayBeTerminal);
  if (terminals.length === 0) return;
  process.once('exit', () => {
    for (const fd of terminals) {
      if (isTerminal(fd)) continue;
      closeSync(fd);
      openSync('/dev/null', constants.O_RDWR); // takes the lowest number that is free: this one
    }
  });
}

/** Writes a message of one line or several to stderr, as `warn` does. */
export function complain(text: string | readonly string[]): void {
  warn('tcpconnlat', text);
}
