/**
 * Signal handling from the first line of a command until a run installs its own listeners.
 */

/** The stop signals: they end a run. */
export const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const ignore = () => {};

/**
 * Ignores SIGUSR1. Without a listener Node opens its debugger on that signal: a TCP port through which every
 * local user can run code in this process, as root.
 */
export function ignoreDebuggerSignal(): void {
  process.on('SIGUSR1', ignore);
}

/**
 * Keeps the stop signals from killing the process while it starts and exits. Node delivers a signal in the
 * next turn of the event loop; a run that listens by then ends with status 0.
 */
export function holdStopSignals(): void {
  for (const signal of STOP_SIGNALS) process.on(signal, ignore);
  // An exit by an empty event loop would close the signal handles first: a signal would then kill the
  // process.
  process.once('beforeExit', () => process.exit());
}

/** Lets the stop signals kill the process again, for commands that print and exit. */
export function releaseStopSignals(): void {
  for (const signal of STOP_SIGNALS) process.removeAllListeners(signal);
}
