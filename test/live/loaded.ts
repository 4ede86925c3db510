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
  const ids = readdirSync(`/proc/${pid}/fdinfo`).flatMap((fd) => {
    const info = readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8');
    return [...info.matchAll(/^prog_id:\s*(\d+)$/gm)].map(([, id]) => Number(id));
  });
  return [...new Set(ids)];
}

/** The instructions that the verifier examined for each program of a process; none before Linux 5.16. */
export function verifiedIn(pid: number): number[] {
  return readdirSync(`/proc/${pid}/fdinfo`).flatMap((fd) => {
    try {
      const info = readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8');
      return [...info.matchAll(/^verified_insns:\s*(\d+)$/gm)].map(([, count]) => Number(count));
    } catch {
      return []; // closed in the meantime
    }
  });
}
