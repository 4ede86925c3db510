/**
 * What a probe type doesn't see, and what to do about it.
 */
import type { Kernel } from '../../loader/kernel.ts';
import { isConfidential } from '../../loader/lockdown.ts';
import type { BlindSpot } from '../../programs/tcpconnlat.ts';

const OTHER_PROBE = "use another --probe, with the kernel's types from a file (--btf FILE)";

const NONE_UNDER_LOCKDOWN = 'kernel lockdown (confidentiality) allows no probe that sees more';

/** The warnings, and what to do: on other kernels, and under lockdown. */
const TEXTS: Record<BlindSpot, readonly [what: string, remedy: string, underLockdown: string]> = {
  refused: [
    'refused connects are not shown: the record of the tracepoint does not distinguish them from abandoned connects',
    OTHER_PROBE,
    'use --probe fentry or --probe tp_btf, which kernel lockdown (confidentiality) allows',
  ],
  errors: [
    'why connects fail is not known: the record of the tracepoint has no socket error',
    OTHER_PROBE,
    NONE_UNDER_LOCKDOWN,
  ],
  unrouted: [
    'connects that find no route are not visible with this probe: their sockets never change state',
    'use --probe kprobe, if the kernel has kprobes',
    NONE_UNDER_LOCKDOWN,
  ],
};

/** A warning in one line. */
export function describeBlindSpot(spot: BlindSpot, kernel: Kernel): string {
  const [what, remedy, underLockdown] = TEXTS[spot];
  return `${what}; ${isConfidential(kernel) ? underLockdown : remedy}`;
}
