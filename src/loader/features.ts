/**
 * What the running kernel supports. Each feature is tried once, with the smallest program, map or call that
 * shows it; nothing stays open, and versions are not compared, because distributions backport features.
 */
import { inspect } from 'node:util';
import { instructionText } from '../asm/disassemble.ts';
import { withSourcePosition } from '../asm/error-position.ts';
import { helperId, helperName, helperNames, helperSince } from '../asm/helper-names.ts';
import type { Helper } from '../asm/helpers.ts';
import type { Instruction } from '../asm/instruction.ts';
import { allForms, formOf } from '../asm/isa.ts';
import {
  abilities,
  attachTypes,
  commands,
  type Feature,
  INSTRUCTION_SETS,
  type InstructionSet,
  type KernelAttachType,
  mapFlags,
  mapTypes,
  type ProgramTypeName,
  programFlags,
  programTypes,
} from '../asm/kernel-features.ts';
import { describeNearest } from '../asm/nearest.ts';
import { PROGRAM_TYPES } from '../asm/program-types.ts';
import { KernelError } from './errors.ts';
import { probeAbility, probeCommand, probeProgramFlag } from './features/abilities.ts';
import { no, unknown, type Verdict, YES } from './features/attempt.ts';
import { probeMapFlag, probeMapType } from './features/maps.ts';
import { probeAttachType, probeHelper, probeKfunc, probeProgramType } from './features/programs.ts';
import type { KernelFacts } from './kernel-facts.ts';
import { knowsForm } from './load/instruction-probe.ts';

/**
 * The answer to a question about a feature.
 *
 * @example
 * ```ts
 * import { Kernel, type Support } from 'tsbpf';
 *
 * const support: Support = new Kernel().features.support({ helper: 'loop', in: 'kprobe' });
 * if (support.answer !== 'yes') console.log(`${support.feature}: ${support.reason}`);
 * ```
 */
export interface Support {
  /** The feature in words: `map type ringbuf`. */
  readonly feature: string;
  /** The first release of Linux that has it: `5.8`. Undefined for kfuncs. */
  readonly since: string | undefined;
  /**
   * Whether the kernel has the feature. `unknown` if it cannot be determined: this process lacks a
   * permission, kernel lockdown hides it, the kernel shows no BTF, or memory or descriptors are exhausted.
   */
  readonly answer: 'yes' | 'no' | 'unknown';
  /** For `no` what the kernel answered, for `unknown` why it cannot be determined. */
  readonly reason?: string;
}

/** A kind of feature: its title, its names with their first kernels, and the probe of one. */
interface Group {
  readonly title: string;
  readonly names: () => { readonly [name: string]: string };
  readonly probe: (kernel: KernelFacts, name: never) => Verdict;
}

/** The kinds of features that can be listed, by their property in `Feature`. */
const GROUPS = {
  programType: { title: 'program type', names: programTypes, probe: probeProgramType },
  attachType: {
    title: 'attach type',
    names: () => versions(attachTypes()),
    probe: (kernel, name: KernelAttachType): Verdict => {
      const type = probeProgramType(kernel, attachTypes()[name][2]);
      return type.answer === 'yes' ? probeAttachType(kernel, name) : type;
    },
  },
  mapType: { title: 'map type', names: mapTypes, probe: probeMapType },
  mapFlag: { title: 'map flag', names: () => versions(mapFlags()), probe: probeMapFlag },
  programFlag: { title: 'program flag', names: () => versions(programFlags()), probe: probeProgramFlag },
  command: { title: 'command', names: () => versions(commands()), probe: probeCommand },
  instructionSet: {
    title: 'instruction set',
    names: () => INSTRUCTION_SETS,
    probe: (kernel, name: InstructionSet) =>
      probeForms(kernel, ({ since }) => since === INSTRUCTION_SETS[name]),
  },
  instruction: {
    title: 'instruction',
    names: instructions,
    probe: (kernel, name: string) => probeForms(kernel, (form) => form.name === name),
  },
  ability: {
    title: 'other feature',
    names: abilities,
    probe: probeAbility,
  },
} as const satisfies Record<string, Group>;

/** A kind of feature that has a list of names: `mapType`. */
export type FeatureGroup = keyof typeof GROUPS;

function versions(rows: { readonly [name: string]: readonly [number, string, ...unknown[]] }): {
  readonly [name: string]: string;
} {
  return Object.fromEntries(Object.entries(rows).map(([name, [, since]]) => [name, since]));
}

/** The instructions newer than the first kernel, by constructor, with the release that has all forms. */
function instructions(): { readonly [name: string]: string } {
  const first: Record<string, string> = {};
  for (const { name, since } of allForms())
    if (since !== undefined && since !== INSTRUCTION_SETS.v1 && !isOlder(since, first[name]))
      first[name] = since;
  return first;
}

function isOlder(release: string, other = '0.0'): boolean {
  const [[major = 0, minor = 0], [otherMajor = 0, otherMinor = 0]] = [release, other].map((each) =>
    each.split('.').map(Number),
  ) as [number[], number[]];
  return major < otherMajor || (major === otherMajor && minor < otherMinor);
}

function probeForms(
  kernel: KernelFacts,
  select: (form: ReturnType<typeof allForms>[number]) => boolean,
): Verdict {
  try {
    const unsupported = allForms().find(
      (form) => form.since !== undefined && select(form) && !knowsForm(kernel, form),
    );
    return unsupported === undefined ? YES : no(`the verifier does not know '${unsupported.text}'`);
  } catch (error) {
    if (error instanceof KernelError) return unknown(error.message);
    throw error;
  }
}

