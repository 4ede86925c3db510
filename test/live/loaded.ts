/** Programs that the kernel has. */
import * as assert from 'uvu/assert';
import { Attr, Command } from '../../src/loader/bpf.ts';
import { Errno } from '../../src/loader/errno.ts';
import type { Kernel } from '../../src/loader/kernel.ts';

/** Whether the kernel still has the program with that id. */
export function exists(kernel: Kernel, id: number): boolean {
  const fd = new Attr(kernel.syscalls, 12).u32(0, id).send(Command.progGetFdById);
  if (fd >= 0) kernel.syscalls.close(fd);
  else assert.is(fd, -Errno.ENOENT);
  return fd >= 0;
}
