/**
 * What the running kernel can attach to, asked by loading the shortest program there is: distributions backport, so versions
 * tell nothing.
 */
import { assemble } from '../asm/assemble.ts';
import { exit, mov } from '../asm/constructors.ts';
import type { Item } from '../asm/instruction.ts';
import type { Attachment } from '../asm/program.ts';
import { r0 } from '../asm/registers.ts';
import { KernelError } from './errors.ts';
import type { Kernel } from './kernel.ts';
import { kprobesUnsupportedReason } from './kprobe-events.ts';
import { isInconclusive } from './load/verdict.ts';
import { loadProgram } from './load.ts';

const shortest: readonly Item[] = [mov(r0, 0), exit()];

const asked = new WeakMap<Kernel, Map<string, Error | undefined>>();

/**
 * Why programs of that kind can't be loaded here, or undefined if they can. Asks the kernel once, and again
 * if it gave no answer (a limit was reached, or signals interrupted it). Only attaching shows whether it has
 * the very function or raw tracepoint.
 */
export function unsupportedReason(kernel: Kernel, attachment: Attachment): Error | undefined {
  const answers = asked.get(kernel) ?? new Map<string, Error | undefined>();
  asked.set(kernel, answers);
  const key = 'btfId' in attachment ? `${attachment.kind} ${attachment.btfId}` : attachment.kind;
  if (answers.has(key)) return answers.get(key);
  const answer = ask(kernel, attachment);
  if (!(answer instanceof KernelError && isInconclusive(answer.errno))) answers.set(key, answer);
  return answer;
}

/** Whether programs of that kind can be loaded here: see `unsupportedReason`. */
export function supports(kernel: Kernel, attachment: Attachment): boolean {
  return unsupportedReason(kernel, attachment) === undefined;
}

function ask(kernel: Kernel, attachment: Attachment): Error | undefined {
  const lack =
    attachment.kind === 'kprobe' || attachment.kind === 'kretprobe'
      ? kprobesUnsupportedReason(kernel)
      : undefined;
  if (lack) return lack;
  try {
    const spec = { name: 'probe', attachment, instructions: shortest };
    loadProgram(kernel, spec, assemble(shortest), new Map()).close();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}
