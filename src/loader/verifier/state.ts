/**
 * What the verifier knew of registers and stack when it came to an instruction, by its log.
 *
 * It writes a whole state where ways meet (`3: R1=ctx() R10=fp0`), and behind an instruction what that changed. Kernels before 5.18 write
 * less than that.
 *
 * Source: kernel/bpf/log.c (`print_verifier_state`, `print_insn_state`).
 */
import { INSTRUCTION } from './log.ts';

/** Registers and bytes of the stack by their names in the log, and what is known of each: `R1`, `ctx()`. */
export type VerifierState = ReadonlyMap<string, string>;

/** `R1_w=scalar(umax=255,var_off=(0x0; 0xff))`: values may have parentheses, and spaces in those. */
const KNOWN = /\b(R\d+|fp-\d+)(?:_[a-zA-Z]+)?=((?:[^\s()]|\((?:[^()]|\([^()]*\))*\))+)/g;
/** A whole state, with the number of the instruction that it is before. */
const STATE = /^(?:from \d+ to )?\d+(?: \([a-z ]+\))?: (?:frame\d+: ?)?R\d/;
const CALL = /^\d+: \(85\) call/;
/** r0 to r5 (and, with its result behind it, r0 anew). */
const LOST_AT_CALL = ['R0', 'R1', 'R2', 'R3', 'R4', 'R5'];

/**
 * A register or stack slot that an instruction changed: after a semicolon on its line, or on a line of its
 * own.
 */
const CHANGE = /\b(R\d|fp-\d)/;
const CHANGE_LINE = /^[1-9]\d*: (frame\d+: ?)?R\d/;

/** Whether a log has instructions, but not what they changed. */
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

/** The state before the last time that the log comes to that slot. */
export function stateBefore(log: string, slot: number): VerifierState {
  const lines = log.split('\n');
  const end = lines.findLastIndex((line) => Number(INSTRUCTION.exec(line)?.[1] ?? Number.NaN) === slot);
  const state = new Map<string, string>();
  for (const line of lines.slice(0, Math.max(end, 0))) {
    if (STATE.test(line)) state.clear();
    else if (CALL.test(line)) for (const register of LOST_AT_CALL) state.delete(register);
    else if (!INSTRUCTION.test(line)) continue;
    const told = STATE.test(line) ? line : line.slice(Math.max(line.indexOf(';'), 0));
    for (const [, name = '', value = ''] of told.matchAll(KNOWN)) state.set(name, value);
  }
  return state;
}
