/**
 * Text of bytes that need not be UTF-8, without loss. As in Python's `surrogateescape`, a byte that is not
 * UTF-8 becomes a lone surrogate: U+DC80 for 0x80 to U+DCFF for 0xff.
 */

/** The surrogate of a byte is this plus the byte. */
const ESCAPE = 0xdc00;

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

/** Decodes UTF-8. Different bytes give different texts, and `textBytes` returns the bytes of each. */
export function bytesText(bytes: Uint8Array): string {
  const text = utf8.decode(bytes);
  return text.includes('\ufffd') ? withSurrogates(bytes) : text;
}

function withSurrogates(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const lead = bytes[at] as number;
    const size = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    const octets = bytes.subarray(at, at + size);
    const character = utf8.decode(octets);
    const isValid = Buffer.from(character).equals(octets);
    text += isValid ? character : String.fromCharCode(ESCAPE + lead);
    at += isValid ? size : 1;
  }
  return text;
}

/** Encodes a text of `bytesText`. Undefined for a text with other lone surrogates, which has no bytes. */
export function textBytes(text: string): Uint8Array | undefined {
  if (!LONE.test(text)) return Buffer.from(text);
  const parts: Uint8Array[] = [];
  for (const character of text) {
    const code = character.codePointAt(0) as number;
    if (!LONE.test(character)) parts.push(Buffer.from(character));
    else if (code >= ESCAPE + 0x80 && code <= ESCAPE + 0xff) parts.push(Uint8Array.of(code - ESCAPE));
    else return undefined;
  }
  return Buffer.concat(parts);
}

const LONE = /\p{Surrogate}/u;
