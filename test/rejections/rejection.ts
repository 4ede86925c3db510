/**
 * Programs that the verifier refuses, one a file and a reason. What is made of its log stands beside each as NAME.txt: see
 * test/live/rejections.test.ts.
 */
import type { Builder } from '../../src/asm/builder/builder.ts';
import { rawTracepoint, tpBtf } from '../../src/asm/hooks.ts';
import type { Instruction } from '../../src/asm/instruction.ts';
import type { MapSpec } from '../../src/asm/map.ts';
import { capture } from '../../src/asm/position.ts';
import type { ProgramSpec } from '../../src/asm/program.ts';
import type { Target } from '../../src/asm/target.ts';

/** A program that is refused, and the maps that it uses. */
export interface Rejection {
  readonly maps: readonly MapSpec[];
  /** The hint that explains it, by a few of its words. */
  readonly hint: RegExp;
  /** Whether there are kernels that name no instruction. */
  readonly nowhere?: boolean;
  /** Whether the verifier goes on for so long that an emulated machine takes minutes. */
  readonly endless?: boolean;
  /** A function of the kernel that it uses, and the first release that has it. */
  readonly since?: { readonly having: string; readonly release: string };
  /** Whether it is made with the kernel's types. */
  readonly needsTypes: boolean;
  program(target: Target): ProgramSpec;
}

type Traits = Pick<Rejection, 'hint' | 'nowhere' | 'endless' | 'since'> & {
  readonly maps?: readonly MapSpec[];
};

/** On a raw tracepoint, whose arguments are numbers to the verifier. */
export function rejected({ maps = [], ...traits }: Traits, body: (b: Builder) => void): Rejection {
  return {
    maps,
    ...traits,
    needsTypes: false,
    program: (target) => rawTracepoint('sched_switch', target, body, NAMED),
  };
}

/** On a tracepoint whose arguments have types. */
export function rejectedWithTypes({ maps = [], ...traits }: Traits, body: (b: Builder) => void): Rejection {
  return {
    maps,
    ...traits,
    needsTypes: true,
    program: (target) => tpBtf('sched_switch', target, body, NAMED),
  };
}

/** A list of instructions, without the builder, which refuses what is wrong with some of them. */
export function rejectedList(traits: Traits, instructions: readonly Instruction[]): Rejection {
  const attachment = { kind: 'raw_tracepoint', tracepoint: 'sched_switch' } as const;
  const program = { ...NAMED, attachment, instructions };
  return { maps: [], ...traits, needsTypes: false, program: () => program };
}

/** The instruction, with the line of the call. */
export function here(instruction: Instruction): Instruction {
  return { ...instruction, position: capture(here) };
}

const NAMED = { name: 'rejected' };
