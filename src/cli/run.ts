/**
 * What a run of the command has whatever it shows: an output, and an end.
 */
import { writeSync } from 'node:fs';
import { type LineOutput, lineOutput, standardOutput } from './output.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** From its opening on signals end the run, and not the process. */
export interface Run {
  readonly output: LineOutput;
  /** Settles at the end: with an error where that is why. */
  readonly ended: Promise<Error | undefined>;
  /** Whether whoever reads the output has gone, or can't be written to. */
  readonly readerGone: boolean;
  end(error?: Error): void;
  /** Writes what waits, and gives signals their meaning back. */
  close(): Promise<void>;
}

export function openRun(): Run {
  let end: (error?: Error) => void = () => {};
  const ended = new Promise<Error | undefined>((resolve) => {
    end = resolve;
  });
  const stop = () => end();
  for (const signal of SIGNALS) process.on(signal, stop);
  const stdout = standardOutput();
  let readerGone = false;
  const output = lineOutput(stdout.write, (error) => {
    readerGone = true;
    end(error);
  });
  return {
    output,
    ended,
    end,
    get readerGone() {
      return readerGone;
    },
    async close() {
      await output.end();
      stdout.close();
      for (const signal of SIGNALS) process.off(signal, stop);
    },
  };
}

/** A line on stderr. Nobody is told where that can't be written. */
export function complain(text: string): void {
  try {
    writeSync(2, `tcpconnlat: ${text}\n`);
  } catch {
    // Closed or full.
  }
}
