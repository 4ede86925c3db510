/** Parses hexadecimal digits. */

/** The value of each character as a digit; -1 for other characters. */
const VALUES = Int8Array.from({ length: 256 }, (_, code) => {
  const value = Number.parseInt(String.fromCharCode(code), 16);
  return Number.isNaN(value) ? -1 : value;
});

const [ZERO, X] = [0x30, 0x78];
/** Separators: white space, commas and colons. */
const SEPARATORS = new Set(Array.from(' \t\n\v\f\r\u00a0,:', (character) => character.charCodeAt(0)));

/**
 * Parses pairs of digits, with or without `0x`. Returns undefined if the text contains anything else, or an
 * odd number of digits.
 */
export function bytesOfHex(text: Uint8Array): Uint8Array | undefined {
  const bytes = new Uint8Array((text.length + 1) >> 1);
  let digits = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text[at] as number;
    if (SEPARATORS.has(code)) continue;
    if (code === ZERO && text[at + 1] === X) {
      at++;
      continue;
    }
    const value = VALUES[code] as number;
    if (value < 0) return undefined;
    bytes[digits >> 1] = ((bytes[digits >> 1] as number) << 4) | value;
    digits++;
  }
  return digits > 0 && digits % 2 === 0 ? bytes.subarray(0, digits / 2) : undefined;
}
