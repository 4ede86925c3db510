/**
 * Summarizes the verifier's log.
 *
 * Up to Linux 7.2 the reason is the last line before the statistics. Since 7.3 a report in sections follows
 * it.
 */
import { hintFor } from './hints.ts';

/**
 * The summary of the verifier's log: the reason of the refusal, the instruction, and what to do.
 *
 * @example
 * ```ts
 * import type { VerifierError, VerifierSummary } from 'tsbpf';
 *
 * function summarize(error: VerifierError): string {
 *   const { reason, slot, hint }: VerifierSummary = error.summary;
 *   return `${reason} at ${slot ?? 'no instruction'}: ${hint ?? 'no hint'}`;
 * }
 * ```
 */
export interface VerifierSummary {
  /** The kernel's reason in one line: `R0 !read_ok`. */
  readonly reason: string;
  /** The slot of the refused instruction, if the log names one. */
  readonly slot?: number;
  /** The kernel's suggestion (Linux 7.3). */
  readonly suggestion?: string;
  /** A remedy, if the reason is a common one. */
  readonly hint?: string;
}

/** An instruction in the log: `12: (95) exit`. */
export const INSTRUCTION = /^(\d+): \([0-9a-f]{2}\)/;
/** The instruction of a report section: `  >>> 12 | (95) exit`. Source lines are marked in the same way. */
export const POINTED_AT = /^\s*>>> +(\d+) \| \([0-9a-f]{2}\)/;
/** Lines with statistics. */
export const STATISTICS =
  /^(processed \d+ insns|verification time|stack depth|insns processed|max_states_per_insn|mark_read)/;
/** A source line from the program's debug information: `; text @ tool.ts:13`. */
export const SOURCE = /^; /;
/** Lines that follow a reason to explain it. */
const EXPLANATION = /^(cur|old) state:/;
const REPORT = /^Verification failed:\s*(.*)$/;

/** Summarizes a log of either form. */
export function summarize(log: string): VerifierSummary {
  const lines = log.split('\n').map((line) => line.trimEnd());
  const report = lines.findLastIndex((line) => REPORT.test(line));
  const walk = report >= 0 ? lines.slice(0, report) : lines;
  const reasons = reasonsOf(walk);
  const summary = report >= 0 ? summarizeReport(lines.slice(report)) : summarizeClassic(walk, reasons);
  return { ...summary, hint: hintFor(reasons.join('\n')) ?? hintFor(summary.reason) };
}

/** Returns the messages after the last instruction in the log, or all messages if there is no instruction. */
function reasonsOf(lines: readonly string[]): string[] {
  const last = lines.findLastIndex((line) => INSTRUCTION.test(line));
  return lines
    .slice(last + 1)
    .filter((line) => line !== '' && ![STATISTICS, SOURCE, EXPLANATION].some((other) => other.test(line)));
}

/** Whether a log contains a reason, and not only instructions. */
export function hasReason(log: string): boolean {
  const lines = log.split('\n').map((line) => line.trimEnd());
  return lines.some((line) => REPORT.test(line)) || reasonsOf(lines).length > 0;
}

function summarizeReport(lines: readonly string[]): VerifierSummary {
  const title = REPORT.exec(lines[0] ?? '')?.[1] ?? '';
  const why = section(lines, 'Reason:');
  // With source lines it names the line and marks the instruction.
  const at = section(lines, 'At:', '\n');
  const slot = /^insn (\d+)/.exec(at)?.[1] ?? /^>>> +(\d+) \| \([0-9a-f]{2}\)/m.exec(at)?.[1];
  return {
    reason: [title, why].filter(Boolean).join(': ') || 'no reason given',
    slot: slot === undefined ? undefined : Number(slot),
    suggestion: section(lines, 'Suggestion:') || undefined,
  };
}

/** Returns the indented lines below a heading, joined by `separator`. Empty if there is no such section. */
function section(lines: readonly string[], heading: string, separator = ' '): string {
  const start = lines.indexOf(heading) + 1;
  if (start === 0) return '';
  const end = lines.findIndex((line, index) => index >= start && !line.startsWith(' '));
  return lines
    .slice(start, end < 0 ? undefined : end)
    .map((line) => line.trim())
    .join(separator);
}

function summarizeClassic(lines: readonly string[], reasons: readonly string[]): VerifierSummary {
  const reason = reasons.at(-1)?.trim() ?? 'its log is empty';
  // Checks before the first instruction, such as the check of jumps, name the instruction in their message.
  const slot =
    lines.findLast((line) => INSTRUCTION.test(line))?.match(INSTRUCTION)?.[1] ??
    /\binsn (\d+)/.exec(reason)?.[1];
  return { reason, slot: slot === undefined ? undefined : Number(slot) };
}
