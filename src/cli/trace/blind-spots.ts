/**
 * What a probe type doesn't see, and what to do about it.
 */
import type { Kernel } from '../../loader/kernel.ts';
import { isConfidential } from '../../loader/lockdown.ts';
import type { BlindSpot } from '../../programs/tcpconnlat.ts';

const OTHER_PROBE = "use another --probe, with the kernel's types from a file (--btf FILE)";

const TEXTS: Record<BlindSpot, readonly [what: string, remedy: string]> = {
  refused: [
    'refused connects are not shown: the record of the tracepoint does not distinguish them from abandoned connects',
    OTHER_PROBE,
  ],
  errors: ['why connects fail is not known: the record of the tracepoint has no socket error', OTHER_PROBE],
  unrouted: [
    'connects that find no route are not visible with this probe: their sockets never change state',
    'use --probe kprobe, if the kernel has kprobes',
  ],
};

/** A warning in one line. Under lockdown no other probe type sees more. */
export function describeBlindSpot(spot: BlindSpot, kernel: Kernel): string {
  const [what, remedy] = TEXTS[spot];
  return `${what}; ${isConfidential(kernel) ? 'kernel lockdown (confidentiality) allows no probe that does' : remedy}`;
}
