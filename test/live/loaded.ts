/** Programs loaded in the kernel. */
import { readdirSync, readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { Attr, Command } from '../../src/loader/bpf.ts';
import { Errno } from '../../src/loader/errno.ts';
import type { Kernel } from '../../src/loader/kernel.ts';

/** Whether the kernel still has the program with this id. */
export function exists(kernel: Kernel, id: number): boolean {
  const fd = new Attr(kernel.syscalls, 12).u32(0, id).send(Command.progGetFdById);
  if (fd >= 0) kernel.syscalls.close(fd);
  else assert.is(fd, -Errno.ENOENT);
  return fd >= 0;
}

/** The ids of a process's programs, each once. (fdinfo of a link also names its program.) */
export function programsOf(pid: number): number[] {
  return [...new Set(numbersIn(pid, 'prog_id'))];
}

/** The instructions that the verifier examined for each program of a process; none before Linux 5.16. */
export function verifiedIn(pid: number): number[] {
  return numbersIn(pid, 'verified_insns');
}

/** The numbers with a name in the descriptions of a process's open files. */
function numbersIn(pid: number, name: string): number[] {
  const line = new RegExp(`^${name}:\\s*(\\d+)$`, 'gm');
  return readdirSync(`/proc/${pid}/fdinfo`).flatMap((fd) =>
    [...descriptionOf(pid, fd).matchAll(line)].map(([, number]) => Number(number)),
  );
}

/** What /proc tells about an open file; nothing if the process has closed it since. */
function descriptionOf(pid: number, fd: string): string {
  try {
    return readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
