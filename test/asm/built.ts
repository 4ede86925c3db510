/** Builds raw tracepoint programs for tests, and returns their instructions or errors. */
import { type Body, rawTracepoint } from '../../src/asm/hooks.ts';
import type { ProgramSpec } from '../../src/asm/program.ts';
import { target } from '../../src/asm/target.ts';
import { thrown } from '../thrown.ts';
import { textsOf } from './texts.ts';

/** A target without kernel types. */
export const x64 = target('x64');

export function program(body: Body, on = x64): ProgramSpec {
  return rawTracepoint('test', on, body);
}

/** The text of each instruction, without opcodes; jumps and calls by label. */
export function emitted(body: Body, on = x64): string[] {
  return textsOf(program(body, on).instructions);
}

/** Builds and assembles the body, which must throw, and returns the error message. */
export function errorMessage(body: Body, on = x64): string {
  return thrown(() => emitted(body, on)).message;
}
