/**
 * Which instructions the running kernel knows, asked by loading a program with one of them: distributions backport, so
 * versions tell nothing.
 *
 * The program is made of the row of the instruction table: something in every register, an operand of each kind, and an end.
 * Some instructions need what such a program can't have (an arena, types, a map of jumps). The kernel then refuses it for that
 * and not for the instruction, which tells as much.
 *
 * Source: kernel/bpf/verifier.c (`resolve_pseudo_ldimm64`, `check_alu_op`, `check_atomic`, `do_check_insn`).
 */
import { type Assembled, type AssembledInstruction, assemble } from '../../asm/assemble.ts';
import { type InstructionArgument, make } from '../../asm/constructors/make.ts';
import { exit, label, mov, st } from '../../asm/constructors.ts';
import type { Instruction, Item } from '../../asm/instruction.ts';
import { FIELDS, type Form, formOf } from '../../asm/isa.ts';
import { type Kind, takesLabel } from '../../asm/operands.ts';
import { r0, r1, r2, r3, r4, r5, r6, r10 } from '../../asm/registers.ts';
import { Attr, allocate, allocateCopy, cString } from '../bpf.ts';
import { Errno } from '../errno.ts';
import type { Kernel } from '../kernel.ts';
import { send } from './request.ts';
import { isInconclusive, loadFailure } from './verdict.ts';

/** What the verifier says of an instruction that it doesn't know, or of a field that meant nothing to it yet. */
const UNKNOWN = /unknown opcode|reserved fields?|invalid atomic op|unrecognized bpf_ld_imm64|R11 is invalid/;

/** The first release of the bpf system call, which has what came with it. */
const FIRST = '3.18';

/** A form that some kernel takes. */
type Released = Form & { readonly since: string };

function isReleased(form: Form): form is Released {
  return form.since !== undefined;
}

const asked = new WeakMap<Kernel, Map<Form, boolean>>();

/**
 * The first instruction of a program that this kernel doesn't know, and its form; undefined if it knows them
 * all, or gives no answer.
 */
export function unknownInstruction(
  kernel: Kernel,
  { instructions }: Assembled,
): { readonly placed: AssembledInstruction; readonly form: Released } | undefined {
  for (const placed of instructions) {
    const form = formOf(placed.instruction);
    if (form && isReleased(form) && answerOf(kernel, form) === false) return { placed, form };
  }
  return undefined;
}

/**
 * Whether this kernel knows a form of the instruction table. Asks the kernel once.
 * @throws {KernelError} if the kernel gives no answer: this process may not load programs, or a limit was
 * reached.
 */
export function knowsForm(kernel: Kernel, form: Form): boolean {
  const answer = answerOf(kernel, form);
  if (typeof answer !== 'number') return answer;
  throw loadFailure(kernel, `probe of ${form.name}`, answer);
}

/** Whether this kernel knows a form, or the errno if it gives no answer. Only answers are kept. */
function answerOf(kernel: Kernel, form: Form): boolean | number {
  if (form.since === FIRST) return true;
  if (form.since === undefined) return false;
  const answers = asked.get(kernel) ?? new Map<Form, boolean>();
  asked.set(kernel, answers);
  const answer = answers.get(form) ?? ask(kernel, form);
  if (typeof answer === 'boolean') answers.set(form, answer);
  return answer;
}

function ask(kernel: Kernel, form: Form): boolean | number {
  const { errno, log } = load(kernel, assemble(probeOf(form)).bytes);
  if (isInconclusive(errno) || (errno === Errno.EPERM && log.trim() === '')) return errno;
  return errno === 0 || !UNKNOWN.test(log);
}

/** A program around one instruction of that form. */
function probeOf(form: Form): Item[] {
  return [mov(r6, r1), ...exercise(form, 'next', 'subprogram'), mov(r0, 0), exit(), ...subprogramOf(form)];
}

/** One instruction of that form, something in the registers that it may use, and the label `next`, which it may go to. */
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

/** `BPF_PROG_TYPE_SOCKET_FILTER`: what may hold the packet loads, and needs nothing to be loaded. */
const SOCKET_FILTER = 1;
const LOG_BYTES = 64 * 1024;

/** The errno of a load, 0 if it succeeds, and the verifier's log. */
function load(kernel: Kernel, program: Uint8Array): { readonly errno: number; readonly log: string } {
  const bytes = allocateCopy(program);
  const log = allocate(LOG_BYTES);
  // Of `union bpf_attr` for BPF_PROG_LOAD: type, count, instructions, licence, log level, size and buffer.
  const attr = new Attr(kernel.syscalls, 48)
    .u32(0, SOCKET_FILTER)
    .u32(4, bytes.length / 8)
    .pointer(8, bytes)
    .pointer(16, cString('GPL'))
    .u32(24, 1)
    .u32(28, log.length)
    .pointer(32, log);
  const result = send(kernel, attr);
  if (result >= 0) kernel.syscalls.close(result);
  return {
    errno: Math.max(-result, 0),
    log: Buffer.from(log).toString('latin1').split('\0', 1)[0] as string,
  };
}

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

/** A number that every instruction takes for that kind of operand; 1 for the others. */
const NUMBERS: { readonly [K in Kind]?: number } = { offset: -8, incoming: 8, outgoing: -8 };
