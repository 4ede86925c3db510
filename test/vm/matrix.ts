/** The kernels of the lab and their Debian archives. */
import { MACHINES, type Processor } from './machine.ts';

/** A kernel series and the archive suite that has it. */
export interface KernelSource {
  /** The series, for example `6.12`. */
  readonly series: string;
  readonly archive: 'debian' | 'debian-security';
  readonly suite: string;
  /** By default x64. */
  readonly processor?: Processor;
}

/** The kernels of `npm run test:vm`, oldest first. Debian has no older ones. */
export const MATRIX: readonly KernelSource[] = [
  { series: '5.10', archive: 'debian-security', suite: 'bullseye-security' },
  { series: '6.1', archive: 'debian-security', suite: 'bookworm-security' },
  { series: '6.12', archive: 'debian-security', suite: 'bookworm-security' },
  { series: '6.18', archive: 'debian', suite: 'trixie-backports' },
  { series: '7.3', archive: 'debian', suite: 'trixie-backports' },
];

/** Kernels in between, which run only if named. The archive has no other complete ones. */
export const BETWEEN: readonly KernelSource[] = ['6.16', '6.17', '7.2'].map((series) => ({
  series,
  archive: 'debian',
  suite: 'trixie-backports',
}));

/** Another architecture, whose programs differ because arguments are in other registers. */
export const OTHER: readonly KernelSource[] = [
  { series: '6.12', archive: 'debian', suite: 'trixie', processor: 'arm64' },
];

/** All kernels that can be named. */
export const KERNELS: readonly KernelSource[] = [...MATRIX, ...BETWEEN, ...OTHER];

/** A kernel's name on the command line: `6.12`, `6.12-arm64`. */
export function nameOf({ series, processor = 'x64' }: KernelSource): string {
  return processor === 'x64' ? series : `${series}-${processor}`;
}

/** A downloadable kernel: its packages, under one release name. */
export interface KernelPackages {
  /** The output of `uname -r`: `6.12.117+deb12-cloud-amd64`. */
  readonly release: string;
  /** The package with the boot image comes first. */
  readonly packages: readonly string[];
}

/**
 * Selects the cloud kernels of a series from an archive's package names, newest first.
 * Exact versions disappear with every point release, so none is hard-coded. Since 7.x, `linux-image-*` is an
 * empty package that depends on `linux-binary-*` and `linux-modules-*`; a kernel with only one of the two is
 * ignored.
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

/** Orders release names by their numbers, descending. */
function newestFirst(a: string, b: string): number {
  return b.localeCompare(a, 'en', { numeric: true });
}
