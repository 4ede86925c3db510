/**
 * Names of maps and programs in the kernel, which bpftool shows.
 *
 * Source: include/uapi/linux/bpf.h (`BPF_OBJ_NAME_LEN`), kernel/bpf/syscall.c (`bpf_obj_name_cpy`).
 */
import { withSourcePosition } from './error-position.ts';

/** `BPF_OBJ_NAME_LEN` without the terminating null byte. */
const MAX_LENGTH = 15;

/**
 * Throws RangeError for a name that is too long or that the kernel rejects. Names require Linux 4.15, and '.'
 * in a name requires Linux 5.2; on an older kernel the loader creates the object without its name.
 */
export function checkObjectName(kind: 'map' | 'program', name: string): void {
  if (typeof name === 'string' && /^[A-Za-z0-9_.]{1,15}$/.test(name)) return;
  throw withSourcePosition(
    new RangeError(
      `${kind} name '${name}' is invalid: the kernel accepts 1 to ${MAX_LENGTH} characters of [A-Za-z0-9_.]`,
    ),
  );
}

/**
 * Returns the object name for a kernel symbol: the first 15 characters of the symbol, with '_' in place of
 * characters that a name cannot contain.
 */
export function objectNameOf(symbol: string): string {
  return symbol.replace(/[^A-Za-z0-9_]/g, '_').slice(0, MAX_LENGTH);
}
