/**
 * Reading the verifier's log: what it comes down to.
 *
 * Up to Linux 7.2 the reason is the last line before the statistics; from 7.3 on a report follows it, in sections.
 */
import { hintFor } from './hints.ts';

/** What a log comes down to. */
export interface VerifierSummary {
  /** One line: `R0 !read_ok`. */
  readonly reason: string;
  /** The slot of the instruction that was refused, where the log names one. */
  readonly slot?: number;
  /** What the kernel advises (Linux 7.3). */
  readonly suggestion?: string;
  /** What we advise, where the reason is one of the common ones. */
  readonly hint?: string;
}

/** `12: (95) exit`, one instruction of the walk. */
export const INSTRUCTION = /^(\d+): \([0-9a-f]{2}\)/;
/** `  >>> 12 | (95) exit`, the instruction that a section of a report is about; source lines are pointed at in the same way. */
export const POINTED_AT = /^\s*>>> +(\d+) \| \([0-9a-f]{2}\)/;
/** Lines that only count. */
export const STATISTICS =
  /^(processed \d+ insns|verification time|stack depth|insns processed|max_states_per_insn|mark_read)/;
/** `; text @ tool.ts:13`, the author's line as the kernel was told it. */
export const SOURCE = /^; /;
/** What follows a reason to explain it. */
const EXPLANATION = /^(cur|old) state:/;
const REPORT = /^Verification failed:\s*(.*)$/;

/** Reads a log of either form. */
export function summarize(log: string): VerifierSummary {
  const lines = log.split('\n').map((line) => line.trimEnd());
  const report = lines.findLastIndex((line) => REPORT.test(line));
  const walk = report >= 0 ? lines.slice(0, report) : lines;
  const told = reasonsOf(walk);
  const summary = report >= 0 ? summarizeReport(lines.slice(report)) : summarizeClassic(walk, told);
  return { ...summary, hint: hintFor(told.join('\n')) ?? hintFor(summary.reason) };
}

/** What the verifier said last: behind the instruction that it had come to, or all where it came to none. */
function reasonsOf(lines: readonly string[]): string[] {
  const last = lines.findLastIndex((line) => INSTRUCTION.test(line));
  return lines
    .slice(last + 1)
    .filter((line) => line !== '' && ![STATISTICS, SOURCE, EXPLANATION].some((other) => other.test(line)));
}

/** Whether a log says what is wrong with the program, and not only how far the verifier came. */
export function hasReason(log: string): boolean {
  const lines = log.split('\n').map((line) => line.trimEnd());
  return lines.some((line) => REPORT.test(line)) || reasonsOf(lines).length > 0;
}

function summarizeReport(lines: readonly string[]): VerifierSummary {
  const title = REPORT.exec(lines[0] ?? '')?.[1] ?? '';
  const why = section(lines, 'Reason:');
  // With the author's lines told, it names the line and points at the instruction.
  const place = section(lines, 'At:', '\n');
  const slot = /^insn (\d+)/.exec(place)?.[1] ?? /^>>> +(\d+) \| \([0-9a-f]{2}\)/m.exec(place)?.[1];
  return {
    reason: [title, why].filter(Boolean).join(': ') || 'no reason given',
    slot: slot === undefined ? undefined : Number(slot),
    suggestion: section(lines, 'Suggestion:') || undefined,
  };
}

/** The indented lines below a heading, as one line if nothing else is asked for; empty where there is no such section. */
function section(lines: readonly string[], heading: string, separator = ' '): string {
  const start = lines.indexOf(heading) + 1;
  if (start === 0) return '';
  const end = lines.findIndex((line, index) => index >= start && !line.startsWith(' '));
  return lines
    .slice(start, end < 0 ? undefined : end)
    .map((line) => line.trim())
    .join(separator);
}

function summarizeClassic(lines: readonly string[], told: readonly string[]): VerifierSummary {
  const reason = told.at(-1)?.trim() ?? 'its log is empty';
  // Checks before the walk, of jumps for instance, name the instruction in words.
  const slot =
    lines.findLast((line) => INSTRUCTION.test(line))?.match(INSTRUCTION)?.[1] ??
    /\binsn (\d+)/.exec(reason)?.[1];
  return { reason, slot: slot === undefined ? undefined : Number(slot) };
}
