/**
 * The interface between the loader and the operating system. Types only: `koffi.ts` implements it, and tests
 * use a fake.
 *
 * A call returns the result of the system call, 0 or more, or minus the errno.
 */

/**
 * A wait of the event loop on a descriptor. It keeps the process alive until it is closed.
 *
 * @example
 * ```ts
 * import { Kernel, type Poll } from 'tsbpf';
 *
 * function waitFor(kernel: Kernel, fd: number): void {
 *   const poll: Poll | number = kernel.syscalls.poll(fd, () => {
 *     if (typeof poll !== 'number') poll.close();
 *   });
 * }
 * ```
 */
export interface Poll {
  /** Ends the wait. */
  close(): void;
}

/**
 * The events of `pollShared` (`EPOLL*`, include/uapi/linux/eventpoll.h). The kernel always reports a hang-up.
 */
export const PollEvents = { hangUp: 0, readable: 1 } as const;

/** Protections of `mmap` (`PROT_*`, include/uapi/asm-generic/mman-common.h). */
export const Protection = { read: 0x1, readWrite: 0x3 } as const;

/**
 * The soft and the hard limit of a resource, in bytes. No limit (`RLIM_INFINITY`) is 2^64 - 1.
 *
 * @example
 * ```ts
 * import { Kernel, type Limit } from 'tsbpf';
 *
 * const limit: Limit | number = new Kernel().syscalls.memlock();
 * if (typeof limit !== 'number') console.log(`${limit.soft} bytes of locked memory`);
 * ```
 */
export interface Limit {
  readonly soft: bigint;
  readonly hard: bigint;
}

/**
 * Facts about an open file (man 2 stat).
 *
 * @example
 * ```ts
 * import { type FileStat, Kernel } from 'tsbpf';
 *
 * const { syscalls } = new Kernel();
 * const fd = syscalls.openFile('/etc/passwd');
 * const stat: FileStat | number = syscalls.stat(fd);
 * if (typeof stat !== 'number') console.log(stat.inode, stat.size, 'bytes');
 * syscalls.close(fd);
 * ```
 */
export interface FileStat {
  readonly device: bigint;
  readonly inode: bigint;
  /** The size in bytes. */
  readonly size: bigint;
  /** The time of the last change of the content, in ns. */
  readonly modifiedNs: bigint;
  /** The owner. */
  readonly uid: number;
  /** Whether it is a regular file. */
  readonly isFile: boolean;
}

/** Clocks (include/uapi/linux/time.h). */
export const Clock = { realtime: 0, monotonic: 1 } as const;

/** The size limit of `readFile` in bytes: several times the size of any kernel's symbols or BTF. */
export const LARGEST_FILE = 256 << 20;

/**
 * The system calls that the loader makes. A fake implements them for tests without a kernel: `new
 * Kernel(fake)`.
 *
 * A call returns the result of the system call, 0 or more, or minus the errno.
 * @example
 * ```ts
 * import { Kernel, type Syscalls } from 'tsbpf';
 *
 * const { syscalls } = new Kernel();
 * const denied: Syscalls = { ...syscalls, bpf: () => -1 }; // EPERM
 * console.log(new Kernel(denied).release);
 * ```
 */
