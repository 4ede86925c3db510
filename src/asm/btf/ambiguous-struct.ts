/** The error of a struct name with several definitions. */
import { TsbpfError } from '../error.ts';

/** One of several definitions of a name. */
export interface StructCandidate {
  /** Its BTF id. */
  readonly id: number;
  readonly kind: 'struct' | 'union';
  /** In bytes. */
  readonly size: number;
  /** The names of its members, including those of nested anonymous structs and unions. */
  readonly members: readonly string[];
}

/**
 * The kernel's types have several definitions of a struct's name. `candidates` lists them; select one by its
 * size or by a member.
 *
 * @example
 * import { Kernel } from 'tsbpf';
 * import { AmbiguousStructError } from 'tsbpf/btf';
 *
 * const { btf } = new Kernel();
 * try {
 *   btf?.sizeOf('dma_chan');
 * } catch (error) {
 *   if (error instanceof AmbiguousStructError) btf?.sizeOf({ name: 'dma_chan', having: 'slave' });
 * }
 */
export class AmbiguousStructError extends TsbpfError {
  override readonly name = 'AmbiguousStructError';
  override readonly code = 'ERR_BTF_AMBIGUOUS_STRUCT';
  readonly struct: string;
  readonly candidates: readonly StructCandidate[];

  constructor(struct: string, candidates: readonly StructCandidate[]) {
    super(
      `this kernel has ${candidates.length} different structs named '${struct}': ${listCandidates(candidates)}; ` +
        `select one by its size or by a member: ${examples(struct, candidates).join(' or ')}`,
    );
    this.struct = struct;
    this.candidates = candidates;
  }
}

/** The number of members that a message lists for each candidate. */
const SHOWN = 4;

export function listCandidates(candidates: readonly StructCandidate[]): string {
  return candidates
    .map(({ size, members }) => {
      const more = members.length > SHOWN ? ', ...' : '';
      return `${size} bytes (${members.slice(0, SHOWN).join(', ')}${more})`;
    })
    .join(', ');
}

/**
 * References to the first two candidates: by size or, if sizes are equal, by a member that only one of them
 * has.
 */
function examples(name: string, candidates: readonly StructCandidate[]): string[] {
  const texts = candidates.map((each) => {
    const others = candidates.filter((other) => other !== each);
    const own = each.members.find((member) => !others.some(({ members }) => members.includes(member)));
    const hasOwnSize = others.every(({ size }) => size !== each.size);
    if (hasOwnSize) return `{ name: '${name}', size: ${each.size} }`;
    return own === undefined ? `its BTF id ${each.id}` : `{ name: '${name}', having: '${own}' }`;
  });
  return texts.slice(0, 2);
}
