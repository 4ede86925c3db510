/**
 * A run of tcpconnlat, live or from a recording: its output, and what ends it.
 */
import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import type { Syscalls } from '../loader/syscalls.ts';
import { onHangUp } from './descriptors.ts';
import { type LineOutput, lineOutput, openErrorOutput, printWarning, standardOutput } from './output.ts';
import { STOP_SIGNALS } from './signals.ts';
import { isTerminal, mayBeTerminal } from './terminal.ts';

/**
 * While a run is open, and until the process exits, stop signals end the run instead of killing the process.
 * Under nohup it ignores SIGHUP.
 */
export interface Run {
  readonly output: LineOutput;
  /** Resolves when the run ends, with the error that ended it, if any. */
  readonly ended: Promise<Error | undefined>;
  /** Whether the reader of the output has exited, or writing to it has failed. */
  readonly readerGone: boolean;
  end(error?: Error): void;
  /** Writes the remaining output, for up to half a second. */
  close(): Promise<void>;
}

/**
 * Opens a run. With `syscalls` it also ends when the reader of stdout exits while there is nothing to write,
 * unless `watchesReader` is false.
 */
export function openRun(syscalls?: Syscalls, { watchesReader = true } = {}): Run {
  let end: (error?: Error) => void = () => {};
  const ended = new Promise<Error | undefined>((resolve) => {
    end = resolve;
  });
  const stop = () => end();
  const ignored = isUnderNohup() ? 'SIGHUP' : undefined;
  for (const signal of STOP_SIGNALS) process.on(signal, signal === ignored ? () => {} : stop);
  replaceHungUpTerminalsAtExit();
  const stdout = standardOutput(syscalls);
  openErrorOutput(syscalls);
  let readerGone = false;
  const output = lineOutput(stdout.write, (error) => {
    readerGone = true;
    end(error);
  });
  const hangUp =
    syscalls &&
    watchesReader &&
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
      if (hangUp) hangUp.close();
      await output.end();
      stdout.close();
    },
  };
}

/**
 * Whether nohup started the process. Node resets every signal to its default action when it starts, so an
 * ignored SIGHUP cannot be detected. But if stdin was a terminal, nohup replaces it with a descriptor that is
 * open for writing only.
 *
 * Source: nohup(1) of GNU coreutils; PlatformInit in Node's src/node.cc.
 */
function isUnderNohup(): boolean {
  try {
    const flags = /^flags:\t([0-7]+)$/m.exec(readFileSync('/proc/self/fdinfo/0', 'latin1'))?.[1];
    return (Number.parseInt(flags ?? '0', 8) & constants.O_WRONLY) !== 0;
  } catch {
    return false; // no /proc
  }
}

/**
 * At exit Node resets the terminals that it started with, and aborts with a core dump if a terminal has been
 * hung up. It skips a descriptor that refers to another file by then (ResetStdio in src/node.cc).
 */
function replaceHungUpTerminalsAtExit(): void {
  const terminals = [0, 1, 2].filter(mayBeTerminal);
  if (terminals.length === 0) return;
  process.once('exit', () => {
    for (const fd of terminals) {
      if (isTerminal(fd)) continue;
      closeSync(fd);
      openSync('/dev/null', constants.O_RDWR); // gets the lowest free number, which is `fd`
    }
  });
}

/** Prints a message of one or more lines to stderr, after the name of the command. */
export function warn(text: string | readonly string[]): void {
  printWarning('tcpconnlat', text);
}
