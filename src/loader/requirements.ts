/**
 * What a tool needs of the kernel: derived from its programs and maps, and declared by `Tool.requires`. Only
 * a tool that failed is asked about, so a successful start makes no system call for it.
 */
import { fromUserCode } from '../asm/error-position.ts';
import { formOf } from '../asm/isa.ts';
import {
  type AbilityName,
  abilities,
  attachTypes,
  type Feature,
  INSTRUCTION_SETS,
  kernelProgramType,
  mapFlags,
} from '../asm/kernel-features.ts';
import { kernelMapType } from '../asm/map-type.ts';
import type { Position } from '../asm/position.ts';
import type { ProgramSpec, Tool } from '../asm/program.ts';
import { PROGRAM_TYPES, type ProgramKind } from '../asm/program-types.ts';
import { instructionsIn, mapsOf, programsOf } from '../asm/tool-parts.ts';
import {
  KernelError,
  type MissingFeature,
  MissingFeaturesError,
  NoSuchSymbolError,
  NotPermittedError,
  UnsupportedError,
} from './errors.ts';
import type { Kernel } from './kernel.ts';
import { isInconclusive } from './load/verdict.ts';

/** A feature, and what needs it. */
interface Requirement {
  readonly feature: Feature;
  readonly user?: string;
  readonly position?: Position;
  /** What the program itself needs. If the kernel lacks it, that alone is reported. */
  readonly within?: Feature;
}

/** Throws if the kernel lacks a feature that the tool declares. The error also lists the derived ones. */
export function requireDeclared(kernel: Kernel, tool: Tool): void {
  if (lacking(kernel, declared(tool)).length > 0)
    throw new MissingFeaturesError(tool.name, lacking(kernel, [...declared(tool), ...derived(tool)]));
}

/**
 * The error that lists what the kernel lacks, after opening the tool has failed with `error`. Undefined if it
 * lacks nothing, or if `error` already names the only missing feature or has another cause.
 */
export function missingFeatures(
  kernel: Kernel,
  tool: Tool,
  error: unknown,
): MissingFeaturesError | undefined {
  if (!(error instanceof KernelError || error instanceof UnsupportedError) || hasOtherCause(error))
    return undefined;
  const missing = lacking(kernel, derived(tool));
  const [first, ...others] = missing;
  if (first === undefined) return undefined;
  if (others.length === 0 && (error instanceof UnsupportedError || first.since === undefined))
    return undefined;
  const explained = new MissingFeaturesError(tool.name, missing, error);
  // The message has the lines of the instructions, so it needs no line of the call.
  return missing.some(({ position }) => position) ? fromUserCode(explained) : explained;
}

/** Whether an error has nothing to do with features: permissions, names of functions, signals and limits. */
function hasOtherCause(error: KernelError | UnsupportedError): boolean {
  if (error instanceof UnsupportedError) return false;
  return (
    error instanceof NotPermittedError || error instanceof NoSuchSymbolError || isInconclusive(error.errno)
  );
}

/** The missing features, each once. A feature that cannot be determined is not missing. */
function lacking(kernel: Kernel, requirements: readonly Requirement[]): MissingFeature[] {
  const missing = new Map<string, MissingFeature>();
  for (const { feature, within, ...user } of requirements) {
    if (within && kernel.features.support(within).answer === 'no') continue;
    const { answer, feature: name, since, reason = '' } = kernel.features.support(feature);
    if (answer !== 'no' || missing.has(name)) continue;
    // The kernel may have the helper for other types of programs. Then its first release says nothing.
    const isKnown = 'helper' in feature && !reason.includes('invalid func');
    missing.set(name, { feature: name, since: isKnown ? undefined : since, ...user });
  }
  return [...missing.values()];
}

function declared({ requires = [] }: Tool): Requirement[] {
  return requires.map((feature) => ({ feature }));
}

/** What the maps and programs of a tool need. */
function derived(tool: Tool): Requirement[] {
  return [...mapRequirements(tool), ...[...programsOf(tool)].flatMap(programRequirements)];
}

function mapRequirements(tool: Tool): Requirement[] {
  return [...mapsOf(tool)].flatMap(({ name, type, flags }) => {
    const user = `map '${name}'`;
    const mapType = kernelMapType(type);
    const set = entriesOf(mapFlags()).filter(([, [bit]]) => (flags & bit) !== 0);
    return [
      ...(mapType ? [{ feature: { mapType }, user }] : []),
      ...set.map(([mapFlag]) => ({ feature: { mapFlag }, user })),
    ];
  });
}

function programRequirements({ name, attachment, instructions }: ProgramSpec): Requirement[] {
  const user = `program '${name}'`;
  const hook = hookOf(attachment.kind);
  const within = hook && { within: hook };
  return [
    ...(hook ? [{ feature: hook, user }] : []),
    ...[...instructionsIn(instructions)].flatMap((instruction): Requirement[] => {
      const form = formOf(instruction);
      const at = { user, position: instruction.position, ...within };
      if (form?.name === 'call')
        return [{ feature: { helper: instruction.imm, in: attachment.kind }, ...at }];
      if (form?.since === undefined || form.since === INSTRUCTION_SETS.v1) return [];
      return [{ feature: { instruction }, ...at }];
    }),
  ];
}

/** The feature that a kind of program needs to be loaded and attached. */
function hookOf(kind: ProgramKind): Feature | undefined {
  // Without the perf PMU, kprobes are attached through tracefs.
  if (kind !== 'kprobe' && Object.hasOwn(abilities(), kind)) return { ability: kind as AbilityName };
  const { number, expectedAttachType } = PROGRAM_TYPES[kind];
  const attachType = entriesOf(attachTypes()).find(([, [each]]) => each === expectedAttachType)?.[0];
  const programType = kernelProgramType(number);
  return attachType ? { attachType } : programType && { programType };
}

function entriesOf<K extends string, V>(rows: Readonly<Record<K, V>>): [K, V][] {
  return Object.entries(rows) as [K, V][];
}
