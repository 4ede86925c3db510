/** The system calls of this process, through koffi. Only this file imports koffi, when it is first needed. */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  statfsSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import type * as Koffi from 'koffi';
import { architectureOf } from '../asm/architecture.ts';
import { allocate, Command } from './bpf.ts';
import { Errno } from './errno.ts';
import { loadNativeCode } from './native-code.ts';
import { readAtMost } from './read-file.ts';
import { requireLate } from './require-late.ts';
import { LARGEST_FILE, type Limit, type Poll, PollEvents, Protection, type Syscalls } from './syscalls.ts';

const MAP_SHARED = 0x1;
const MAP_PRIVATE = 0x2;
const [MSG_DONTWAIT, MSG_NOSIGNAL] = [0x40, 0x4000];
const F_DUPFD_CLOEXEC = 1030;
const O_CLOEXEC = 0o2000000;
const LOCK_EX = 2;
const LOCK_NB = 4;
const RLIMIT_MEMLOCK = 8;
const PR_SET_NO_NEW_PRIVS = 38;
const SIGPROF = 27;
const [SIG_BLOCK, SIG_SETMASK] = [0, 2];
/** `sizeof(sigset_t)` of glibc and musl. */
const SIGSET_BYTES = 128;
/** The same on every architecture. */
const [PIDFD_OPEN, PIDFD_GETFD] = [434, 438];
const [EPOLL_CLOEXEC, EPOLL_CTL_ADD] = [0x80000, 1];
const [POLLIN, POLLERR, POLLNVAL] = [0x1, 0x8, 0x20];
/** `MAP_FAILED`, (void *)-1. */
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

let native: Syscalls | undefined;

/**
 * Returns the system calls of this process. The first call loads koffi. On an architecture whose system call
 * numbers are unknown, `bpf` and `perfEventOpen` throw the error of `architectureOf`.
 * @throws {NativeCodeError} if koffi cannot be loaded.
 */
export function nativeSyscalls(): Syscalls {
  native ??= openNative();
  return native;
}

/** The version of koffi. @throws {NativeCodeError} if it cannot be loaded. */
export function nativeVersion(): string {
  return loadNativeCode(requireKoffi).version;
}

/**
 * Loads koffi. Requiring its binary returns the same object without the modules that search for it, which
 * saves a twentieth of a command's start. If the binary is not found from here (npm and other package
 * managers may install its package below koffi), or does not load, koffi searches for it or throws the
 * reason.
 */
function requireKoffi(): typeof Koffi {
  try {
    const machine = `${libc()}_${process.arch}`;
    const binary = requireLate(`@koromix/koffi-linux-${process.arch}/${machine}/koffi.node`) as typeof Koffi;
    if (binary.version.startsWith('3.')) return binary;
  } catch {
    // koffi finds it, or throws the reason.
  }
  return requireLate('koffi') as typeof Koffi;
}

/** Koffi's name of this process's C library: the executable names its loader in its first page. */
function libc(): 'linux' | 'musl' {
  const page = Buffer.alloc(4096);
  const fd = openSync(process.execPath, 'r');
  try {
    readSync(fd, page, 0, page.length, 0);
  } finally {
    closeSync(fd);
  }
  return page.includes('/ld-musl-') ? 'musl' : 'linux';
}

/** A C function whose result is a number. */
type NumberFunction = (...args: (number | bigint | Uint8Array | BigInt64Array | null)[]) => number;

