/** The machines that QEMU emulates in the lab. */

/** Processors, as Node names them. */
export type Processor = 'x64' | 'arm64';

/** The QEMU options of a processor. */
export interface Machine {
  /** Debian's name of the architecture. */
  readonly debian: string;
  readonly qemu: string;
  /** The emulated board and processor; `kvm` for the host's virtualization. */
  readonly board: readonly string[];
  readonly kvm: readonly string[];
  /** Emulation with a clock that counts instructions, 1 ns each. It has one CPU. */
  readonly counting: readonly string[];
  /** The kernel's command line: its console, and features to skip. */
  readonly kernelArguments: string;
}

const BOTH = [
  'quiet panic=-1 mitigations=off random.trust_cpu=on audit=0 apparmor=0 selinux=0 cryptomgr.notests',
  // Detaching a probe waits until every CPU has passed a quiescent state; expedited, it does not wait for the
  // next tick.
  'rcupdate.rcu_expedited=1',
].join(' ');

const COUNTING = ['-accel', 'tcg,thread=single', '-icount', 'shift=0,sleep=off'];

export const MACHINES: Record<Processor, Machine> = {
  x64: {
    debian: 'amd64',
    qemu: 'qemu-system-x86_64',
    board: ['-M', 'q35', '-cpu', 'max', '-accel', 'tcg,thread=multi'],
    kvm: ['-M', 'q35', '-cpu', 'max', '-accel', 'kvm'],
    counting: ['-M', 'q35', '-cpu', 'max', ...COUNTING],
    kernelArguments: `console=ttyS0 ${BOTH} reboot=t no_timer_check tsc=reliable nokaslr`,
  },
  arm64: {
    debian: 'arm64',
    qemu: 'qemu-system-aarch64',
    // A processor without pointer authentication, whose emulation takes most of the time of "max".
    board: ['-M', 'virt,gic-version=3', '-cpu', 'cortex-a72', '-accel', 'tcg,thread=multi'],
    kvm: ['-M', 'virt,gic-version=host', '-cpu', 'host', '-accel', 'kvm'],
    counting: ['-M', 'virt,gic-version=3', '-cpu', 'cortex-a72', ...COUNTING],
    kernelArguments: `console=ttyAMA0 ${BOTH} nokaslr`,
  },
};
