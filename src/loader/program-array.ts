/**
 * Program arrays in the kernel: what tail calls go on in.
 *
 * Source: man 2 bpf; kernel/bpf/arraymap.c (`prog_array_map_ops`), kernel/bpf/core.c (`bpf_prog_map_compatible`).
 */
import { type ProgramArraySpec, slotNumber } from '../asm/map.ts';
import type { ProgramSpec, TailCalled } from '../asm/program.ts';
import { mapsIn, programsOf, tailCalledSlots } from '../asm/tool-parts.ts';
import { Errno } from './errno.ts';
import { KernelError } from './errors.ts';
import type { Kernel } from './kernel.ts';
import { programTypeNumbers } from './load/request.ts';
import type { BpfMap } from './map.ts';
import { kernelError } from './permission.ts';
import type { Program } from './program.ts';

/**
 * The slots of a program array. The map stays its owner's; the kernel empties it when the last descriptor of it is closed, or the process
 * ends. A program in a slot stays loaded, closed or not.
 */
export class ProgramArray<N extends string = string> {
  readonly map: BpfMap<ProgramArraySpec<N>>;
  readonly #kernel: Kernel;

  constructor(kernel: Kernel, map: BpfMap<ProgramArraySpec<N>>) {
    this.map = map;
    this.#kernel = kernel;
  }

  /** The id of the program in a slot; undefined where it is empty. @throws {RangeError} @throws {KernelError} */
  lookup(slot: N | number): number | undefined {
    return this.map.lookup(slotNumber(this.map.spec, slot));
  }

  /**
   * Puts a program into a slot, in the place of another if there is one: from now on tail calls go there.
   * @throws {RangeError} where there is no such slot. @throws {KernelError} EINVAL for a program that is of another type than those that
   * use the array.
   */
  update(slot: N | number, program: Program): void {
    const { spec } = this.map;
    const number = slotNumber(spec, slot);
    try {
      this.map.update(number, program.fd);
    } catch (error) {
      if (!(error instanceof KernelError) || error.errno !== Errno.EINVAL) throw error;
      throw kernelError(this.#kernel, {
        syscall: error.syscall,
        errno: error.errno,
        tried: `put the program '${program.spec.name}' into slot ${slot} of the program array '${spec.name}'`,
        hint: 'those that go on in each other are of one type, and since Linux 6.2 on functions or tracepoints with the same arguments',
      });
    }
  }

  /** Empties a slot: whether there was a program in it. @throws {RangeError} @throws {KernelError} */
  delete(slot: N | number): boolean {
    return this.map.delete(slotNumber(this.map.spec, slot));
  }
}

/**
 * Throws a RangeError where those that use a program array and those in it aren't of one type: the kernel would refuse one of them without
 * a word. Slots that there aren't are refused, too.
 */
export function checkTailCalled(tailCalled: readonly TailCalled[], attached: readonly ProgramSpec[]): void {
  const inSlots = tailCalledSlots(tailCalled);
  for (const { array, slot } of inSlots) slotNumber(array, slot);
  const all = programsOf({ programs: attached, tailCalled });
  for (const { array } of tailCalled) {
    const members = [
      ...[...all]
        .filter((program) => mapsIn(program.instructions).has(array))
        .map((program) => ({ program, role: 'uses it' })),
      ...inSlots
        .filter((each) => each.array === array)
        .map(({ program, slot }) => ({ program, role: `is in its slot ${slot}` })),
    ];
    const [first] = members;
    const other = members.find(({ program }) => first && typeOf(program) !== typeOf(first.program));
    if (first && other)
      throw new RangeError(
        `program array ${array.name}: ${describe(first)} and ${describe(other)}; those that go on in each other are of one type`,
      );
  }
}

function describe({ program, role }: { readonly program: ProgramSpec; readonly role: string }): string {
  return `'${program.name}', which ${role}, is of the type ${program.attachment.kind}`;
}

function typeOf({ attachment }: ProgramSpec): number {
  return programTypeNumbers[attachment.kind];
}
