/**
 * Constructors of jumps, calls, exits and labels. A target is a label of the same list, or a number of slots
 * counted from the next instruction. Whether a label is in reach is known only to `assemble`.
 *
 * Source: RFC 9669, section 4.3.
 */
import type { Helper } from '../helpers.ts';
import type { Instruction, Label, Reference, Register, SubprogramCode } from '../instruction.ts';
import type { JumpTarget } from '../operands.ts';
import { formNamed, formsByOperand, make, registerAndImmediate } from './make.ts';

/** Constructor of a conditional jump to a label, or over a number of slots. */
export type Branch = (dst: Register, operand: Register | number, target: JumpTarget) => Instruction;

function branch(name: string): Branch {
  const forms = registerAndImmediate(name);
  return (dst, operand, target) =>
    typeof operand === 'number'
      ? make(forms().immediate, { dst, imm: operand, off: target })
      : make(forms().register, { dst, src: operand, off: target });
}

/**
 * Names the position of the next instruction in a list. A label is unique within its list; names with `%` are
 * reserved for generated labels.
 *
 * @example
 * import { assemble, exit, ja, label, mov, r0 } from 'tsbpf/asm';
 * assemble([mov(r0, 0), ja('end'), label('end'), exit()]);
 */
export function label(name: string): Label {
  return { label: name };
}

/**
 * Jumps if `dst == operand`; sign-extends an immediate to 64 bits.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jeq, r1 } from 'tsbpf/asm';
 * jeq(r1, 10, 'end'); // if r1 == 0xa goto end
 */
export const jeq = branch('jeq');

/**
 * Jumps if `dst != operand`; sign-extends an immediate to 64 bits.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jne, r1 } from 'tsbpf/asm';
 * jne(r1, 10, 'end'); // if r1 != 0xa goto end
 */
export const jne = branch('jne');

/**
 * Jumps if `dst > operand`, unsigned; sign-extends an immediate to 64 bits.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jgt, r1 } from 'tsbpf/asm';
 * jgt(r1, 10, 'end'); // if r1 > 0xa goto end
 */
export const jgt = branch('jgt');

/**
 * Jumps if `dst >= operand`, unsigned; sign-extends an immediate to 64 bits.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jge, r1 } from 'tsbpf/asm';
 * jge(r1, 10, 'end'); // if r1 >= 0xa goto end
 */
export const jge = branch('jge');

/**
 * Jumps if `dst < operand`, unsigned (Linux 4.14); sign-extends an immediate to 64 bits.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jlt, r1 } from 'tsbpf/asm';
 * jlt(r1, 10, 'end'); // if r1 < 0xa goto end
 */
export const jlt = branch('jlt');

/**
 * Jumps if `dst <= operand`, unsigned (Linux 4.14); sign-extends an immediate to 64 bits.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jle, r1 } from 'tsbpf/asm';
 * jle(r1, 10, 'end'); // if r1 <= 0xa goto end
 */
export const jle = branch('jle');

/**
 * Jumps if `dst > operand`, signed; sign-extends an immediate to 64 bits.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jsgt, r1 } from 'tsbpf/asm';
 * jsgt(r1, 10, 'end'); // if r1 s> 0xa goto end
 */
export const jsgt = branch('jsgt');

/**
 * Jumps if `dst >= operand`, signed; sign-extends an immediate to 64 bits.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jsge, r1 } from 'tsbpf/asm';
 * jsge(r1, 10, 'end'); // if r1 s>= 0xa goto end
 */
export const jsge = branch('jsge');

/**
 * Jumps if `dst < operand`, signed (Linux 4.14); sign-extends an immediate to 64 bits.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jslt, r1 } from 'tsbpf/asm';
 * jslt(r1, 10, 'end'); // if r1 s< 0xa goto end
 */
export const jslt = branch('jslt');

/**
 * Jumps if `dst <= operand`, signed (Linux 4.14); sign-extends an immediate to 64 bits.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jsle, r1 } from 'tsbpf/asm';
 * jsle(r1, 10, 'end'); // if r1 s<= 0xa goto end
 */
export const jsle = branch('jsle');

/**
 * Jumps if `dst & operand` is not zero; sign-extends an immediate to 64 bits.
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jset, r1 } from 'tsbpf/asm';
 * jset(r1, 10, 'end'); // if r1 & 0xa goto end
 */
export const jset = branch('jset');

