/**
 * Names of maps and programs, as the kernel keeps them and bpftool shows them.
 *
 * Source: include/uapi/linux/bpf.h (`BPF_OBJ_NAME_LEN`), kernel/bpf/syscall.c (`bpf_obj_name_cpy`).
 */
import { withSourcePosition } from './error-position.ts';

/** `BPF_OBJ_NAME_LEN` without the terminating zero. */
const LONGEST = 15;

/**
 * Throws RangeError for a name that the kernel refuses or that does not fit. Names came with Linux 4.15, and
 * '.' in them with 5.2: the loader creates the object without its name on an older kernel.
 */
export function checkObjectName(kind: 'map' | 'program', name: string): void {
  if (typeof name === 'string' && /^[A-Za-z0-9_.]{1,15}$/.test(name)) return;
  throw withSourcePosition(
    new RangeError(`${kind} name '${name}': the kernel takes 1 to ${LONGEST} characters of [A-Za-z0-9_.]`),
  );
}

/**
 * The name of an object that is named after a kernel symbol: the start of the symbol, '_' for other
 * characters.
 */
export function objectNameOf(symbol: string): string {
  return symbol.replace(/[^A-Za-z0-9_]/g, '_').slice(0, LONGEST);
}