/**
 * The features of the running kernel: `kernel.features`.
 *
 * Each is tried when it is first asked for; conclusive answers are kept. A probe loads a program, creates a
 * map or makes a call that fails, and closes what it opened. Attaching is tried at a function that only the
 * kernel's own tests call (`bpf_fentry_test1`). Never throws for a feature that is missing or cannot be
 * determined.
 * @example
 * ```ts
 * import { Kernel } from 'tsbpf';
 *
 * const { features } = new Kernel();
 * console.log(features.has({ mapType: 'ringbuf' }));
 * for (const { feature, since, answer } of features.list('mapType')) console.log(feature, since, answer);
 * ```
 */
export class Features {
  readonly #kernel: KernelFacts;
  readonly #known = new Map<string, Support>();

  constructor(kernel: KernelFacts) {
    this.#kernel = kernel;
  }

  /**
   * Asks for a feature. @throws {RangeError} for a name that is not in the tables; the message suggests
   * similar names.
   */
  support(feature: Feature): Support {
    const question = questionOf(feature);
    const known = this.#known.get(question.feature);
    if (known) return known;
    const support = {
      feature: question.feature,
      since: question.since,
      ...question.probe(this.#kernel),
    };
    if (support.answer !== 'unknown') this.#known.set(question.feature, support);
    return support;
  }

  /** Whether the kernel has a feature. False also if that cannot be determined. Throws as `support`. */
  has(feature: Feature): boolean {
    return this.support(feature).answer === 'yes';
  }

  /** Asks for every feature of a kind. */
  list(group: FeatureGroup): Support[] {
    return Object.keys(namesIn(group)).map((name) => this.support({ [group]: name } as Feature));
  }

  /** Asks for every helper in programs of a type. */
  helpers(type: ProgramTypeName): Support[] {
    return helperNames()
      .slice(1)
      .map((helper) => this.support({ helper, in: type }));
  }
}

/** The kinds of features that can be listed, in order. */
export const FEATURE_GROUPS = Object.keys(GROUPS) as readonly FeatureGroup[];

/** The words before a name of a kind of feature: `map type`. */
export function titleOf(group: FeatureGroup): string {
  return GROUPS[group].title;
}

/** The names of a kind of feature, with their first kernels. */
export function namesIn(group: FeatureGroup): { readonly [name: string]: string } {
  return GROUPS[group].names();
}

interface Question {
  readonly feature: string;
  readonly since: string | undefined;
  readonly probe: (kernel: KernelFacts) => Verdict;
}

function questionOf(feature: Feature): Question {
  if (typeof feature !== 'object' || feature === null || Object.keys(feature).length === 0)
    throw withSourcePosition(
      new TypeError(`a feature is an object such as { mapType: 'ringbuf' }, not ${inspect(feature)}`),
    );
  if ('helper' in feature) return helperQuestion(feature.helper, feature.in ?? 'kprobe');
  if ('kfunc' in feature) {
    const { kfunc, in: type } = feature;
    if (type !== undefined) checkType(type);
    return {
      feature: `kfunc ${kfunc}${type === undefined ? '' : ` in ${type} programs`}`,
      since: undefined,
      probe: (kernel) => probeKfunc(kernel, kfunc, type && [type]),
    };
  }
  if ('instruction' in feature && typeof feature.instruction !== 'string')
    return instructionQuestion(feature.instruction);
  const [[group, name] = []] = Object.entries(feature) as [FeatureGroup, string][];
  if (group === undefined || !Object.hasOwn(GROUPS, group))
    throw unknownName('kind of feature', String(group), [...FEATURE_GROUPS, 'helper', 'kfunc']);
  const { title, names, probe } = GROUPS[group];
  const since = known(title, String(name), names());
  const full = group === 'ability' ? String(name) : `${title} ${name}`;
  return { feature: full, since, probe: (kernel) => probe(kernel, name as never) };
}

function instructionQuestion(instruction: Instruction): Question {
  const form = formOf(instruction);
  return {
    feature: `instruction '${instructionText(instruction)}'`,
    since: form?.since,
    probe: (kernel) => probeForms(kernel, (each) => each === form),
  };
}

function helperQuestion(helper: string | number | Helper, type: ProgramTypeName): Question {
  const named = typeof helper === 'string' ? helperId(helper.replace(/^bpf_/, '')) : undefined;
  const id = named ?? (typeof helper === 'object' ? helper.id : Number(helper));
  const since = helperSince(id);
  if (since === undefined) throw unknownName('helper', String(helper), helperNames());
  checkType(type);
  return {
    feature: `helper bpf_${helperName(id)} in ${type} programs`,
    since,
    probe: (kernel) => probeHelper(kernel, id, type),
  };
}

function checkType(type: ProgramTypeName): void {
  if (!Object.hasOwn(PROGRAM_TYPES, type)) known('program type', type, programTypes());
}

function known(title: string, name: string, names: { readonly [name: string]: string }): string {
  const since = Object.hasOwn(names, name) ? names[name] : undefined;
  if (since === undefined) throw unknownName(title, name, Object.keys(names));
  return since;
}

function unknownName(title: string, name: string, names: readonly string[]): RangeError {
  return withSourcePosition(new RangeError(`unknown ${title} '${name}'${describeNearest(name, names)}`));
}
