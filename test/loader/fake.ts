/**
 * A fake of the system-call interface. Descriptors are plain numbers, tests can read the memory that an
 * attribute points at, rings are buffers that tests write records into, and a test can script the result of
 * any call.
 */
import { Errno } from '../../src/loader/errno.ts';
import type { FileStat, Limit, Poll, Syscalls } from '../../src/loader/syscalls.ts';

/** A recorded call, as text: `bpf 5`, `perfEventOpen cpu 3`, `ioctl 12 0x2400`, `close 12`. */
export type Call = string;

/**
 * Answers a command of `bpf(2)`: a result, a negative errno, or undefined for the default behavior of the
 * fake.
 */
export type Answer = (attr: DataView, fake: FakeSyscalls) => number | undefined;

const PAGE = 4096;
const PERF_SAMPLE_TIME = 4;

export class FakeSyscalls implements Syscalls {
  readonly calls: Call[] = [];
  /** The open descriptors. */
  readonly open = new Set<number>();
  /** Mapped rings by descriptor. */
  readonly rings = new Map<number, FakeRing>();
  /** The CPU of each perf event, by descriptor. */
  readonly cpus = new Map<number, number>();
  /** The perf events whose samples have a time, by descriptor. */
  readonly timed = new Set<number>();
  readonly polls = new Map<number, (errno?: number) => void>();
  /** Callbacks of `pollShared`, by descriptor. */
  readonly shared = new Map<number, () => void>();
  readonly answers = new Map<number, Answer>();
  readonly files = new Map<string, string>([
    ['/proc/sys/kernel/osrelease', '6.1.0-fake\n'],
    ['/sys/devices/system/cpu/online', '0-1\n'],
    ['/sys/devices/system/cpu/possible', '0-1\n'],
    ['/sys/bus/event_source/devices/kprobe/type', '8\n'],
    ['/proc/self/status', 'Name:\tfake\nCapEff:\t000001ffffffffff\n'],
  ]);
  /** File-system magic numbers, by path. */
  readonly fileSystems = new Map<string, number>();
  /** Files that can be mapped. */
  readonly mappable = new Map<string, Uint8Array>();
  /** Inode numbers by path. These paths can be opened; a path that ends in a slash is a directory. */
  readonly inodes = new Map<string, bigint>();
  /** Files that can be opened and read by `readAt`, by path. */
  readonly contents = new Map<string, { readonly bytes: Uint8Array } & Partial<FileStat>>();
  /** The time of a clock, in ns. */
  onClock: (clock: number) => bigint = () => 0n;
  /** The result of perf_event_open(2); undefined for a new descriptor. */
  onPerfEventOpen: (attr: DataView, cpu: number) => number | undefined = () => undefined;
  /** The result of mmap(2); undefined for a new perf ring. */
  onMmap: (fd: number, length: number, offset: number) => ArrayBuffer | number | undefined = () => undefined;
  onIoctl: (fd: number, request: number) => number = () => 0;
  onRead: (fd: number, target: Uint8Array) => number = () => -Errno.EINVAL;
  onMemlock: (limit: Limit | undefined) => Limit | number = (limit) =>
    limit ?? { soft: 65536n, hard: 65536n };
  /** The result of prctl(PR_SET_NO_NEW_PRIVS), seccomp(2) with these flags, and capset(2). */
  onNoNewPrivileges: () => number = () => 0;
  onSeccomp: (flags: number, program: DataView) => number = () => 0;
  onCapset: (data: DataView) => number = () => 0;
  /** The result of pidfd_open(2) and pidfd_getfd(2). */
  onPidfd: (number: number) => number = () => this.fd();
  onRemove: (path: string) => number = () => -Errno.ENOENT;
  onFlock: (fd: number) => number = () => 0;
  /** The result of an append to an existing file. */
  onAppend: (path: string, text: string) => number = (_, text) => text.length;
  nextFd = 10;
  readonly #memory = new Map<bigint, Uint8Array>();
  /** Paths of open `contents` by descriptor. */
  readonly #paths = new Map<number, string>();
  /** Inode numbers by descriptor. */
  readonly #opened = new Map<number, bigint>();
  #nextAddress = 0x7f00_0000_0000n;

  /** The memory that an attribute points at. */
  at(address: bigint): Uint8Array {
    const found = this.#memory.get(address);
    if (!found) throw new Error(`nothing at ${address.toString(16)}`);
    return found;
  }

  /** The NUL-terminated text that an attribute points at. */
  textAt(address: bigint): string {
    const bytes = this.at(address);
    const end = bytes.indexOf(0);
    return Buffer.from(bytes.subarray(0, end < 0 ? undefined : end)).toString();
  }

  /** Opens a new descriptor. */
  fd(): number {
    const fd = this.nextFd++;
    this.open.add(fd);
    return fd;
  }

