/** All paths through a program, from its first instruction to an exit, with their instructions and calls. */
import type { Assembled } from '../../src/asm/assemble.ts';
import type { Instruction } from '../../src/asm/instruction.ts';

/** One path. */
export interface Path {
  /** In the order of execution. An lddw is one instruction of two slots. */
  readonly instructions: readonly Instruction[];
  /** The numbers of the helpers that it calls. */
  readonly helpers: readonly number[];
  /** The BTF ids of the kernel functions that it calls. */
  readonly kernelFunctions: readonly number[];
}

// RFC 9669, section 4.3: instruction classes and jump operations.
const JMP = 0x05;
const JMP32 = 0x06;
const JA = 0x00;
const CALL = 0x80;
const EXIT = 0x90;
const LDDW = 0x18;
/** The source register of calls of kernel functions: BPF_PSEUDO_KFUNC_CALL (include/uapi/linux/bpf.h). */
const KERNEL_FUNCTION = 2;

/** Whether an instruction is a conditional jump. */
export function isConditional({ opcode }: Instruction): boolean {
  const kind = opcode & 0x07;
  return (kind === JMP || kind === JMP32) && ![JA, CALL, EXIT].includes(opcode & 0xf0);
}

/** The slots that may follow an instruction. */
function next(slot: number, instruction: Instruction): number[] {
  const { opcode, off, imm } = instruction;
  const kind = opcode & 0x07;
  const after = slot + (opcode === LDDW ? 2 : 1);
  if (kind !== JMP && kind !== JMP32) return [after];
  if (isConditional(instruction)) return [after, after + off];
  if ((opcode & 0xf0) === EXIT) return [];
  if ((opcode & 0xf0) === CALL) return [after];
  return [after + (kind === JMP ? off : imm)];
}

/** Every path, the shortest first. Throws if the program has a loop. */
export function pathsOf({ instructions }: Assembled): Path[] {
  const bySlot = new Map(instructions.map(({ slot, instruction }) => [slot, instruction]));
  const paths: Path[] = [];
  const walk = (slot: number, before: readonly Instruction[]): void => {
    const instruction = bySlot.get(slot);
    if (!instruction || before.length > instructions.length)
      throw new Error(`no path continues from slot ${slot}`);
    const path = [...before, instruction];
    const slots = next(slot, instruction);
    if (slots.length === 0) {
      const calls = path.filter(({ opcode }) => opcode === (JMP | CALL));
      const numbers = (ofKernel: boolean) =>
        calls.filter(({ src }) => (src === KERNEL_FUNCTION) === ofKernel).map(({ imm }) => imm);
      paths.push({ instructions: path, helpers: numbers(false), kernelFunctions: numbers(true) });
    }
    for (const slot of slots) walk(slot, path);
  };
  walk(0, []);
  return paths.sort((a, b) => a.instructions.length - b.instructions.length);
}
