/**
 * The one seam between the loader and the kernel. Types only: `koffi.ts` is the real one, and tests script a fake.
 *
 * Every call answers like the system call itself: a result of 0 or more, or minus the errno.
 */

/** A wait of the event loop on a descriptor; it keeps the process alive until it is closed. */
export interface Poll {
  /** Ends the wait. */
  close(): void;
}

/** What `pollShared` waits for (`EPOLL*`, include/uapi/linux/eventpoll.h). The kernel reports a hang-up in any case. */
export const PollEvents = { hangUp: 0, readable: 1 } as const;

/** Soft and hard limit of a resource; `RLIM_INFINITY` is 2^64 - 1. */
export interface Limit {
  readonly soft: bigint;
  readonly hard: bigint;
}

/** Clocks (include/uapi/linux/time.h). */
export const Clock = { realtime: 0, monotonic: 1 } as const;

/** The most bytes that `readFile` reads: several times the symbols or the types of any kernel. */
export const LARGEST_FILE = 256 << 20;

/** What the loader asks of an operating system. */
export interface Syscalls {
  /**
   * `bpf(2)`. `attr` is sent with exactly its own size. Memory that `attr` points at must stay referenced by the
   * caller until the call is over. BPF_PROG_LOAD runs with SIGPROF blocked: the verifier stops when a signal
   * arrives, and a sampling profiler sends signals faster than the verifier can finish.
   */
  bpf(command: number, attr: Uint8Array): number;
  /** `perf_event_open(2)`; `attr` holds its own size. */
  perfEventOpen(attr: Uint8Array, pid: number, cpu: number, group: number, flags: number): number;
  /** `ioctl(2)` with a plain number as its argument. */
  ioctl(fd: number, request: number, argument: number): number;
  /**
   * `mmap(2)` of a descriptor from its beginning, shared, readable and writable. The memory is gone after
   * `munmap`: whoever reads the buffer then crashes the process, so drop every view of it first.
   */
  mmap(fd: number, length: number): ArrayBuffer | number;
  /** `munmap(2)` of what `mmap` gave. */
  munmap(mapping: ArrayBuffer): number;
  /** `read(2)` into the whole of `target`. */
  read(fd: number, target: Uint8Array): number;
  /** `close(2)`. */
  close(fd: number): number;
  /** A copy of the descriptor that is 3 or more and closes on exec (`F_DUPFD_CLOEXEC`). */
  dup(fd: number): number;
  /** Takes the exclusive lock of an open file without waiting (`flock(2)`); -EAGAIN if another process holds it. */
  flock(fd: number): number;
  /** Where the memory lies. It stays there for as long as the typed array is referenced. */
  address(memory: Uint8Array): bigint;
  /**
   * Calls `onReadable` from the event loop whenever the descriptor is readable, until the wait is closed. An
   * exception of `onReadable` is an `uncaughtException`, and the calls continue. If the descriptor fails,
   * `onReadable` gets the errno, and this is the last call. Returns minus the errno for a descriptor that
   * epoll refuses.
   */
  poll(fd: number, onReadable: (errno?: number) => void): Poll | number;
  /**
   * Calls `onEvent` from the event loop as long as the descriptor has one of the events (`PollEvents`) or is
   * hung up, until the wait is closed. Leaves the flags of the descriptor alone, which `poll` does not. Returns
   * minus the errno for a descriptor that epoll refuses: EPERM for files and most devices.
   */
  pollShared(fd: number, events: number, onEvent: () => void): Poll | number;
  /** A descriptor of a file or a folder, for reading; closes on exec. */
  openFile(path: string): number;
  /** The inode number of what a descriptor stands for, or minus the errno. */
  inode(fd: number): bigint;
  /** The magic number of the file system that a path leads to (man 2 statfs), or minus the errno. */
  fileSystem(path: string): number;
  /**
   * A whole file, or minus the errno (EFBIG above `LARGEST_FILE`). Serves /proc and /sys, whose files have no
   * size.
   */
  readFile(path: string): Uint8Array | number;
  /**
   * Text at the end of a file that is there, in one write: the bytes written, or minus the errno. Never makes a file nor empties
   * it: files of tracefs take that for a command.
   */
  appendFile(path: string, text: string): number;
  /**
   * A whole file as memory that nothing was copied to, for as long as the process lives; or minus the errno: few files of
   * /sys can be mapped. Reading only: whoever writes there crashes the process.
   */
  mapFile(path: string): Uint8Array | number;
  /** The names of the folders in a folder, or minus the errno. */
  folders(path: string): readonly string[] | number;
  /** The inode number of what is at a path, links followed; or minus the errno. */
  inodeAt(path: string): bigint;
  /** `clock_gettime(2)` of one of `Clock`, in ns. */
  clock(clock: number): bigint;
  /** The limit of locked memory (`RLIMIT_MEMLOCK`), set first where one is given. */
  memlock(limit?: Limit): Limit | number;
}