  /** The ring of a CPU. */
  ring(cpu: number): FakeRing {
    for (const [fd, ring] of this.rings) if (this.cpus.get(fd) === cpu) return ring;
    throw new Error(`CPU ${cpu} has no ring`);
  }

  /** Wakes the poll of a CPU's ring. */
  wake(cpu: number): void {
    for (const [fd, callback] of this.polls) if (this.cpus.get(fd) === cpu) callback();
  }

  bpf(command: number, attr: Uint8Array): number {
    this.calls.push(`bpf ${command}`);
    const view = new DataView(attr.buffer, attr.byteOffset, attr.byteLength);
    const answer = this.answers.get(command)?.(view, this);
    if (answer !== undefined) return answer;
    if (BATCHES.has(command)) return -Errno.EINVAL;
    return MAKES_DESCRIPTOR.has(command) ? this.fd() : 0;
  }

  perfEventOpen(attr: Uint8Array, _pid: number, cpu: number): number {
    this.calls.push(`perfEventOpen cpu ${cpu}`);
    const view = new DataView(attr.buffer, attr.byteOffset, attr.byteLength);
    const answer = this.onPerfEventOpen(view, cpu);
    if (answer !== undefined) return answer;
    const fd = this.fd();
    this.cpus.set(fd, cpu);
    if ((view.getUint32(24, true) & PERF_SAMPLE_TIME) !== 0) this.timed.add(fd);
    return fd;
  }

  ioctl(fd: number, request: number, _argument: number): number {
    this.calls.push(`ioctl ${fd} 0x${request.toString(16)}`);
    return this.onIoctl(fd, request);
  }

  mmap(fd: number, length: number, offset = 0): ArrayBuffer | number {
    this.calls.push(`mmap ${fd}`);
    const answer = this.onMmap(fd, length, offset);
    if (answer !== undefined) return answer;
    const ring = new FakeRing(length - PAGE, 0n, this.timed.has(fd));
    this.rings.set(fd, ring);
    return ring.mapping;
  }

  munmap(mapping: ArrayBuffer): number {
    for (const [fd, ring] of this.rings)
      if (ring.mapping === mapping) {
        this.calls.push(`munmap ${fd}`);
        this.rings.delete(fd);
        return 0;
      }
    return -Errno.EINVAL;
  }

  send(_fd: number, bytes: Uint8Array): number {
    return bytes.length;
  }

  read(fd: number, target: Uint8Array): number {
    return this.onRead(fd, target);
  }

  close(fd: number): number {
    this.calls.push(`close ${fd}`);
    return this.open.delete(fd) ? 0 : -Errno.EBADF;
  }

  dup(_fd: number): number {
    return this.fd();
  }

  adopt(fd: number): number {
    return fd;
  }

  flock(fd: number): number {
    this.calls.push(`flock ${fd}`);
    return this.onFlock(fd);
  }

  address(memory: Uint8Array): bigint {
    const address = this.#nextAddress;
    this.#nextAddress += 0x1_0000_0000n;
    this.#memory.set(address, memory);
    return address;
  }

  poll(fd: number, onReadable: (errno?: number) => void): Poll | number {
    this.calls.push(`poll ${fd}`);
    this.polls.set(fd, onReadable);
    return { close: () => this.polls.delete(fd) };
  }

  pollShared(fd: number, events: number, onEvent: () => void): Poll | number {
    this.calls.push(`pollShared ${fd} ${events}`);
    this.shared.set(fd, onEvent);
    return { close: () => this.shared.delete(fd) };
  }

  mapFile(path: string): Uint8Array | number {
    return this.mappable.get(path) ?? -Errno.ENODEV;
  }

  openFile(path: string): number {
    this.calls.push(`open ${path}`);
    if (this.contents.has(path)) {
      const fd = this.fd();
      this.#paths.set(fd, path);
      return fd;
    }
    const inode = this.inodes.get(path);
    if (inode === undefined) return -Errno.ENOENT;
    const fd = this.fd();
    this.#opened.set(fd, inode);
    return fd;
  }

  pidfdOpen(pid: number): number {
    this.calls.push(`pidfd_open ${pid}`);
    return this.onPidfd(pid);
  }

  pidfdGetfd(pidfd: number, fd: number): number {
    this.calls.push(`pidfd_getfd ${pidfd} ${fd}`);
    return this.onPidfd(fd);
  }

  noNewPrivileges(): number {
    this.calls.push('no_new_privs');
    return this.onNoNewPrivileges();
  }

  seccomp(operation: number, flags: number, argument: bigint): number {
    this.calls.push(`seccomp ${operation} ${flags}`);
    return this.onSeccomp(flags, viewOf(this.at(argument)));
  }

  capset(_header: Uint8Array, data: Uint8Array): number {
    this.calls.push('capset');
    return this.onCapset(viewOf(data));
  }

