/**
 * Explains a refused program to its author: source line, instruction, registers, the kernel's reason, and a
 * remedy.
 */

import { disassemble } from '../../asm/disassemble.ts';
import { messageWithoutPosition } from '../../asm/error-position.ts';
import type { Locate, Location } from '../../asm/position.ts';
import { MAX_NAME_LENGTH, printable, truncate } from '../../asm/printable.ts';
import type { VerifierError } from '../errors.ts';
import { INSTRUCTION, POINTED_AT, SOURCE, STATISTICS } from './log.ts';
import { stateBefore } from './state.ts';

/**
 * Explains why the verifier refused a program, in several lines for a terminal: the message, the source line,
 * the instruction with the state of its registers, the kernel's reason, a hint, and the end of the log with
 * source lines.
 *
 * Unprintable characters in the kernel's text and in source lines are escaped. There is no newline at the
 * end.
 * @param find resolves positions to source lines. Default: the error's own.
 * @param lines the number of lines of the log. Default: 20.
 * @example
 * ```ts
 * import { renderVerifierError, VerifierError } from 'tsbpf';
 *
 * function report(error: unknown): void {
 *   if (error instanceof VerifierError) console.error(renderVerifierError(error));
 *   else throw error;
 * }
 * ```
 */
export function renderVerifierError(error: VerifierError, find: Locate = error.locate, lines = 20): string {
  const text = [messageWithoutPosition(error), ...explain(error, find), ...endOfLog(error, find, lines)];
  return text.map((line) => printable(line, '\t')).join('\n');
}

/** The source line, the instruction with the state of its registers, the reason, and the remedy. */
function explain(error: VerifierError, find: Locate): string[] {
  const { slot, reason, hint, suggestion } = error.summary;
  const text = [];
  const source = describe(find(error.position));
  if (source) text.push(`at ${source}`);
  const placed = error.assembled.instructions.find((each) => each.slot === slot);
  if (placed) {
    const instruction = disassemble(placed.instruction);
    text.push(`    ${placed.slot}: ${instruction}`);
    const state = stateBefore(error.log, placed.slot);
    for (const name of involvedRegisters(instruction, reason)) {
      const known = state.get(name);
      if (known) text.push(`    ${name.toLowerCase()} is ${known}`);
    }
  }
  text.push(`the kernel's reason: ${reason}`);
  if (suggestion) text.push(`the kernel suggests: ${suggestion}`);
  if (hint) text.push(`hint: ${hint}`);
  return text;
}

/**
 * Returns the registers that the reason names and that the instruction reads. For a call, the ones that the
 * reason names, or else all argument registers. r10 is omitted: it never changes.
 */
function involvedRegisters(instruction: string, reason: string): string[] {
  const named = Array.from(reason.matchAll(/\bR(\d+)\b/g), ([, number]) => number);
  const isCall = instruction.startsWith('(85)');
  const read = instruction.replace(/^\(..\) ([rw]\d+ = )?/, '');
  const numbers = isCall
    ? ['1', '2', '3', '4', '5']
    : Array.from(read.matchAll(/\b[rw](\d+)/g), ([, number]) => number);
  const all = new Set(isCall && named.length > 0 ? named : [...named, ...numbers]);
  return Array.from(all, (number) => `R${number}`).filter((name) => name !== 'R10');
}

function endOfLog(error: VerifierError, find: Locate, lines: number): string[] {
  const sources = new Map(
    error.assembled.instructions.map(({ slot, instruction }) => [slot, describe(find(instruction.position))]),
  );
  // The source lines come from the program, not from the log, which has them only if the kernel accepted
  // debug information.
  const log = error.log
    .split('\n')
    .filter((line) => line.trim() !== '' && !STATISTICS.test(line) && !SOURCE.test(line));
  const shown = log.slice(-lines);
  const omitted = log.length - shown.length;
  const text = [`the end of its log${omitted > 0 ? ` (${omitted} earlier lines omitted)` : ''}:`];
  let last: string | undefined;
  for (const line of shown) {
    const source = sourceOf(line, sources);
    if (source && source !== last) text.push(`  ; ${source}`);
    last = source ?? last;
    text.push(`    ${line}`);
  }
  return text;
}

function sourceOf(line: string, sources: ReadonlyMap<number, string | undefined>): string | undefined {
  const slot = (INSTRUCTION.exec(line) ?? POINTED_AT.exec(line))?.[1];
  return slot === undefined ? undefined : sources.get(Number(slot));
}

function describe(place: Location | undefined): string | undefined {
  if (!place) return undefined;
  const text = truncate(place.text?.trim() ?? '', MAX_NAME_LENGTH);
  return `${place.file}:${place.line}${text ? `: ${text}` : ''}`;
}
