/**
 * Which records are shown, where no program in the kernel has chosen before.
 */
import type { Result } from '../../programs/tcpconnlat.ts';
import type { Options } from '../arguments.ts';
import type { ConnectRecord } from '../record.ts';
import { takes } from './record-filter.ts';

/** Whether a record is one of those that the options ask for. */
export function selects({ filter, family, minNs = 0, outcome }: Options, record: ConnectRecord): boolean {
  return (
    ended(outcome, record.result) &&
    takes(filter, record) &&
    (family === undefined || record.ip === family) &&
    Math.round(record.lat_ms * 1e6) >= minNs
  );
}

/** Whether a record is a failure that the options would choose, if they asked for failures. */
export function hidesFailure(options: Options, record: ConnectRecord): boolean {
  return (
    options.outcome === undefined &&
    !ended(undefined, record.result) &&
    selects({ ...options, outcome: 'all' }, record)
  );
}

/** Whether a connect that has come to `result` is wanted; a recording without results has only those that were answered. */
function ended(wanted: Options['outcome'], result: string | undefined): boolean {
  if (wanted === 'all') return true;
  if (wanted === 'failures') return result !== undefined && result !== 'established';
  return result === undefined || ANSWERED.includes(result as Result);
}

/** What is shown where nothing is said of how connects end. */
const ANSWERED: readonly Result[] = ['established', 'refused'];