  stat(fd: number): FileStat | number {
    const path = this.#paths.get(fd);
    const content = path === undefined ? undefined : this.contents.get(path);
    if (content === undefined) return -Errno.EBADF;
    const { bytes, inode = 1n, uid = 0, modifiedNs = 0n, isFile = true } = content;
    return { device: 1n, inode, size: BigInt(bytes.length), modifiedNs, uid, isFile };
  }

  readAt(fd: number, target: Uint8Array, position: number): number {
    const bytes = this.contents.get(this.#paths.get(fd) ?? '')?.bytes;
    if (bytes === undefined) return -Errno.EBADF;
    const part = bytes.subarray(position, position + target.length);
    target.set(part);
    return part.length;
  }

  inode(fd: number): bigint {
    return this.#opened.get(fd) ?? BigInt(-Errno.EBADF);
  }

  fileSystem(path: string): number {
    return this.fileSystems.get(path) ?? -Errno.ENOENT;
  }

  readFile(path: string): Uint8Array | number {
    const text = this.files.get(path);
    return text === undefined ? -Errno.ENOENT : Buffer.from(text, 'latin1');
  }

  appendFile(path: string, text: string): number {
    this.calls.push(`append ${path} ${text.trimEnd()}`);
    return this.files.has(path) ? this.onAppend(path, text) : -Errno.ENOENT;
  }

  folders(path: string): readonly string[] | number {
    this.calls.push(`folders ${path}`);
    const folder = path.replace(/\/?$/, '/');
    const names = [...this.inodes.keys()]
      .filter((each) => each.startsWith(folder))
      .map((each) => each.slice(folder.length))
      .filter((name) => /^[^/]+\/$/.test(name));
    return this.inodes.has(folder) ? names.map((name) => name.slice(0, -1)) : -Errno.ENOENT;
  }

  removeFile(path: string): number {
    this.calls.push(`remove ${path}`);
    return this.onRemove(path);
  }

  inodeAt(path: string): bigint {
    this.calls.push(`inode ${path}`);
    return this.inodes.get(path) ?? this.inodes.get(`${path}/`) ?? BigInt(-Errno.ENOENT);
  }

  clock(clock: number): bigint {
    return this.onClock(clock);
  }

  memlock(limit?: Limit): Limit | number {
    this.calls.push(limit ? `memlock ${limit.soft}` : 'memlock');
    return this.onMemlock(limit);
  }
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

/** The batch commands of `bpf(2)`, which the fake does not know by default, as kernels before 5.6. */
const BATCHES = new Set([24, 25, 26, 27]);

/** Commands of `bpf(2)` that return a descriptor. */
const MAKES_DESCRIPTOR = new Set([0, 5, 17, 18, 28, 32]);

/** A perf ring with the kernel's layout: a control page, followed by the data. */
export class FakeRing {
  readonly mapping: ArrayBuffer;
  readonly #control: BigUint64Array;
  readonly #data: Uint8Array;
  readonly #timed: boolean;

  /** `timed` rings have a time in their samples, as perf events with PERF_SAMPLE_TIME. */
  constructor(size: number, start = 0n, timed = false) {
    this.mapping = new ArrayBuffer(PAGE + size);
    this.#control = new BigUint64Array(this.mapping, 0, 512);
    this.#data = new Uint8Array(this.mapping, PAGE);
    this.#timed = timed;
    this.#control.set([start, start, BigInt(PAGE), BigInt(size)], 128);
  }

  get head(): bigint {
    return this.#control[128] as bigint;
  }

  set head(head: bigint) {
    this.#control[128] = head;
  }

  get tail(): bigint {
    return this.#control[129] as bigint;
  }

  /** Writes a record whose header has this `type` and `size`. The size may be wrong on purpose. */
  record(type: number, body: Uint8Array, size = 8 + body.length): void {
    const bytes = new Uint8Array(8 + body.length);
    new DataView(bytes.buffer).setUint32(0, type, true);
    new DataView(bytes.buffer).setUint16(6, size, true);
    bytes.set(body, 8);
    const start = Number(this.head % BigInt(this.#data.length));
    bytes.forEach((byte, index) => {
      this.#data[(start + index) % this.#data.length] = byte;
    });
    this.head += BigInt(bytes.length);
  }

  /** Writes a sample, padded as the kernel pads it. */
  sample(payload: Uint8Array, time = 0n): void {
    const at = this.#timed ? 8 : 0;
    const body = new Uint8Array(at + Math.ceil((payload.length + 4) / 8) * 8);
    const view = new DataView(body.buffer);
    if (this.#timed) view.setBigUint64(0, time, true);
    view.setUint32(at, body.length - at - 4, true);
    body.set(payload, at + 4);
    this.record(9, body);
  }

  /** Writes a lost record. */
  lost(count: number): void {
    const body = new Uint8Array(16);
    new DataView(body.buffer).setBigUint64(8, BigInt(count), true);
    this.record(2, body);
  }
}
