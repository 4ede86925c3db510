/**
 * A buffer that lines are written into as bytes: no string is made for a line, and the memory is reused.
 *
 * Every method appends, and returns the number of columns that the text takes on a terminal.
 */
import { columnsOf } from './width.ts';

/** A text whose bytes are copied into lines. */
export interface EncodedText {
  /** UTF-8. */
  readonly bytes: Uint8Array;
  readonly columns: number;
}

/** Encodes a text for `LineBuffer.encoded`. */
export function encodeText(text: string): EncodedText {
  return { bytes: Buffer.from(text), columns: columnsOf(text) };
}

/** The most texts that are kept. */
const MAX_KEPT = 1024;

/** Encodes texts by `form`, such as an escape of foreign text, and keeps the results. */
export function encodedTexts(form: (text: string) => string): (text: string) => EncodedText {
  const known = new Map<string, EncodedText>();
  return (text) => {
    let encoded = known.get(text);
    if (encoded === undefined) {
      if (known.size >= MAX_KEPT) known.clear();
      encoded = encodeText(form(text));
      known.set(text, encoded);
    }
    return encoded;
  };
}

/**
 * Encodes texts of objects that do not change, and keeps each as long as its object. If texts also depend on
 * a number, each object's text is kept for the last number.
 */
export function encodedObjects<T extends object>(
  form: (object: T, number?: number) => string,
): (object: T, number?: number) => EncodedText {
  interface Known extends EncodedText {
    readonly number: number | undefined;
  }
  const known = new WeakMap<T, Known>();
  /** The last object, which is often the next one too. */
  let last: T | undefined;
  let lastText: Known | undefined;
  return (object, number) => {
    if (object !== last) [last, lastText] = [object, known.get(object)];
    if (lastText === undefined || lastText.number !== number) {
      lastText = { ...encodeText(form(object, number)), number };
      known.set(object, lastText);
    }
    return lastText;
  };
}

const ZERO = 0x30;
const SPACE = 0x20;
const DOT = 0x2e;
/** Numbers below are divided as 32-bit integers. */
const INT_LIMIT = 0x7fff_ffff;
/** Up to here a double has 15 exact digits, which its shortest text keeps. */
const EXACT_LIMIT = 1e15;
/** The longest number or address in bytes. */
const MAX_SHORT = 64;
/** A loop copies as many bytes as fast as a call (15 ns). */
const MAX_LOOP = 8;
const INITIAL_BYTES = 16_384;

/** Bytes between `start` and `end`. The owner moves both. */
export class LineBuffer {
  /** The memory. Growing replaces it. */
  bytes = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  start = 0;
  end = 0;

  /** Makes space for `count` bytes after `end`. */
  reserve(count: number): void {
    if (this.bytes.length - this.end >= count) return;
    const used = this.end - this.start;
    const needed = used + count;
    const old = this.bytes;
    if (needed > old.length) this.bytes = Buffer.allocUnsafeSlow(Math.max(needed, 2 * old.length));
    old.copy(this.bytes, 0, this.start, this.end);
    this.start = 0;
    this.end = used;
  }

  /** Appends one ASCII character. */
  byte(code: number): 1 {
    this.reserve(1);
    this.bytes[this.end++] = code;
    return 1;
  }

  /** Appends a short text of ASCII characters. */
  ascii(text: string): number {
    const { length } = text;
    this.reserve(length);
    for (let i = 0; i < length; i++) this.bytes[this.end + i] = text.charCodeAt(i);
    this.end += length;
    return length;
  }

  /** Appends any text, without counting its columns. */
  text(text: string): void {
    this.reserve(Buffer.byteLength(text));
    this.end += this.bytes.write(text, this.end);
  }

  encoded({ bytes, columns }: EncodedText): number {
    this.reserve(bytes.length);
    if (bytes.length > MAX_LOOP) this.bytes.set(bytes, this.end);
    else for (let i = 0; i < bytes.length; i++) this.bytes[this.end + i] = bytes[i] as number;
    this.end += bytes.length;
    return columns;
  }

  /** Appends spaces. */
  spaces(count: number): number {
    if (count <= 0) return 0;
    this.reserve(count);
    for (let i = 0; i < count; i++) this.bytes[this.end + i] = SPACE;
    this.end += count;
    return count;
  }

  /** Appends an integer in decimal, as `String` does. */
  decimal(value: number): number {
    if (!(value >= 0 && value <= INT_LIMIT)) return this.ascii(String(value));
    let digits = 1;
    for (let limit = 10; value >= limit; limit *= 10) digits++;
    this.reserve(digits);
    this.#digits(value, digits);
    return digits;
  }

  /** Appends the lowest `digits` digits of an integer, with leading zeros. */
  #digits(value: number, digits: number): void {
    let rest = value | 0;
    this.end += digits;
    for (let i = 1; i <= digits; i++) {
      const quotient = (rest / 10) | 0;
      this.bytes[this.end - i] = ZERO + rest - 10 * quotient;
      rest = quotient;
    }
  }

  /**
   * Appends `(count / unit).toFixed(places)` for an integer `count` and a power of ten `unit`. Both divisions
   * by `unit` and the rounding are exact here, except for a tie, which `toFixed` decides by the double.
   */
  fixed(count: number, unit: number, places: 2 | 3): number {
    const scale = places === 2 ? 100 : 1000;
    const step = unit / scale;
    const floor = Math.floor(count / step);
    const rest = count - floor * step;
    if (!(count >= 0 && floor < INT_LIMIT) || rest * 2 === step)
      return this.ascii((count / unit).toFixed(places));
    const rounded = rest * 2 > step ? floor + 1 : floor;
    const whole = (rounded / scale) | 0;
    this.reserve(MAX_SHORT);
    const length = this.decimal(whole);
    this.bytes[this.end++] = DOT;
    this.#digits(rounded - whole * scale, places);
    return length + 1 + places;
  }

  /**
   * Appends `String(count / 10 ** places)` for an integer `count`: the decimal digits without trailing zeros.
   * Small fractions, which have an exponent, and numbers of more than 15 digits are left to `String`.
   */
  quotient(count: number, places: 6 | 9): number {
    const unit = places === 6 ? 1e6 : 1e9;
    if (!((count >= unit / 1e6 || count === 0) && count < EXACT_LIMIT))
      return this.ascii(String(count / unit));
    const whole = Math.floor(count / unit);
    let rest = count - whole * unit;
    const length = this.decimal(whole);
    if (rest === 0) return length;
    let digits: number = places;
    for (; rest % 10 === 0; rest /= 10) digits--;
    this.reserve(MAX_SHORT);
    this.bytes[this.end++] = DOT;
    this.#digits(rest, digits);
    return length + 1 + digits;
  }
}
