/**
 * The features that each kernel of the lab must have and must not have: by the first kernels in the tables of
 * src/asm, and by the configuration of the kernel. Nothing here was taken from a probe.
 */
import type { Feature } from '../../src/asm/kernel-features.ts';
import { FEATURE_GROUPS, type FeatureGroup, namesIn } from '../../src/loader/features.ts';

/** A release of the lab, or `host` for the machine that builds this project. */
export interface LabKernel {
  readonly series: string;
  readonly variant?: 'host' | 'arm64';
}

/** Features that a kernel lacks although it is new enough, or has although it is older. */
interface Exception {
  readonly names: readonly string[];
  readonly answer: 'yes' | 'no' | 'unknown';
  readonly on: (kernel: LabKernel) => boolean;
  readonly why: string;
}

const isHost = ({ variant }: LabKernel) => variant === 'host';

export const EXCEPTIONS: readonly Exception[] = [
  {
    names: ['instruction gotol'],
    answer: 'yes',
    on: ({ series }) => series === '6.1',
    why: 'backported to the stable releases of 6.1',
  },
  // BTF of the kernels: none has lirc_prog_attach; 6.1, and 6.12 on arm64, have no register_fprobe_ips.
  {
    names: ['programType lirc_mode2', 'attachType lirc_mode2'],
    answer: 'no',
    on: () => true,
    why: 'built without CONFIG_BPF_LIRC_MODE2',
  },
  {
    names: ['ability kprobe', 'ability missed hits of kprobes'],
    answer: 'no',
    on: isHost,
    why: 'built without CONFIG_KPROBES',
  },
  {
    names: ['attachType trace_kprobe_multi', 'attachType trace_kprobe_session'],
    answer: 'no',
    on: ({ series, variant }) => variant !== undefined || series === '6.1',
    why: 'built without CONFIG_FPROBE',
  },
  {
    names: [
      ...['programType ext', 'programType lsm', 'attachType lsm_mac', 'attachType lsm_cgroup'],
      ...['attachType trace_fentry', 'attachType trace_fexit', 'attachType modify_return'],
      ...['ability fentry', 'ability fexit', 'ability fentry cookie'],
    ],
    answer: 'unknown',
    on: isHost,
    why: 'a security policy refuses programs that replace or interrupt functions (EPERM)',
  },
];

/** Whether a release is at least another. */
export function reaches(series: string, since: string): boolean {
  const [major = 0, minor = 0] = series.split('.').map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = since.split('.').map(Number);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

/** What a probe of a feature must answer on a kernel. */
export function expectedAnswer(
  kernel: LabKernel,
  group: FeatureGroup,
  name: string,
): 'yes' | 'no' | 'unknown' {
  const exception = EXCEPTIONS.find(({ names, on }) => names.includes(`${group} ${name}`) && on(kernel));
  if (exception) return exception.answer;
  return reaches(kernel.series, namesIn(group)[name] as string) ? 'yes' : 'no';
}

/** Every feature with its expected answer on a kernel. */
export function expectedFeatures(
  kernel: LabKernel,
): { readonly feature: Feature; readonly name: string; readonly answer: string }[] {
  return FEATURE_GROUPS.flatMap((group) =>
    Object.keys(namesIn(group)).map((name) => ({
      feature: { [group]: name } as Feature,
      name: `${group} ${name}`,
      answer: expectedAnswer(kernel, group, name),
    })),
  );
}
