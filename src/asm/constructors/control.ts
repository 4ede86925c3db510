/**
 * Constructors of jumps, calls and exits, and labels for them to go to. A target is a label of the same program,
 * or a number of slots counted from the following instruction.
 *
 * All throw a RangeError that names instruction, operand and limit where an operand doesn't fit. Whether a label
 * is in reach shows when the program is assembled.
 *
 * Source: RFC 9669, section 4.3.
 */
import type { Helper } from '../helpers.ts';
import type { Instruction, Label, Reference, Register, SubprogramCode } from '../instruction.ts';
import type { JumpTarget } from '../operands.ts';
import { formNamed, formsApart, make, registerAndImmediate } from './make.ts';

/** Makes a jump that is taken if the compare holds. The 64-bit ones sign-extend an immediate. */
export type Branch = (dst: Register, operand: Register | number, target: JumpTarget) => Instruction;

function branch(name: string): Branch {
  const { register, immediate } = registerAndImmediate(name);
  return (dst, operand, target) =>
    typeof operand === 'number'
      ? make(immediate, { dst, imm: operand, off: target })
      : make(register, { dst, src: operand, off: target });
}

/** A name for the place of the instruction that follows; unique within its program. */
export function label(name: string): Label {
  return { label: name };
}

/** Jumps if `dst == operand`. */
export const jeq = branch('jeq');
/** Jumps if `dst != operand`. */
export const jne = branch('jne');
/** Jumps if `dst > operand`, unsigned. */
export const jgt = branch('jgt');
/** Jumps if `dst >= operand`, unsigned. */
export const jge = branch('jge');
/** Jumps if `dst < operand`, unsigned (Linux 4.14). */
export const jlt = branch('jlt');
/** Jumps if `dst <= operand`, unsigned (Linux 4.14). */
export const jle = branch('jle');
/** Jumps if `dst > operand`, signed. */
export const jsgt = branch('jsgt');
/** Jumps if `dst >= operand`, signed. */
export const jsge = branch('jsge');
/** Jumps if `dst < operand`, signed (Linux 4.14). */
export const jslt = branch('jslt');
/** Jumps if `dst <= operand`, signed (Linux 4.14). */
export const jsle = branch('jsle');
/** Jumps if `dst & operand` is not zero. */
export const jset = branch('jset');

/** `jeq` of the low 32 bits (Linux 5.1, as all that follow). */
export const jeq32 = branch('jeq32');
/** `jne` of the low 32 bits. */
export const jne32 = branch('jne32');
/** `jgt` of the low 32 bits. */
export const jgt32 = branch('jgt32');
/** `jge` of the low 32 bits. */
export const jge32 = branch('jge32');
/** `jlt` of the low 32 bits. */
export const jlt32 = branch('jlt32');
/** `jle` of the low 32 bits. */
export const jle32 = branch('jle32');
/** `jsgt` of the low 32 bits. */
export const jsgt32 = branch('jsgt32');
/** `jsge` of the low 32 bits. */
export const jsge32 = branch('jsge32');
/** `jslt` of the low 32 bits. */
export const jslt32 = branch('jslt32');
/** `jsle` of the low 32 bits. */
export const jsle32 = branch('jsle32');
/** `jset` of the low 32 bits. */
export const jset32 = branch('jset32');

const jaForm = formNamed('ja');
const gotolForm = formNamed('gotol');
const gotoxForm = formNamed('gotox');
const mayGotoForm = formNamed('mayGoto');
const callForm = formNamed('call');
const callSubprogramForm = formNamed('callSubprogram');
const callKernelFunctionForms = formsApart('callKernelFunction', 'off');
const callxForm = formNamed('callx');
const loadFunctionForm = formNamed('loadFunction');
const exitForm = formNamed('exit');

/** Jumps, up to 32768 slots. */
export function ja(target: JumpTarget): Instruction {
  return make(jaForm, { off: target });
}

/** Jumps any distance (Linux 6.6). */
export function gotol(target: JumpTarget): Instruction {
  return make(gotolForm, { imm: target });
}

/** Jumps to the address in a register, loaded from an instruction array (Linux 6.19). */
export function gotox(dst: Register): Instruction {
  return make(gotoxForm, { dst });
}

/** Goes on, until the kernel has had enough of a loop: then jumps (Linux 6.9). */
export function mayGoto(target: JumpTarget): Instruction {
  return make(mayGotoForm, { off: target });
}

/** Calls a helper: arguments in r1 to r5, the result in r0, r1 to r5 unreadable after it. */
export function call(helper: Helper | number): Instruction {
  return make(callForm, { imm: typeof helper === 'number' ? helper : helper.id });
}

/**
 * Calls a subprogram, with a stack frame of its own (Linux 4.16): one that is linked in, or that stands in the same list at a label or so
 * many slots away.
 */
export function callSubprogram(target: JumpTarget | SubprogramCode): Instruction {
  return make(callSubprogramForm, ...whereabouts(target));
}

/**
 * Calls a kernel function by its BTF id (Linux 5.13); `module` is the place of its module's BTF in the loader's array of fds
 * (Linux 5.16), 0 for vmlinux.
 */
export function callKernelFunction(btfId: number, module = 0): Instruction {
  const { operand, fixed } = callKernelFunctionForms;
  return make(module === 0 ? fixed : operand, { imm: btfId, off: module });
}

/** Calls the function whose address is in a register. Compilers write it where they must; no kernel takes it. */
export function callx(dst: Register): Instruction {
  return make(callxForm, { dst });
}

/** `dst` = a subprogram's address, for helpers that call back (Linux 5.13). Takes two slots. */
export function loadFunction(dst: Register, target: JumpTarget | SubprogramCode): Instruction {
  const [operands, reference] = whereabouts(target);
  return make(loadFunctionForm, { dst, ...operands }, reference);
}

/** Where a function is, as an operand; of one that is yet to be linked in, as a reference. */
function whereabouts(
  target: JumpTarget | SubprogramCode,
): [operands: { readonly imm: JumpTarget }, reference?: Reference] {
  return typeof target === 'object'
    ? [{ imm: 0 }, { kind: 'subprogram', subprogram: target }]
    : [{ imm: target }];
}

/** Returns r0: to the caller of a subprogram, or to the kernel. */
export function exit(): Instruction {
  return make(exitForm, {});
}
