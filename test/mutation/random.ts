/** Numbers derived from text. */

/** A number between 0 and 1 (exclusive) for a text: FNV-1a, with the last step of mulberry32. */
export function fraction(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), hash | 1);
  hash ^= hash + Math.imul(hash ^ (hash >>> 7), hash | 61);
  return (((hash ^ (hash >>> 14)) >>> 0) + 0.5) / 0x1_0000_0000;
}
