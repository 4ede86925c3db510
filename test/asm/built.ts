/** Programs on a raw tracepoint, built for a test: what they emit, and what is refused. */
import { type Body, rawTracepoint } from '../../src/asm/hooks.ts';
import type { ProgramSpec } from '../../src/asm/program.ts';
import { target } from '../../src/asm/target.ts';
import { thrown } from '../thrown.ts';
import { textsOf } from './texts.ts';

/** Without types of a kernel. */
export const x64 = target('x64');

export function program(body: Body, on = x64): ProgramSpec {
  return rawTracepoint('test', on, body);
}

/** The text of each instruction, without the opcodes; jumps and calls by labels. */
export function emitted(body: Body, on = x64): string[] {
  return textsOf(program(body, on).instructions);
}

/** The message of what building and assembling the body throws. */
export function refusal(body: Body, on = x64): string {
  return thrown(() => emitted(body, on)).message;
}
