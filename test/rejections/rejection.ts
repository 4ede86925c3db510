/**
 * Programs that the verifier refuses, one file for each reason. NAME.txt beside each program holds the
 * expected error, see test/live/rejections.test.ts.
 */
import type { Builder } from '../../src/asm/builder/builder.ts';
import { rawTracepoint, tpBtf } from '../../src/asm/hooks.ts';
import type { Instruction } from '../../src/asm/instruction.ts';
import type { MapSpec } from '../../src/asm/map.ts';
import { capture } from '../../src/asm/position.ts';
import type { ProgramSpec } from '../../src/asm/program.ts';
import type { Target } from '../../src/asm/target.ts';

/** A program that the verifier refuses, and its maps. */
export interface Rejection {
  readonly maps: readonly MapSpec[];
  /** Words of the expected hint. */
  readonly hint: RegExp;
  /** Whether some kernels name no instruction. */
  readonly nowhere?: boolean;
  /** Whether verification takes minutes on an emulated machine. */
  readonly endless?: boolean;
  /** A kernel function that the program needs, and its first kernel. */
  readonly since?: { readonly having: string; readonly release: string };
  /** Whether the program needs BTF. */
  readonly needsTypes: boolean;
  program(target: Target): ProgramSpec;
}

type Traits = Pick<Rejection, 'hint' | 'nowhere' | 'endless' | 'since'> & {
  readonly maps?: readonly MapSpec[];
};

/** A program on a raw tracepoint, whose arguments are numbers to the verifier. */
export function rejected({ maps = [], ...traits }: Traits, body: (b: Builder) => void): Rejection {
  return {
    maps,
    ...traits,
    needsTypes: false,
    program: (target) => rawTracepoint('sched_switch', target, body, NAMED),
  };
}

/** A program on a BTF tracepoint, whose arguments have types. */
export function rejectedWithTypes({ maps = [], ...traits }: Traits, body: (b: Builder) => void): Rejection {
  return {
    maps,
    ...traits,
    needsTypes: true,
    program: (target) => tpBtf('sched_switch', target, body, NAMED),
  };
}

/** A list of instructions without the builder, which refuses some of these errors itself. */
export function rejectedList(traits: Traits, instructions: readonly Instruction[]): Rejection {
  const attachment = { kind: 'raw_tracepoint', tracepoint: 'sched_switch' } as const;
  const program = { ...NAMED, attachment, instructions };
  return { maps: [], ...traits, needsTypes: false, program: () => program };
}

/** The instruction with the source position of the call. */
export function here(instruction: Instruction): Instruction {
  return { ...instruction, position: capture(here) };
}

const NAMED = { name: 'rejected' };
