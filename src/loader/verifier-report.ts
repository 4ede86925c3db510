/**
 * The verifier's log as its reader wants it: the end of it, beside the author's source.
 */
import { type Location, locate, type Position } from '../asm/position.ts';
import type { VerifierError } from './errors.ts';
import { INSTRUCTION, POINTED_AT, STATISTICS } from './verifier-log.ts';

/** Reads a captured position; `locate`, or that with a bundle's line table. */
export type Locate = (position: Position | undefined) => Location | undefined;

/**
 * The end of the log, its last `lines` lines, each instruction of it below the source line that made it. Several lines of
 * text, without a newline at the end.
 */
export function renderVerifierError(error: VerifierError, find: Locate = locate, lines = 20): string {
  const sources = new Map(
    error.assembled.instructions.map(({ slot, instruction }) => [slot, describe(find(instruction.position))]),
  );
  const log = error.log.split('\n').filter((line) => line.trim() !== '' && !STATISTICS.test(line));
  const shown = log.slice(-lines);
  const text = [error.message];
  const culprit = error.summary.slot === undefined ? undefined : sources.get(error.summary.slot);
  if (culprit) text.push(`at ${culprit}`);
  if (error.summary.suggestion) text.push(`the kernel suggests: ${error.summary.suggestion}`);
  if (log.length > shown.length)
    text.push(`  (${log.length - shown.length} earlier lines of the log left out)`);
  let last: string | undefined;
  for (const line of shown) {
    const source = sourceOf(line, sources);
    if (source && source !== last) text.push(`  ; ${source}`);
    last = source ?? last;
    text.push(`    ${line}`);
  }
  return text.join('\n');
}

function sourceOf(line: string, sources: ReadonlyMap<number, string | undefined>): string | undefined {
  const slot = (INSTRUCTION.exec(line) ?? POINTED_AT.exec(line))?.[1];
  return slot === undefined ? undefined : sources.get(Number(slot));
}

function describe(place: Location | undefined): string | undefined {
  if (!place) return undefined;
  const text = place.text?.trim();
  return `${place.file}:${place.line}${text ? `: ${text}` : ''}`;
}