export interface Syscalls {
  /**
   * `bpf(2)` with an attribute of exactly the size of `attr`. The caller keeps the memory that `attr` points
   * to referenced during the call. BPF_PROG_LOAD runs with SIGPROF blocked: the verifier stops when a signal
   * arrives, and a sampling profiler sends signals faster than the verifier can finish.
   */
  bpf(command: number, attr: Uint8Array): number;
  /** `perf_event_open(2)`. `attr` contains its own size. */
  perfEventOpen(attr: Uint8Array, pid: number, cpu: number, group: number, flags: number): number;
  /** `ioctl(2)` with a plain number as its argument. */
  ioctl(fd: number, request: number, argument: number): number;
  /**
   * `mmap(2)` of a descriptor, shared: `length` bytes from `offset` (0 by default), a multiple of the page
   * size, with a protection of `Protection` (`readWrite` by default). Accessing the buffer after `munmap`, or
   * writing to a read-only one, crashes the process, so drop all views of it first.
   */
  mmap(fd: number, length: number, offset?: number, protection?: number): ArrayBuffer | number;
  /** `munmap(2)` of a buffer that `mmap` returned. */
  munmap(mapping: ArrayBuffer): number;
  /** `read(2)` of up to the size of `target`. */
  read(fd: number, target: Uint8Array): number;
  /** `send(2)` to a socket, without blocking and without SIGPIPE. */
  send(fd: number, bytes: Uint8Array): number;
  /** `close(2)`. */
  close(fd: number): number;
  /** Duplicates a descriptor to a number of 3 or more that closes on exec (`F_DUPFD_CLOEXEC`). */
  dup(fd: number): number;
  /**
   * Lets the end of this thread close a descriptor, which may get another number: a worker thread that is
   * terminated runs no code. On the main thread it returns `fd` itself.
   */
  adopt(fd: number): number;
  /**
   * Locks an open file exclusively without waiting (`flock(2)`). Returns -EAGAIN if another process holds the
   * lock.
   */
  flock(fd: number): number;
  /** Returns the address of a typed array's memory, which stays valid while the array is referenced. */
  address(memory: Uint8Array): bigint;
  /**
   * Calls `onReadable` from the event loop whenever the descriptor is readable, until the wait is closed; in
   * a worker thread, within 10 ms. An exception of `onReadable` is an `uncaughtException`, and the calls
   * continue. If the descriptor fails, the last call passes the errno. Returns minus the errno if epoll
   * refuses the descriptor.
   */
  poll(fd: number, onReadable: (errno?: number) => void): Poll | number;
  /**
   * Calls `onEvent` from the event loop while the descriptor has one of the events (`PollEvents`) or has hung
   * up, until the wait is closed. Unlike `poll`, it does not change the descriptor's flags. Returns minus the
   * errno if epoll refuses the descriptor: EPERM for files and most devices.
   */
  pollShared(fd: number, events: number, onEvent: () => void): Poll | number;
  /** Opens a file or directory for reading. The descriptor closes on exec. */
  openFile(path: string): number;
  /** `pidfd_open(2)`: a descriptor of a process, which closes on exec. */
  pidfdOpen(pid: number): number;
  /** `pidfd_getfd(2)`: a duplicate of a descriptor of another process, which closes on exec. */
  pidfdGetfd(pidfd: number, fd: number): number;
  /** Facts about an open file, or minus the errno. */
  stat(fd: number): FileStat | number;
  /** `pread(2)` of up to the size of `target`, from an offset of the file. */
  readAt(fd: number, target: Uint8Array, position: number): number;
  /** Returns the inode number of a descriptor, or minus the errno. */
  inode(fd: number): bigint;
  /** Returns the magic number of a path's file system (man 2 statfs), or minus the errno. */
  fileSystem(path: string): number;
  /**
   * Reads a whole file, also in /proc and /sys, whose files report no size. Returns minus the errno if it
   * fails (EFBIG above 256 MiB).
   */
  readFile(path: string): Uint8Array | number;
  /**
   * Appends text to an existing file in one write. Returns the number of bytes, or minus the errno. Never
   * creates or truncates a file: tracefs interprets truncation as a command.
   */
  appendFile(path: string, text: string): number;
  /**
   * Maps a whole file read-only for the lifetime of the process. Returns minus the errno if it fails: few
   * files of /sys can be mapped. Writing to the memory crashes the process.
   */
  mapFile(path: string): Uint8Array | number;
  /** Lists the names of the directories in a directory, or returns minus the errno. */
  folders(path: string): readonly string[] | number;
  /** Removes a file's name (man 2 unlink). Returns 0, or minus the errno. */
  removeFile(path: string): number;
  /** Returns the inode number of a path, following links, or minus the errno. */
  inodeAt(path: string): bigint;
  /** `clock_gettime(2)` of a clock (0: realtime, 1: monotonic), in ns. */
  clock(clock: number): bigint;
  /**
   * `prctl(PR_SET_NO_NEW_PRIVS)` (Linux 3.5): for this thread and those that it creates, `execve` gives no
   * privileges.
   */
  noNewPrivileges(): number;
  /** `seccomp(2)` (Linux 3.17). `argument` is 0 or the address of the operation's structure. */
  seccomp(operation: number, flags: number, argument: bigint): number;
  /** `capset(2)` of this thread. `header` and `data` are the structures of version 3. */
  capset(header: Uint8Array, data: Uint8Array): number;
  /** Returns the locked-memory limit (`RLIMIT_MEMLOCK`), after setting it if `limit` is passed. */
  memlock(limit?: Limit): Limit | number;
}
