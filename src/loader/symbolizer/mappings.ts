/**
 * The executable mappings of a process.
 *
 * Source: man 5 proc_pid_maps.
 */
import { countLeading } from '../../asm/count-leading.ts';

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
  const isBefore = (index: number) => (mappings[index] as ExecutableMapping).end <= address;
  const found = mappings[countLeading(mappings.length, isBefore)];
  return found && found.start <= address ? found : undefined;
}
