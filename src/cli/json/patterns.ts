/**
 * Patterns of the JSON Schemas: regular expressions of ECMA-262, as draft 2020-12 has them.
 */
import type { Result } from '../../programs/tcpconnlat.ts';

/** Months and days of every year; a leap year has one more. Years as the Gregorian calendar has them. */
const DAY =
  '(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8])';
const LEAP_YEAR = '\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00';
const CLOCK = '(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d';

/** A time of day that exists, ISO 8601 in UTC with microseconds: `2026-11-25T15:39:56.123456Z`. */
export const TIME = `^(?:\\d{4}-(?:${DAY})|(?:${LEAP_YEAR})-02-29)T${CLOCK}\\.\\d{6}Z$`;

/** An address of either family, without a zone. */
export const ADDRESS = '^[0-9A-Fa-f.:]{2,45}$';

const ERROR_NAME = 'E[A-Z0-9]{1,31}|errno -?\\d{1,10}';
/** The kernel's name of an error, or `errno 4095` for one without a name here. */
export const ERRNO = `^(?:${ERROR_NAME})$`;

/** The outcomes of a connect, except for errors, which show by name. */
export const RESULTS = Object.keys({
  established: true,
  refused: true,
  rejected: true,
  'timed-out': true,
  unreachable: true,
  'no-port': true,
  aborted: true,
  killed: true,
  failed: true,
} satisfies Record<Exclude<Result, 'error'>, true>);

/** An outcome, or the name of an error. */
export const RESULT = `^(?:${RESULTS.join('|')}|${ERROR_NAME})$`;
