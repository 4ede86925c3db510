/** The running kernel with parts hidden. */
import { Errno } from '../../src/loader/errno.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import type { Syscalls } from '../../src/loader/syscalls.ts';
import { here } from './tracer.ts';

/** This kernel without its PMU for kprobes, so that kprobes are created through tracefs. */
export function withoutPmu(): Kernel {
  const { syscalls } = here;
  const readFile: Syscalls['readFile'] = (path) =>
    path.startsWith('/sys/bus/event_source/') ? -Errno.ENOENT : syscalls.readFile(path);
  return new Kernel(Object.assign(Object.create(syscalls), { readFile }));
}
