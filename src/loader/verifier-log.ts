/**
 * Reading the verifier's log: what it comes down to.
 *
 * Up to Linux 7.2 the reason is the last line before the statistics; from 7.3 on a report follows it, in sections.
 */
/** What a log comes down to. */
export interface VerifierSummary {
  /** One line: `R0 !read_ok`. */
  readonly reason: string;
  /** The slot of the instruction that was refused, where the log names one. */
  readonly slot?: number;
  /** What the kernel advises (Linux 7.3). */
  readonly suggestion?: string;
}

/** `12: (95) exit`, one instruction of the walk. */
export const INSTRUCTION = /^(\d+): \([0-9a-f]{2}\)/;
/** `  >>> 12 | (95) exit`, the instruction that a section of a report is about. */
export const POINTED_AT = /^\s*>>> (\d+) \|/;
/** Lines that only count. */
export const STATISTICS =
  /^(processed \d+ insns|verification time|stack depth|insns processed|max_states_per_insn|mark_read)/;
const REPORT = /^Verification failed:\s*(.*)$/;

/** Reads a log of either form. */
export function summarize(log: string): VerifierSummary {
  const lines = log.split('\n').map((line) => line.trimEnd());
  const report = lines.findLastIndex((line) => REPORT.test(line));
  return report >= 0 ? summarizeReport(lines.slice(report)) : summarizeClassic(lines);
}

function summarizeReport(lines: readonly string[]): VerifierSummary {
  const title = REPORT.exec(lines[0] ?? '')?.[1] ?? '';
  const why = section(lines, 'Reason:');
  const slot = /\binsn (\d+)/.exec(section(lines, 'At:'))?.[1];
  return {
    reason: [title, why].filter(Boolean).join(': ') || 'no reason given',
    slot: slot === undefined ? undefined : Number(slot),
    suggestion: section(lines, 'Suggestion:') || undefined,
  };
}

/** The indented lines below a heading as one line; empty where there is no such section. */
function section(lines: readonly string[], heading: string): string {
  const start = lines.indexOf(heading) + 1;
  if (start === 0) return '';
  const end = lines.findIndex((line, index) => index >= start && !line.startsWith(' '));
  return lines
    .slice(start, end < 0 ? undefined : end)
    .map((line) => line.trim())
    .join(' ');
}

function summarizeClassic(lines: readonly string[]): VerifierSummary {
  const told = lines.filter((line) => line !== '' && !STATISTICS.test(line));
  const reason = told.at(-1)?.trim() ?? 'its log is empty';
  // Checks before the walk, of jumps for instance, name the instruction in words.
  const slot =
    told.findLast((line) => INSTRUCTION.test(line))?.match(INSTRUCTION)?.[1] ??
    /\binsn (\d+)/.exec(reason)?.[1];
  return { reason, slot: slot === undefined ? undefined : Number(slot) };
}