/**
 * Jumps if `dst == operand`, comparing the low 32 bits (Linux 5.1).
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jeq32, r1 } from 'tsbpf/asm';
 * jeq32(r1, 10, 'end'); // if w1 == 0xa goto end
 */
export const jeq32 = branch('jeq32');

/**
 * Jumps if `dst != operand`, comparing the low 32 bits (Linux 5.1).
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jne32, r1 } from 'tsbpf/asm';
 * jne32(r1, 10, 'end'); // if w1 != 0xa goto end
 */
export const jne32 = branch('jne32');

/**
 * Jumps if `dst > operand`, comparing the low 32 bits as unsigned numbers (Linux 5.1).
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jgt32, r1 } from 'tsbpf/asm';
 * jgt32(r1, 10, 'end'); // if w1 > 0xa goto end
 */
export const jgt32 = branch('jgt32');

/**
 * Jumps if `dst >= operand`, comparing the low 32 bits as unsigned numbers (Linux 5.1).
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jge32, r1 } from 'tsbpf/asm';
 * jge32(r1, 10, 'end'); // if w1 >= 0xa goto end
 */
export const jge32 = branch('jge32');

/**
 * Jumps if `dst < operand`, comparing the low 32 bits as unsigned numbers (Linux 5.1).
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jlt32, r1 } from 'tsbpf/asm';
 * jlt32(r1, 10, 'end'); // if w1 < 0xa goto end
 */
export const jlt32 = branch('jlt32');

/**
 * Jumps if `dst <= operand`, comparing the low 32 bits as unsigned numbers (Linux 5.1).
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jle32, r1 } from 'tsbpf/asm';
 * jle32(r1, 10, 'end'); // if w1 <= 0xa goto end
 */
export const jle32 = branch('jle32');

/**
 * Jumps if `dst > operand`, comparing the low 32 bits as signed numbers (Linux 5.1).
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jsgt32, r1 } from 'tsbpf/asm';
 * jsgt32(r1, 10, 'end'); // if w1 s> 0xa goto end
 */
export const jsgt32 = branch('jsgt32');

/**
 * Jumps if `dst >= operand`, comparing the low 32 bits as signed numbers (Linux 5.1).
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jsge32, r1 } from 'tsbpf/asm';
 * jsge32(r1, 10, 'end'); // if w1 s>= 0xa goto end
 */
export const jsge32 = branch('jsge32');

/**
 * Jumps if `dst < operand`, comparing the low 32 bits as signed numbers (Linux 5.1).
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jslt32, r1 } from 'tsbpf/asm';
 * jslt32(r1, 10, 'end'); // if w1 s< 0xa goto end
 */
export const jslt32 = branch('jslt32');

/**
 * Jumps if `dst <= operand`, comparing the low 32 bits as signed numbers (Linux 5.1).
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jsle32, r1 } from 'tsbpf/asm';
 * jsle32(r1, 10, 'end'); // if w1 s<= 0xa goto end
 */
export const jsle32 = branch('jsle32');

/**
 * Jumps if `dst & operand` is not zero, comparing the low 32 bits (Linux 5.1).
 *
 * @throws {RangeError} if the immediate does not fit in 32 bits, or a number of slots in 16 bits.
 *
 * @example
 * import { jset32, r1 } from 'tsbpf/asm';
 * jset32(r1, 10, 'end'); // if w1 & 0xa goto end
 */
export const jset32 = branch('jset32');

const jaForm = formNamed('ja');
const gotolForm = formNamed('gotol');
const gotoxForm = formNamed('gotox');
const mayGotoForm = formNamed('mayGoto');
const callForm = formNamed('call');
const callSubprogramForm = formNamed('callSubprogram');
const callKernelFunctionForms = formsByOperand('callKernelFunction', 'off');
const callxForm = formNamed('callx');
const loadFunctionForm = formNamed('loadFunction');
const exitForm = formNamed('exit');

/**
 * Jumps always, up to 32768 slots away.
 *
 * @throws {RangeError} if a number of slots does not fit in 16 bits.
 *
 * @example
 * import { ja } from 'tsbpf/asm';
 * ja('end'); // goto end
 */
export function ja(target: JumpTarget): Instruction {
  return make(jaForm(), { off: target });
}

/**
 * Jumps always, any distance (Linux 6.6).
 *
 * @throws {RangeError} if a number of slots does not fit in 32 bits.
 *
 * @example
 * import { gotol } from 'tsbpf/asm';
 * gotol('end'); // gotol end
 */
