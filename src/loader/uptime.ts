/**
 * Returns the milliseconds since the process started, for time limits. Monotonic: changes of the system clock
 * do not affect it. Used instead of `performance.now()`, whose first call loads a dozen of Node's modules
 * (2 ms).
 */
export function uptime(): number {
  return process.uptime() * 1000;
}
