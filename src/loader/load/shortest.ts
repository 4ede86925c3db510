/** The shortest program, which shows whether a kernel loads programs of a type at all. */
import { Attr, allocateCopy, Command, cString } from '../bpf.ts';
import type { KernelFacts } from '../kernel-facts.ts';

/** r0 = 0; exit */
const CODE = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/** Loads `r0 = 0; exit` as a program of a type. Returns the descriptor, or minus the errno. */
export function loadShortest({ syscalls }: KernelFacts, type: number, expectedAttachType = 0): number {
  return new Attr(syscalls, 72)
    .u32(0, type)
    .u32(4, CODE.length / 8)
    .pointer(8, allocateCopy(Uint8Array.from(CODE)))
    .pointer(16, cString('GPL'))
    .u32(68, expectedAttachType)
    .send(Command.progLoad);
}