function openNative(): Syscalls {
  const koffi = loadNativeCode(requireKoffi);
  const numbers = () => architectureOf(process.arch).syscalls;
  const libc = koffi.load(null);
  const define = (prototype: string): NumberFunction => libc.func(prototype);
  const sysBpf = define('long syscall(long number, long command, void *attr, long size)');
  const sysPidfd = define('long syscall(long number, long first, long second, long flags)');
  const sysSeccomp = define('long syscall(long number, long operation, long flags, uintptr_t argument)');
  const capset = define('int capset(void *header, void *data)');
  const prctl = define(
    'int prctl(int option, unsigned long second, unsigned long third, unsigned long fourth, unsigned long fifth)',
  );
  const sysPerf = define(
    'long syscall(long number, void *attr, long pid, long cpu, long group, unsigned long flags)',
  );
  const ioctl = define('int ioctl(int fd, unsigned long request, unsigned long argument)');
  const mmap = libc.func(
    'void *mmap(void *address, size_t length, int prot, int flags, int fd, int64_t offset)',
  );
  const munmap = define('int munmap(uintptr_t address, size_t length)');
  const read = define('long read(int fd, void *target, size_t size)');
  const send = define('long send(int fd, void *bytes, size_t size, int flags)');
  const closeCall = define('int close(int fd)');
  const dup3 = define('int dup3(int from, int to, int flags)');
  /** Descriptors of a worker thread that Node closes at the thread's end. */
  const adopted = new Set<number>();
  let worker: boolean | undefined;
  const inWorker = (): boolean => {
    worker ??= isWorker();
    return worker;
  };
  const fcntl = define('int fcntl(int fd, int command, long argument)');
  const flock = define('int flock(int fd, int operation)');
  const sigmask = define('int pthread_sigmask(int how, void *set, void *old)');
  const epollCreate = define('int epoll_create1(int flags)');
  const epollControl = define('int epoll_ctl(int epoll, int operation, int fd, void *event)');
  const prlimit = define('int prlimit(int pid, int resource, void *set, void *old)');
  const pollCall = define('int poll(void *descriptors, unsigned long count, int timeout)');
  const clockGettime = define('int clock_gettime(int clock, void *time)');
  const time = new BigInt64Array(2); // struct timespec
  const orErrno = (result: number): number => (result === -1 ? -koffi.errno() : result);
  const close = (fd: number): number =>
    adopted.delete(fd) ? attempt(() => closeSync(fd) ?? 0) : orErrno(closeCall(fd));
  const adopt = (fd: number): number => {
    if (!inWorker()) return fd;
    // Node closes what fs opened in a worker. So fs opens a number, and the descriptor takes its place.
    const number = attempt(() => openSync('/', constants.O_RDONLY));
    if (number < 0) return fd;
    if (number <= 2 || dup3(fd, number, O_CLOEXEC) < 0) {
      closeSync(number);
      return fd;
    }
    closeCall(fd);
    adopted.add(number);
    return number;
  };
  /** Waits for a descriptor until the wait is closed, which closes the descriptor too. */
  const wait = (fd: number, onReadable: (errno?: number) => void): Poll => {
    if (!inWorker()) return poll(koffi, fd, onReadable, () => close(fd));
    const own = adopt(fd);
    const state = new Uint8Array(8); // struct pollfd
    const fields = new DataView(state.buffer);
    fields.setInt32(0, own, true);
    fields.setInt16(4, POLLIN, true);
    const look = () => (pollCall(state, 1, 0) > 0 ? fields.getInt16(6, true) : 0);
    return pollByTimer(look, onReadable, () => close(own));
  };
  const bpf = (command: number, attr: Uint8Array): number =>
    orErrno(sysBpf(numbers().bpf, command, attr, attr.byteLength));
  /** Makes a call while SIGPROF is blocked on this thread. */
  const withoutProfiler = (call: () => number): number => {
    const before = allocate(SIGSET_BYTES);
    sigmask(SIG_BLOCK, signalSet(SIGPROF), before);
    try {
      return call();
    } finally {
      sigmask(SIG_SETMASK, before, null);
    }
  };
  /**
   * Creates an epoll instance for a descriptor. Returns minus the errno if it fails (EPERM for a regular
   * file).
   */
  const epollOf = (fd: number, events: number): number => {
    const epoll = orErrno(epollCreate(EPOLL_CLOEXEC));
    if (epoll < 0) return epoll;
    // struct epoll_event without data
    const event = new Uint8Array(new Uint32Array([events, 0, 0, 0]).buffer);
    const result = orErrno(epollControl(epoll, EPOLL_CTL_ADD, fd, event));
    if (result === 0) return epoll;
    close(epoll);
    return result;
  };
  const map = (
    fd: number,
    length: number,
    flags: number,
    offset: number,
    protection: number,
  ): ArrayBuffer | number => {
    const address: bigint = mmap(null, length, protection, flags, fd, offset);
    return address === MAP_FAILED ? -koffi.errno() : koffi.view(address, length);
  };

  return {
    bpf: (command, attr) =>
      command === Command.progLoad ? withoutProfiler(() => bpf(command, attr)) : bpf(command, attr),
    perfEventOpen: (attr, pid, cpu, group, flags) =>
      orErrno(sysPerf(numbers().perfEventOpen, attr, pid, cpu, group, flags)),
    ioctl: (fd, request, argument) => orErrno(ioctl(fd, request, argument)),
    mmap: (fd, length, offset = 0, protection = Protection.readWrite) =>
      map(fd, length, MAP_SHARED, offset, protection),
    munmap: (mapping) => orErrno(munmap(koffi.address(mapping), mapping.byteLength)),
    read: (fd, target) => orErrno(read(fd, target, target.byteLength)),
    send: (fd, bytes) => orErrno(send(fd, bytes, bytes.byteLength, MSG_DONTWAIT | MSG_NOSIGNAL)),
    close,
    dup: (fd) => orErrno(fcntl(fd, F_DUPFD_CLOEXEC, 3)),
    adopt,
    flock: (fd) => orErrno(flock(fd, LOCK_EX | LOCK_NB)),
    pidfdOpen: (pid) => orErrno(sysPidfd(PIDFD_OPEN, pid, 0, 0)),
    pidfdGetfd: (pidfd, fd) => orErrno(sysPidfd(PIDFD_GETFD, pidfd, fd, 0)),
    address: (memory) => koffi.address(memory),
    poll(fd, onReadable) {
      // libuv waits once for each descriptor, and the caller may close it, so wait for a duplicate.
      const copy = orErrno(fcntl(fd, F_DUPFD_CLOEXEC, 3));
      if (copy < 0) return copy;
      const epoll = epollOf(copy, PollEvents.readable);
      if (epoll >= 0) {
        close(epoll);
        return wait(copy, onReadable);
      }
      close(copy);
      return epoll;
    },
    pollShared(fd, events, onEvent) {
      // koffi's poll makes its descriptor non-blocking: here the epoll instance instead of the descriptor
      // itself.
      const epoll = epollOf(fd, events);
      return epoll < 0 ? epoll : wait(epoll, () => onEvent());
    },
    openFile: (path) => attempt(() => openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)),
    stat: (fd) =>
      attempt(() => {
        const stat = fstatSync(fd, { bigint: true });
        const { dev: device, ino: inode, size, mtimeNs: modifiedNs, uid } = stat;
        return { device, inode, size, modifiedNs, uid: Number(uid), isFile: stat.isFile() };
      }),
    readAt: (fd, target, position) => attempt(() => readSync(fd, target, 0, target.length, position)),
    inode: (fd) => BigInt(attempt(() => fstatSync(fd, { bigint: true }).ino)),
    fileSystem: (path) => attempt(() => statfsSync(path).type),
    readFile: (path) => attempt(() => readAtMost(path, LARGEST_FILE) ?? -Errno.EFBIG),
    appendFile: (path, text) =>
      attempt(() => {
        const fd = openSync(path, constants.O_WRONLY | constants.O_APPEND);
        try {
          return writeSync(fd, text);
        } finally {
          closeSync(fd);
        }
      }),
    mapFile: (path) =>
      attempt(() => {
        const fd = openSync(path, 'r');
        const mapping = map(fd, fstatSync(fd).size, MAP_PRIVATE, 0, Protection.read);
        closeSync(fd);
        return typeof mapping === 'number' ? mapping : new Uint8Array(mapping);
      }),
    folders: (path) =>
      attempt(() =>
        readdirSync(path, { withFileTypes: true })
          .filter((entry) => entry.isDirectory())
          .map(({ name }) => name),
      ),
    removeFile: (path) =>
      attempt(() => {
        unlinkSync(path);
        return 0;
      }),
    inodeAt: (path) => BigInt(attempt(() => statSync(path, { bigint: true }).ino)),
    clock(clock) {
      clockGettime(clock, time);
      const [seconds = 0n, nanoseconds = 0n] = time;
      return seconds * 1_000_000_000n + nanoseconds;
    },
    noNewPrivileges: () => orErrno(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)),
    seccomp: (operation, flags, argument) =>
      orErrno(sysSeccomp(numbers().seccomp, operation, flags, argument)),
    capset: (header, data) => orErrno(capset(header, data)),
    memlock(limit) {
      const [set, old] = [limitBytes(limit), new Uint8Array(new ArrayBuffer(16))];
      const result = orErrno(prlimit(0, RLIMIT_MEMLOCK, set, old));
      return result < 0 ? result : (limit ?? limitOf(old));
    },
  };
}

