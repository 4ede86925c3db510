/** The machines that QEMU plays in the lab. */

/** Processors as Node names them. */
export type Processor = 'x64' | 'arm64';

/** One of them. */
export interface Machine {
  /** Debian's name of the architecture. */
  readonly debian: string;
  readonly qemu: string;
  /** The board and its processor under emulation; `kvm` where the host's own virtualisation is asked for. */
  readonly board: readonly string[];
  readonly kvm: readonly string[];
  /** For the kernel's command line: its console, and what it needn't do. */
  readonly kernelArguments: string;
}

const BOTH = [
  'quiet panic=-1 mitigations=off random.trust_cpu=on audit=0 apparmor=0 selinux=0 cryptomgr.notests',
  // Who detaches a probe waits until every processor has passed it: this way not for the next tick.
  'rcupdate.rcu_expedited=1',
].join(' ');

export const MACHINES: Record<Processor, Machine> = {
  x64: {
    debian: 'amd64',
    qemu: 'qemu-system-x86_64',
    board: ['-M', 'q35', '-cpu', 'max', '-accel', 'tcg,thread=multi'],
    kvm: ['-M', 'q35', '-cpu', 'max', '-accel', 'kvm'],
    kernelArguments: `console=ttyS0 ${BOTH} reboot=t no_timer_check tsc=reliable nokaslr`,
  },
  arm64: {
    debian: 'arm64',
    qemu: 'qemu-system-aarch64',
    // A processor without pointer authentication, whose emulation takes most of the time that "max" takes.
    board: ['-M', 'virt,gic-version=3', '-cpu', 'cortex-a72', '-accel', 'tcg,thread=multi'],
    kvm: ['-M', 'virt,gic-version=host', '-cpu', 'host', '-accel', 'kvm'],
    kernelArguments: `console=ttyAMA0 ${BOTH} nokaslr`,
  },
};
