/**
 * Program arrays: the targets of tail calls.
 *
 * Source: man 2 bpf; kernel/bpf/arraymap.c (`prog_array_map_ops`), kernel/bpf/core.c
 * (`bpf_prog_map_compatible`).
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
 * Reads and updates the slots of a program array, the targets of `b.tailCall`.
 *
 * Returned by `session.programArray(spec)`; it owns nothing, and the session closes the map. A program in a
 * slot stays loaded after its `Program` is closed. The kernel empties the array when the last descriptor of
 * the map is closed or the process exits. Minimum kernel: 4.2. Source: man 2 bpf, kernel/bpf/arraymap.c.
 * @example
 * ```ts
 * import { type ProgramSpec, programArray, type Session } from 'tsbpf';
 *
 * const stages = programArray('stages', { slots: ['parse', 'count'] });
 *
 * function replace(session: Session, stage: ProgramSpec): void {
 *   const program = session.load(stage);
 *   session.programArray(stages).update('parse', program);
 * }
 * ```
 */
export class ProgramArray<N extends string = string> {
  readonly map: BpfMap<ProgramArraySpec<N>>;
  readonly #kernel: Kernel;

  constructor(kernel: Kernel, map: BpfMap<ProgramArraySpec<N>>) {
    this.map = map;
    this.#kernel = kernel;
  }

  /**
   * Returns the id of the program in a slot, or undefined if the slot is empty.
   * @throws {RangeError} if there is no such slot. @throws {KernelError}
   */
  lookup(slot: N | number): number | undefined {
    return this.map.lookup(slotNumber(this.map.spec, slot));
  }

  /**
   * Puts a program into a slot, replacing the one there. Tail calls use it from now on. The caller still owns
   * the program.
   * @throws {RangeError} if there is no such slot. @throws {KernelError} `EINVAL` if the program's type
   * differs from the type of the programs that use the array.
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
        hint:
          'programs that tail-call each other must have one type and, since Linux 6.2, ' +
          'be attached to functions or tracepoints with the same arguments',
      });
    }
  }

  /**
   * Empties a slot. Returns whether it held a program.
   * @throws {RangeError} if there is no such slot. @throws {KernelError}
   */
  delete(slot: N | number): boolean {
    return this.map.delete(slotNumber(this.map.spec, slot));
  }
}

/**
 * Checks that the programs in a program array and those that use it have one type: the kernel would refuse
 * one of them without a reason. @throws {RangeError} for different types, and for slots that do not exist.
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
        .map(({ program, slot }) => ({ program, role: `is in slot ${slot}` })),
    ];
    const [first] = members;
    const other = members.find(({ program }) => first && typeOf(program) !== typeOf(first.program));
    if (first && other)
      throw new RangeError(
        `program array '${array.name}': ${describe(first)}, and ${describe(other)}; programs that tail-call each other must have one type`,
      );
  }
}

function describe({ program, role }: { readonly program: ProgramSpec; readonly role: string }): string {
  return `'${program.name}', which ${role}, has the type ${program.attachment.kind}`;
}

function typeOf({ attachment }: ProgramSpec): number {
  return programTypeNumbers[attachment.kind];
}