/** Handles in use. koffi stops polling when a handle is garbage-collected. */
const polling = new Set<Koffi.node.PollHandle>();

/**
 * Waits for a descriptor. epoll must accept the descriptor, and libuv must not wait for it already: koffi
 * aborts Node otherwise.
 */
function poll(
  koffi: typeof Koffi,
  fd: number,
  onReadable: (errno?: number) => void,
  release: () => void,
): Poll {
  // koffi's callback runs no user code. An exception there would stay pending until an unrelated native call
  // throws it or aborts, and process.nextTick and promises would wait for the next timer.
  let due: NodeJS.Immediate | undefined;
  let errno: number | undefined;
  const callback = (status: number) => {
    if (status < 0) errno = -status;
    due ??= setImmediate(() => {
      due = undefined;
      onReadable(errno);
    });
  };
  // koffi passes (status, events); its types declare the events only.
  const handle = koffi.node.poll(fd, callback as unknown as (events: Koffi.node.PollEvents) => void);
  polling.add(handle);
  return {
    close() {
      if (!polling.delete(handle)) return;
      clearImmediate(due);
      handle.close();
      release();
    },
  };
}

/** How often a worker thread looks at the descriptors that it waits for, in ms. */
const LOOK_MS = 10;

/**
 * Waits for a descriptor in a worker thread. koffi's handle would end the process when the thread ends before
 * the handle is closed: by `terminate`, `process.exit` or an exception. `look` returns the state of the
 * descriptor, as poll(2) does.
 */
