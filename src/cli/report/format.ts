/** Numbers and times as text, for a report's document and its script. */

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** `1234567` as `1,234,567`. */
export function grouped(number: number): string {
  return withGroups(String(Math.round(number)));
}

/** The digits before a decimal point in groups of three. Loading `Intl` takes a browser 20 ms. */
function withGroups(digits: string): string {
  const [whole = '', fraction] = digits.split('.');
  const groups = whole.replace(/\B(?=(?:\d{3})+$)/g, ',');
  return fraction === undefined ? groups : `${groups}.${fraction}`;
}

/** A number and what it counts: `1 connect`, `2,000 connects`. */
export function counted(number: number, thing: string): string {
  return `${grouped(number)} ${thing}${number === 1 ? '' : 's'}`;
}

/** Three digits, as a latency in ms in a table: `0.0512`, `3.07`, `1,230`. */
export function digits(ms: number): string {
  return withGroups(plain(Number(ms.toPrecision(3))));
}

/** A number without an exponent. Histograms have no latency of 10^21 ms. */
function plain(number: number): string {
  const text = String(number);
  return text.includes('e-') ? number.toFixed(12).replace(/0+$/, '') : text;
}

/** A latency in ms with a suitable unit: `51.2 µs`, `3.07 ms`, `1.23 s`. */
export function latencyText(ms: number): string {
  if (ms < 1) return `${digits(ms * 1000)}\u00a0µs`;
  return ms < SECOND ? `${digits(ms)}\u00a0ms` : `${digits(ms / SECOND)}\u00a0s`;
}

/** A share in percent: `0 %`, `0.02 %`, `99.98 %`. Only the shares 0 and 1 are `0 %` and `100 %`. */
export function percent(share: number): string {
  const value = share * 100;
  if (value === 0 || value === 100) return `${value}\u00a0%`;
  if (value < 0.01) return '<\u00a00.01\u00a0%';
  if (value > 99.99) return '>\u00a099.99\u00a0%';
  return `${Number(value.toFixed(value < 10 || value > 90 ? 2 : 1))}\u00a0%`;
}

/** A duration in two units: `200 ms`, `1.5 s`, `2 min 5 s`, `3 h 20 min`, `4 d 1 h`. */
export function durationText(ms: number): string {
  if (ms < SECOND) return `${Math.round(ms)} ms`;
  if (ms < MINUTE) return `${Number((ms / SECOND).toFixed(1))} s`;
  const [large, small] = ms < HOUR ? UNITS.minutes : ms < DAY ? UNITS.hours : UNITS.days;
  const whole = Math.floor(ms / large.ms);
  const rest = Math.floor((ms - whole * large.ms) / small.ms);
  return `${whole} ${large.name}${rest > 0 ? ` ${rest} ${small.name}` : ''}`;
}

const UNITS = {
  minutes: [
    { ms: MINUTE, name: 'min' },
    { ms: SECOND, name: 's' },
  ],
  hours: [
    { ms: HOUR, name: 'h' },
    { ms: MINUTE, name: 'min' },
  ],
  days: [
    { ms: DAY, name: 'd' },
    { ms: HOUR, name: 'h' },
  ],
} as const;

/** The date and time in UTC, with as many digits as `precisionMs` needs: `2026-11-25 15:39:56.1`. */
export function dateTime(ms: number, precisionMs = SECOND): string {
  return `${partsOf(ms)[0]} ${clock(ms, precisionMs)}`;
}

/** The time of day in UTC, as `dateTime`. */
export function clock(ms: number, precisionMs = SECOND): string {
  const text = partsOf(ms)[1];
  if (precisionMs >= MINUTE) return text.slice(0, 5);
  if (precisionMs >= SECOND) return text.slice(0, 8);
  return precisionMs >= 100 ? text.slice(0, 10) : text;
}

/** The date and the time of day with milliseconds. Dates after the year 9999 are longer. */
function partsOf(ms: number): [date: string, time: string] {
  const [date = '', time = ''] = new Date(ms).toISOString().slice(0, -1).split('T');
  return [date, time];
}

/** The end of a time range that begins at `fromMs`: without the date if it is the same. */
export function endOfRange(fromMs: number, toMs: number, precisionMs = SECOND): string {
  const sameDay = Math.floor(fromMs / DAY) === Math.floor(toMs / DAY);
  return sameDay ? clock(toMs, precisionMs) : dateTime(toMs, precisionMs);
}
