/** The kernels of the lab, and where Debian keeps them. */
import { MACHINES, type Processor } from './machine.ts';

/** One kernel series and the archive suite that serves it. */
export interface KernelSource {
  /** The series as one says it: `6.12`. */
  readonly series: string;
  readonly archive: 'debian' | 'debian-security';
  readonly suite: string;
  /** x64 if not given. */
  readonly processor?: Processor;
}

/** What `npm run test:vm` goes through, oldest first. Debian serves nothing older. */
export const MATRIX: readonly KernelSource[] = [
  { series: '5.10', archive: 'debian-security', suite: 'bullseye-security' },
  { series: '6.1', archive: 'debian-security', suite: 'bookworm-security' },
  { series: '6.12', archive: 'debian-security', suite: 'bookworm-security' },
  { series: '6.18', archive: 'debian', suite: 'trixie-backports' },
  { series: '7.3', archive: 'debian', suite: 'trixie-backports' },
];

/** Kernels in between, which run only where they're named. The archive has no others whole. */
export const BETWEEN: readonly KernelSource[] = ['6.16', '6.17', '7.2'].map((series) => ({
  series,
  archive: 'debian',
  suite: 'trixie-backports',
}));

/** One of another architecture: its programs are not the same, since arguments lie in other registers. */
export const OTHER: readonly KernelSource[] = [
  { series: '6.12', archive: 'debian', suite: 'trixie', processor: 'arm64' },
];

/** All that can be named. */
export const KERNELS: readonly KernelSource[] = [...MATRIX, ...BETWEEN, ...OTHER];

/** What a kernel is called on the command line: `6.12`, `6.12-arm64`. */
export function nameOf({ series, processor = 'x64' }: KernelSource): string {
  return processor === 'x64' ? series : `${series}-${processor}`;
}

/** A kernel that can be downloaded: the packages that make it up, under one release name. */
export interface KernelPackages {
  /** As `uname -r` will say it: `6.12.117+deb12-cloud-amd64`. */
  readonly release: string;
  /** The package with the boot image first. */
  readonly packages: readonly string[];
}

/**
 * Picks the cloud kernels of a series from an archive's package names, newest first.
 *
 * Exact versions go away with every point release, so none is written down. From 7.x on `linux-image-*` is an empty
 * package that pulls in `linux-binary-*` and `linux-modules-*`; a kernel of which the archive has only one of the two is none.
 */
export function kernelsOf(
  series: string,
  names: readonly string[],
  processor: Processor = 'x64',
): KernelPackages[] {
  const known = new Set(names);
  const { debian } = MACHINES[processor];
  const pattern = new RegExp(
    `^linux-image-(${series.replaceAll('.', '\\.')}\\.[\\d.]+[^a-z]*(?:deb\\d+)?-cloud-${debian})$`,
  );
  const releases = [...known]
    .map((name) => name.match(pattern)?.[1])
    .filter((release) => release !== undefined);
  return releases.sort(newestFirst).flatMap((release) => {
    const parts = [`linux-binary-${release}`, `linux-modules-${release}`];
    const listed = parts.filter((name) => known.has(name));
    if (listed.length === 0) return { release, packages: [`linux-image-${release}`] };
    return listed.length === parts.length ? { release, packages: parts } : [];
  });
}

/** Orders release names by the numbers in them. */
function newestFirst(a: string, b: string): number {
  return b.localeCompare(a, 'en', { numeric: true });
}