function pollByTimer(look: () => number, onReadable: (errno?: number) => void, release: () => void): Poll {
  const timer = setInterval(() => {
    const state = look();
    if ((state & (POLLERR | POLLNVAL)) !== 0) {
      clearInterval(timer);
      onReadable(Errno.EBADF);
    } else if (state !== 0) onReadable();
  }, LOOK_MS);
  let isOpen = true;
  return {
    close() {
      if (!isOpen) return;
      isOpen = false;
      clearInterval(timer);
      release();
    },
  };
}

/** Returns a `sigset_t` with one signal. */
function signalSet(signal: number): Uint8Array {
  const set = allocate(SIGSET_BYTES);
  set[(signal - 1) >> 3] = 1 << ((signal - 1) & 7);
  return set;
}

/** Whether this is not the main thread. Asks /proc, because node:worker_threads takes long to load. */
function isWorker(): boolean {
  const path = attempt(() => readlinkSync('/proc/thread-self')); // PID/task/TID
  if (typeof path === 'number') return false;
  const [process, , thread] = path.split('/');
  return process !== thread;
}

/** Runs `work`. Returns its result, or minus the errno of its exception. */
function attempt<T>(work: () => T): T | number {
  try {
    return work();
  } catch (error) {
    const { errno } = error as NodeJS.ErrnoException; // libuv's, negative already
    if (errno === undefined) throw error;
    return errno;
  }
}

function limitBytes(limit: Limit | undefined): Uint8Array | null {
  return limit ? new Uint8Array(new BigUint64Array([limit.soft, limit.hard]).buffer) : null;
}

function limitOf(bytes: Uint8Array): Limit {
  const [soft = 0n, hard = 0n] = new BigUint64Array(bytes.buffer);
  return { soft, hard };
}
