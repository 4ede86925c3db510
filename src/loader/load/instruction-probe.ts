/**
 * Feature probes for instructions. A probe loads a program with the instruction instead of comparing
 * versions, because distributions backport features.
 *
 * The program comes from the row of the instruction table: it sets every register, runs the instruction with
 * an operand of each kind, and exits. Some instructions need more than such a program has (an arena, BTF, a
 * jump table). The kernel then refuses the program for that reason and not for the instruction, which answers
 * the question as well.
 *
 * Source: kernel/bpf/verifier.c (`resolve_pseudo_ldimm64`, `check_alu_op`, `check_atomic`, `do_check_insn`).
 */
import type { Assembled, AssembledInstruction } from '../../asm/assemble.ts';
import { type InstructionArgument, make } from '../../asm/constructors/make.ts';
import { exit, label, mov, st } from '../../asm/constructors.ts';
import type { Instruction, Item } from '../../asm/instruction.ts';
import { FIELDS, type Form, formOf } from '../../asm/isa.ts';
import { type Kind, takesLabel } from '../../asm/operands.ts';
import { r0, r1, r2, r3, r4, r5, r6, r10 } from '../../asm/registers.ts';
import { Errno } from '../errno.ts';
import { tryProgram } from '../features/attempt.ts';
import type { KernelFacts } from '../kernel-facts.ts';
import { isInconclusive, loadFailure } from './verdict.ts';

/** The verifier's messages for an unknown instruction, or a field that an older kernel reserves. */
const UNKNOWN = /unknown opcode|reserved fields?|invalid atomic op|unrecognized bpf_ld_imm64|R11 is invalid/;

/** The first release with the bpf system call: every kernel knows these instructions. */
const FIRST_RELEASE = '3.18';

/** An instruction form that some release of the kernel accepts. */
type Released = Form & { readonly since: string };

function isReleased(form: Form): form is Released {
  return form.since !== undefined;
}

const results = new WeakMap<KernelFacts, Map<Form, boolean>>();

/**
 * Returns the first instruction of a program that this kernel does not know. Undefined if it knows all of
 * them, or if probing fails.
 */
export function unknownInstruction(
  kernel: KernelFacts,
  { instructions }: Assembled,
): { readonly placed: AssembledInstruction; readonly form: Released } | undefined {
  for (const placed of instructions) {
    const form = formOf(placed.instruction);
    if (form && isReleased(form) && probeResult(kernel, form) === false) return { placed, form };
  }
  return undefined;
}

/**
 * Whether this kernel knows an instruction form. Probes each form once.
 * @throws {KernelError} if the probe is inconclusive: this process may not load programs, or a limit was
 * reached.
 */
export function knowsForm(kernel: KernelFacts, form: Form): boolean {
  const result = probeResult(kernel, form);
  if (typeof result !== 'number') return result;
  throw loadFailure(kernel, `probe of ${form.name}`, result);
}

/** Whether this kernel knows a form, or the errno of an inconclusive probe, which is not cached. */
function probeResult(kernel: KernelFacts, form: Form): boolean | number {
  if (form.since === FIRST_RELEASE) return true;
  if (form.since === undefined) return false;
  const known = results.get(kernel) ?? new Map<Form, boolean>();
  results.set(kernel, known);
  const result = known.get(form) ?? probe(kernel, form);
  if (typeof result === 'boolean') known.set(form, result);
  return result;
}

function probe(kernel: KernelFacts, form: Form): boolean | number {
  const { errno, log } = tryProgram(kernel, { type: SOCKET_FILTER, items: probeProgram(form) });
  if (isInconclusive(errno) || (errno === Errno.EPERM && log === '')) return errno;
  // The verifier knows it, but the JIT compiler does not, and this kernel has no interpreter.
  if (errno === Errno.ENOTSUPP) return false;
  return errno === 0 || !UNKNOWN.test(log);
}

/** Returns a program with one instruction of a form. */
function probeProgram(form: Form): Item[] {
  return [mov(r6, r1), ...exercise(form, 'next', 'subprogram'), mov(r0, 0), exit(), ...subprogramOf(form)];
}

/**
 * Returns one instruction of a form, instructions that set its registers before it, and its jump target
 * `next` after it.
 */
export function exercise(form: Form, next: string, subprogram: string): Item[] {
  return [
    st({ size: 8 }, r10, -8, 0),
    ...[r0, r1, r2, r3, r4, r5].map((register) => mov(register, 1)),
    sample(form, isCall(form) ? subprogram : next),
    label(next),
  ];
}

function subprogramOf(form: Form): Item[] {
  return isCall(form) ? [label('subprogram'), mov(r0, 0), exit()] : [];
}

function isCall({ flow, name }: Form): boolean {
  return flow === 'call' || name === 'loadFunction';
}

/** `BPF_PROG_TYPE_SOCKET_FILTER`: allows the packet loads, and needs no attach type. */
const SOCKET_FILTER = 1;

function sample(form: Form, target: string): Instruction {
  const operands: Partial<Record<(typeof FIELDS)[number], InstructionArgument>> = {};
  for (const field of FIELDS) {
    const kind = form[field];
    if (kind === 'register') operands[field] = field === 'dst' ? r2 : r3;
    else if (kind === 'base') operands[field] = r10;
    else if (typeof kind === 'string') operands[field] = takesLabel(kind) ? target : (NUMBERS[kind] ?? 1);
  }
  return make(form, operands);
}

/** A number that every instruction accepts for a kind of operand. Other kinds accept 1. */
const NUMBERS: { readonly [K in Kind]?: number } = { offset: -8, incoming: 8, outgoing: -8 };