export function gotol(target: JumpTarget): Instruction {
  return make(gotolForm(), { imm: target });
}

/**
 * Jumps to the address in a register, which the program loads from a jump table (Linux 6.19). See
 * `jumpThrough`.
 *
 * @throws {RangeError} if dst is not a register.
 *
 * @example
 * import { gotox, r1 } from 'tsbpf/asm';
 * gotox(r1); // gotox r1
 */
export function gotox(dst: Register): Instruction {
  return make(gotoxForm(), { dst });
}

/**
 * Falls through until the kernel ends a loop that runs too long; then it jumps (Linux 6.9).
 *
 * @throws {RangeError} if a number of slots does not fit in 16 bits.
 *
 * @example
 * import { mayGoto } from 'tsbpf/asm';
 * mayGoto('end'); // may_goto end
 */
export function mayGoto(target: JumpTarget): Instruction {
  return make(mayGotoForm(), { off: target });
}

/**
 * Calls a kernel helper, by its description or its number. Arguments are in r1 to r5 and the result in r0; r1
 * to r5 are unreadable after it.
 *
 * @throws {RangeError} if the number is not 1 to 2^31-1.
 *
 * @example
 * import { ktimeGetNs } from 'tsbpf';
 * import { call } from 'tsbpf/asm';
 * call(ktimeGetNs); // call bpf_ktime_get_ns#5
 */
export function call(helper: Helper | number): Instruction {
  return make(callForm(), { imm: typeof helper === 'number' ? helper : helper.id });
}

/**
 * Calls a subprogram, which has a stack frame of its own (Linux 4.16): a `SubprogramCode`, which `assemble`
 * appends to the program, a label of the same list, or a number of slots.
 *
 * @throws {RangeError} if a number of slots does not fit in 32 bits.
 *
 * @example
 * import { callSubprogram } from 'tsbpf/asm';
 * callSubprogram('mix'); // call mix
 */
export function callSubprogram(target: JumpTarget | SubprogramCode): Instruction {
  return make(callSubprogramForm(), ...functionOperand(target));
}

/**
 * Calls a kernel function (kfunc) by its BTF id (Linux 5.13). `module` is the index of the module's BTF in
 * the loader's array of file descriptors (Linux 5.16), 0 for vmlinux.
 *
 * @throws {RangeError} if the id or the index is out of range.
 *
 * @example
 * import { callKernelFunction } from 'tsbpf/asm';
 * callKernelFunction(4711); // call kernel-function#4711
 */
export function callKernelFunction(btfId: number, module = 0): Instruction {
  const { operand, fixed } = callKernelFunctionForms();
  return make(module === 0 ? fixed : operand, { imm: btfId, off: module });
}

/**
 * Calls the function whose address is in a register. Compilers emit it; no kernel accepts it.
 *
 * @throws {RangeError} if dst is not a register.
 *
 * @example
 * import { callx, r1 } from 'tsbpf/asm';
 * callx(r1); // callx r1
 */
export function callx(dst: Register): Instruction {
  return make(callxForm(), { dst });
}

/**
 * Loads the address of a subprogram, for helpers that call back (Linux 5.13). Takes two slots. The target is
 * as for `callSubprogram`.
 *
 * @throws {RangeError} if a number of slots does not fit in 32 bits, or dst is r10.
 *
 * @example
 * import { loadFunction, r2 } from 'tsbpf/asm';
 * loadFunction(r2, 'each'); // r2 = subprog[each]
 */
export function loadFunction(dst: Register, target: JumpTarget | SubprogramCode): Instruction {
  const [operands, reference] = functionOperand(target);
  return make(loadFunctionForm(), { dst, ...operands }, reference);
}

/** The operand for a function, and the reference if the function is a `SubprogramCode`. */
function functionOperand(
  target: JumpTarget | SubprogramCode,
): [operands: { readonly imm: JumpTarget }, reference?: Reference] {
  return typeof target === 'object'
    ? [{ imm: 0 }, { kind: 'subprogram', subprogram: target }]
    : [{ imm: target }];
}

/**
 * Ends the function: returns r0 to the caller of a subprogram, or to the kernel.
 *
 * @example
 * import { exit } from 'tsbpf/asm';
 * exit(); // exit
 */
export function exit(): Instruction {
  return make(exitForm(), {});
}
