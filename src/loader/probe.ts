/**
 * Feature probes: which program types the running kernel supports. Probes load the shortest program instead
 * of comparing versions, because distributions backport features.
 */

import { assemble } from '../asm/assemble.ts';
import { exit, mov } from '../asm/constructors.ts';
import type { Item } from '../asm/instruction.ts';
import { once } from '../asm/once.ts';
import type { Attachment } from '../asm/program.ts';
import { PROGRAM_TYPES } from '../asm/program-types.ts';
import { r0 } from '../asm/registers.ts';
import { KernelError } from './errors.ts';
import type { Kernel } from './kernel.ts';
import { kprobesUnsupportedReason } from './kprobe-events.ts';
import { isInconclusive } from './load/verdict.ts';
import { loadProgram } from './load.ts';

const shortest = once((): readonly Item[] => [mov(r0, 0), exit()]);

const results = new WeakMap<Kernel, Map<string, Error | undefined>>();

/**
 * Returns why this kernel or process cannot load programs of a type, or undefined if it can.
 *
 * Loads a program of two instructions, once for each `Kernel` object and program type; asks again if a signal
 * or a limit prevented an answer. Only attaching shows whether a function or raw tracepoint exists. Never
 * throws: the result is the error that loading throws (`UnsupportedError`, `NotPermittedError`,
 * `KernelError`).
 * @example
 * ```ts
 * import { Kernel, unsupportedReason } from 'tsbpf';
 *
 * const reason = unsupportedReason(new Kernel(), { kind: 'kprobe', symbol: 'tcp_v4_connect' });
 * console.log(reason?.message ?? 'kprobes work');
 * ```
 */
export function unsupportedReason(kernel: Kernel, attachment: Attachment): Error | undefined {
  const known = results.get(kernel) ?? new Map<string, Error | undefined>();
  results.set(kernel, known);
  const key = 'btfId' in attachment ? `${attachment.kind} ${attachment.btfId}` : attachment.kind;
  if (known.has(key)) return known.get(key);
  const reason = probe(kernel, attachment);
  if (!(reason instanceof KernelError && isInconclusive(reason.errno))) known.set(key, reason);
  return reason;
}

/**
 * Whether this kernel and process can load programs of a type; `unsupportedReason` returns why not.
 *
 * Loads a program of two instructions, once for each `Kernel` object and program type. Never throws.
 * @example
 * ```ts
 * import { Kernel, supports } from 'tsbpf';
 *
 * const kprobes = supports(new Kernel(), { kind: 'kprobe', symbol: 'tcp_v4_connect' });
 * console.log(kprobes ? 'using kprobes' : 'using the tracepoint');
 * ```
 */
export function supports(kernel: Kernel, attachment: Attachment): boolean {
  return unsupportedReason(kernel, attachment) === undefined;
}

function probe(kernel: Kernel, attachment: Attachment): Error | undefined {
  const isKprobe = PROGRAM_TYPES[attachment.kind]?.number === PROGRAM_TYPES.kprobe.number;
  const reason = isKprobe ? kprobesUnsupportedReason(kernel) : undefined;
  if (reason) return reason;
  try {
    const spec = { name: 'probe', attachment, instructions: shortest() };
    loadProgram(kernel, spec, assemble(shortest()), new Map()).close();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}
