/**
 * Programs in the kernel.
 *
 * Source: man 2 bpf; `struct bpf_prog_info`, include/uapi/linux/bpf.h.
 */
import type { ProgramSpec } from '../asm/program.ts';
import { Attr, allocateCopy, Command, Descriptor } from './bpf.ts';
import type { Kernel } from './kernel.ts';
import { objectInfo } from './object-info.ts';
import { kernelError } from './permission.ts';
import type { Closeable } from './resources.ts';

/** What the kernel says about a loaded program (`struct bpf_prog_info`). */
export interface ProgramInfo {
  /** As in `bpftool prog show id ...`. */
  readonly id: number;
  /**
   * Runs left out since another program was running on that CPU; undefined before Linux 5.12. Those of kprobes and classic tracepoints
   * are counted from 6.7 on, and a kprobe may be missed before its program is reached: see `Link.missedHits`.
   */
  readonly recursionMisses: number | undefined;
  /** Runs, and the ns that they took together, while `measureRuns` held; 0 before Linux 5.1. */
  readonly runs: number;
  readonly runNs: number;
}

/**
 * Lets the kernel measure the runs of all programs, until the result is closed (Linux 5.8). That costs each run some 20 ns.
 * @throws {NotPermittedError} @throws {KernelError}
 */
export function measureRuns(kernel: Kernel): Descriptor {
  const RUN_TIME = 0;
  const result = new Attr(kernel.syscalls, 4).u32(0, RUN_TIME).send(Command.enableStats);
  if (result >= 0) return new Descriptor(kernel.syscalls, result, 'the run-time statistics');
  throw kernelError(kernel, {
    syscall: 'bpf(BPF_ENABLE_STATS)',
    errno: -result,
    tried: 'measure the runs of programs',
  });
}

/** A loaded program. It is gone when it and its links are closed. */
export class Program implements Closeable {
  readonly spec: ProgramSpec;
  readonly #kernel: Kernel;
  readonly #descriptor: Descriptor;

  /** Takes over `fd`. */
  constructor(kernel: Kernel, spec: ProgramSpec, fd: number) {
    this.spec = spec;
    this.#kernel = kernel;
    this.#descriptor = new Descriptor(kernel.syscalls, fd, `the program '${spec.name}'`);
  }

  /** The descriptor, which stays owned by this object. @throws after `close()`. */
  get fd(): number {
    return this.#descriptor.fd;
  }

  /** Asks the kernel. @throws {KernelError} */
  info(): ProgramInfo {
    const [ID, RUN_NS, RUNS, MISSES, size] = [4, 192, 200, 208, 216];
    const what = `the program '${this.spec.name}'`;
    const { view, known } = objectInfo(this.#kernel, this.fd, size, undefined, what);
    return {
      id: view.getUint32(ID, true),
      recursionMisses: known >= size ? Number(view.getBigUint64(MISSES, true)) : undefined,
      runs: Number(view.getBigUint64(RUNS, true)),
      runNs: Number(view.getBigUint64(RUN_NS, true)),
    };
  }

  /**
   * Runs it once with that context, and nothing attached: for tests of raw tracepoint programs (Linux 5.10), whose context is
   * their arguments, 8 bytes each. The result is what the program returned, as 32 bits.
   * @throws {KernelError}
   */
  run(context: Uint8Array): number {
    const [FD, RESULT, CONTEXT_SIZE, CONTEXT] = [0, 4, 40, 48];
    const input = allocateCopy(context);
    const attr = new Attr(this.#kernel.syscalls, 64)
      .u32(FD, this.fd)
      .u32(CONTEXT_SIZE, input.length)
      .pointer(CONTEXT, input);
    const result = attr.send(Command.progTestRun);
    if (result < 0)
      throw kernelError(this.#kernel, {
        syscall: 'bpf(BPF_PROG_TEST_RUN)',
        errno: -result,
        tried: `run the program '${this.spec.name}'`,
      });
    return attr.getU32(RESULT);
  }

  close(): void {
    this.#descriptor.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
