/**
 * The executable mappings of a process.
 *
 * Source: man 5 proc_pid_maps.
 */

/** A mapping of executable memory. Addresses and the offset are in bytes. */
export interface ExecutableMapping {
  readonly start: bigint;
  readonly end: bigint;
  /** The offset of its first byte in the file. */
  readonly offset: number;
  readonly inode: bigint;
  /** The path as the kernel shows it; empty for anonymous memory, `[vdso]` and the like for special one. */
  readonly path: string;
}

const LINE = /^([0-9a-f]+)-([0-9a-f]+) ..x. ([0-9a-f]+) [0-9a-f]+:[0-9a-f]+ (\d+) *(.*)$/gm;

/** Parses the executable lines of /proc/PID/maps, which the kernel sorts by address. */
export function parseMappings(text: string): ExecutableMapping[] {
  return Array.from(text.matchAll(LINE), ([, start, end, offset = '', inode = '', path = '']) => ({
    start: BigInt(`0x${start}`),
    end: BigInt(`0x${end}`),
    offset: Number.parseInt(offset, 16),
    inode: BigInt(inode),
    path,
  }));
}

/** The mapping that contains an address. */
export function mappingAt(
  mappings: readonly ExecutableMapping[],
  address: bigint,
): ExecutableMapping | undefined {
  let [low, high] = [0, mappings.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((mappings[middle] as ExecutableMapping).end <= address) low = middle + 1;
    else high = middle;
  }
  const found = mappings[low];
  return found && found.start <= address ? found : undefined;
}
