/**
 * Programs in the kernel: their counters and test runs.
 *
 * Source: man 2 bpf; `struct bpf_prog_info`, include/uapi/linux/bpf.h.
 */
import { reportAtCaller } from '../asm/error-position.ts';
import type { ProgramSpec } from '../asm/program.ts';
import { Attr, allocateCopy, Command, Descriptor } from './bpf.ts';
import { Errno } from './errno.ts';
import { ProgramMismatchError } from './errors.ts';
import type { Kernel } from './kernel.ts';
import { objectInfo } from './object-info.ts';
import { kernelError } from './permission.ts';
import { nothingPinned, openPin, pinObject } from './pin.ts';
import { programDifferences } from './pinned-differences.ts';
import type { Closeable } from './resources.ts';

/**
 * What the kernel reports about a loaded program (`struct bpf_prog_info`).
 *
 * @example
 * ```ts
 * import type { Program, ProgramInfo } from 'tsbpf';
 *
 * function averageNs(program: Program): number {
 *   const { runs, runNs }: ProgramInfo = program.info();
 *   return runNs / runs;
 * }
 * ```
 */
export interface ProgramInfo {
  /** The program's id, as in `bpftool prog show`. */
  readonly id: number;
  /**
   * The number of runs that the kernel skipped because another program was running on the CPU. Undefined
   * before Linux 5.12. For kprobes and classic tracepoints it is complete since 6.7; a kprobe can also be
   * missed before its program runs, which `Link.missedHits` counts.
   */
  readonly recursionMisses: number | undefined;
  /** The number of runs while `measureRuns` was on. 0 before Linux 5.1. */
  readonly runs: number;
  /** The total time of these runs, in ns. 0 before Linux 5.1. */
  readonly runNs: number;
}

/**
 * Makes the kernel count and time the runs of all programs until the result is closed. Costs about 20 ns a
 * run.
 *
 * The caller owns the result; the end of the process also ends the measurement. Minimum kernel: 5.8. Source:
 * man 2 bpf (BPF_ENABLE_STATS).
 * @throws {NotPermittedError} @throws {KernelError} `EINVAL` before Linux 5.8.
 * @example
 * ```ts
 * import { setTimeout } from 'node:timers/promises';
 * import { Kernel, measureRuns, type Program } from 'tsbpf';
 *
 * async function measure(kernel: Kernel, program: Program): Promise<void> {
 *   const measurement = measureRuns(kernel);
 *   await setTimeout(1000);
 *   const { runs, runNs } = program.info();
 *   console.log(`${runs} runs, ${runNs / runs} ns each`);
 *   measurement.close();
 * }
 * ```
 */
export function measureRuns(kernel: Kernel): Descriptor {
  const RUN_TIME = 0;
  const result = new Attr(kernel.syscalls, 4).u32(0, RUN_TIME).send(Command.enableStats);
  if (result >= 0) return new Descriptor(kernel.syscalls, result, 'the run-time statistics');
  throw kernelError(kernel, {
    syscall: 'bpf(BPF_ENABLE_STATS)',
    errno: -result,
    tried: 'measure the runs of programs',
    hint:
      result === -Errno.EINVAL
        ? 'this kernel cannot measure runs on request (Linux 5.8 and later)'
        : undefined,
  });
}

/** The errnos for a program type that BPF_PROG_TEST_RUN does not run. */
const CANNOT_RUN: ReadonlySet<number> = new Set([Errno.EOPNOTSUPP, Errno.ENOTSUPP]);

/**
 * A program that this process loaded. The kernel frees it when the program and its links are closed.
 *
 * Returned by `loadProgram` and `session.load`, and listed in `session.programs`. The caller of `loadProgram`
 * closes it; a session closes its own programs. Closing a program does not detach it.
 * @example
 * ```ts
 * import type { Program, Session } from 'tsbpf';
 *
 * function report(session: Session): void {
 *   for (const program of session.programs) console.log(program.spec.name, program.info().id);
 * }
 * ```
 */
export class Program implements Closeable {
  /** The program's spec, as it was loaded. */
  readonly spec: ProgramSpec;
  readonly #kernel: Kernel;
  readonly #descriptor: Descriptor;

  /** Takes ownership of `program`, an open descriptor or its number. */
  constructor(kernel: Kernel, spec: ProgramSpec, program: Descriptor | number) {
    this.spec = spec;
    this.#kernel = kernel;
    this.#descriptor =
      typeof program === 'number'
        ? new Descriptor(kernel.syscalls, program, `the program '${spec.name}'`)
        : program;
  }

  /**
   * Opens a program that is pinned at a path. The caller owns the program and closes it; it stays pinned.
   * `attach` can attach it where `spec` says.
   *
   * The type, name and instructions of the program must be those of `spec`, and its function for fentry,
   * fexit, LSM and tp_btf programs (Linux 5.18). For the other types the kernel does not report the function
   * or tracepoint that a program was written for.
   * @throws {ProgramMismatchError} if the program differs from the spec. @throws {PathError} if the path is
   * not the pin of a program. @throws {NotPermittedError} @throws {KernelError}
   */
  static open(kernel: Kernel, spec: ProgramSpec, path: string): Program {
    return reportAtCaller(() => {
      const pinned = openPin(kernel, path, 'program');
      if (!pinned) throw nothingPinned(path);
      try {
        const differences = programDifferences(kernel, spec, pinned.fd, `the program pinned at ${path}`);
        if (differences.length > 0) throw new ProgramMismatchError(spec.name, path, differences);
        return new Program(kernel, spec, pinned);
      } catch (error) {
        pinned.close();
        throw error;
      }
    });
  }

  /**
   * Pins the program at a path in a bpffs. It stays in the kernel, but not attached, until the pin is removed
   * (`unpin`); closing it does not remove the pin.
   *
   * Minimum kernel: 4.4. Source: man 2 bpf (BPF_OBJ_PIN).
   * @throws {PathError} if the path is not in a bpffs, or its last part has a dot. @throws {KernelError}
   * `EEXIST` if the path exists. @throws {NotPermittedError} @throws {ClosedError}
   */
  pin(path: string): void {
    reportAtCaller(() => pinObject(this.#kernel, this.fd, `the program '${this.spec.name}'`, path));
  }

  /** The program's descriptor, owned by this object. @throws {ClosedError} after `close()`. */
  get fd(): number {
    return this.#descriptor.fd;
  }

  /** Reads the program's id and counters from the kernel. @throws {ClosedError} @throws {KernelError} */
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
   * Runs a raw tracepoint program once without attaching it, for tests. Returns its result, an unsigned
   * 32-bit number.
   *
   * Minimum kernel: 5.10. Source: man 2 bpf (BPF_PROG_TEST_RUN).
   * @param context the arguments of the tracepoint, 8 bytes each.
   * @throws {ClosedError} @throws {KernelError}
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
        hint: CANNOT_RUN.has(-result)
          ? 'the kernel runs only raw tracepoint programs on request (Linux 5.10 and later)'
          : result === -Errno.EINVAL
            ? `the program reads more than the ${input.length} bytes of the context; pass 8 bytes for each argument`
            : undefined,
      });
    return attr.getU32(RESULT);
  }

  /** Releases the program. Its links keep it attached. A second call does nothing. */
  close(): void {
    this.#descriptor.close();
  }

  /** Calls `close`, at the end of a `using` declaration's block. */
  [Symbol.dispose](): void {
    this.close();
  }
}
