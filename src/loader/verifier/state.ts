/**
 * The verifier's state of registers and stack before an instruction, from its log.
 *
 * The log has a complete state where paths join (`3: R1=ctx() R10=fp0`), and after an instruction its
 * changes. Kernels before 5.18 log less.
 *
 * Source: kernel/bpf/log.c (`print_verifier_state`, `print_insn_state`).
 */
import { INSTRUCTION } from './log.ts';

/** The known values of registers and stack slots by their names in the log: `R1` has `ctx()`. */
export type VerifierState = ReadonlyMap<string, string>;

/** A known value: `R1_w=scalar(umax=255,var_off=(0x0; 0xff))`. Parentheses in a value can contain spaces. */
const KNOWN = /\b(R\d+|fp-\d+)(?:_[a-zA-Z]+)?=((?:[^\s()]|\((?:[^()]|\([^()]*\))*\))+)/g;
/** A complete state before the instruction with this number. */
const STATE = /^(?:from \d+ to )?\d+(?: \([a-z ]+\))?: (?:frame\d+: ?)?R\d/;
const CALL = /^\d+: \(85\) call/;
/** Registers that a call clears. The log then has the new r0. */
const LOST_AT_CALL = ['R0', 'R1', 'R2', 'R3', 'R4', 'R5'];

/**
 * A register or stack slot that an instruction changed: after a semicolon on its line, or on a separate line.
 */
const CHANGE = /\b(R\d|fp-\d)/;
const CHANGE_LINE = /^[1-9]\d*: (frame\d+: ?)?R\d/;

/** Whether a log has instructions without their changes. */
export function lacksStates(log: string): boolean {
  let instructions = 0;
  for (const line of log.split('\n')) {
    if (CHANGE_LINE.test(line)) return false;
    if (!INSTRUCTION.test(line)) continue;
    instructions += 1;
    const comment = line.indexOf('; ');
    if (comment >= 0 && CHANGE.test(line.slice(comment))) return false;
  }
  return instructions > 1;
}

/** Returns the state before the last occurrence of a slot in the log. */
export function stateBefore(log: string, slot: number): VerifierState {
  const lines = log.split('\n');
  const end = lines.findLastIndex((line) => Number(INSTRUCTION.exec(line)?.[1] ?? Number.NaN) === slot);
  const state = new Map<string, string>();
  for (const line of lines.slice(0, Math.max(end, 0))) {
    if (STATE.test(line)) state.clear();
    else if (CALL.test(line)) for (const register of LOST_AT_CALL) state.delete(register);
    else if (!INSTRUCTION.test(line)) continue;
    const values = STATE.test(line) ? line : line.slice(Math.max(line.indexOf(';'), 0));
    for (const [, name = '', value = ''] of values.matchAll(KNOWN)) state.set(name, value);
  }
  return state;
}
