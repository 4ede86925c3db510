/** Connects a socket through io_uring(7) (Linux 5.5), on request also on one of its worker threads. */
import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';

const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi;
const libc = koffi.load(null);
const syscall = libc.func(
  'long syscall(long number, long first, void *second, long third, long fourth, long)',
);
const enter = libc.func('long syscall(long number, long fd, long submit, long wait, long flags, long)');
const mmap = libc.func(
  'void *mmap(void *address, size_t length, int prot, int flags, int fd, int64_t offset)',
);
const munmap = libc.func('int munmap(void *address, size_t length)');
const close = libc.func('int close(int fd)');

/** The same on all architectures. */
const [SETUP, ENTER] = [425, 426];
const PROT_READ_WRITE = 3;
const [MAP_SHARED, MAP_POPULATE] = [1, 0x8000];
const OFFSETS = { submissions: 0, completions: 0x800_0000, entries: 0x1000_0000 } as const;
const RING_BYTES = 4096;
const IORING_ENTER_GETEVENTS = 1;
const IORING_OP_CONNECT = 16;
/** A worker thread runs the operation. */
const IOSQE_ASYNC = 1 << 4;

/** Why there is no io_uring here, or false. */
export const noIoUring: string | false = (() => {
  const fd = Number(syscall(SETUP, 1, new Uint8Array(120), 0, 0, 0));
  if (fd < 0) return 'io_uring is not available';
  close(fd);
  return false;
})();

/** Connects, and returns 0 or a negative errno. */
export function connectByRing(fd: number, address: Buffer, onWorker: boolean): number {
  const parameters = new DataView(new ArrayBuffer(120));
  const ring = Number(syscall(SETUP, 1, new Uint8Array(parameters.buffer), 0, 0, 0));
  if (ring < 0) throw new Error('io_uring_setup failed');
  const mapped: unknown[] = [];
  const map = (offset: number): DataView => {
    const at: unknown = mmap(null, RING_BYTES, PROT_READ_WRITE, MAP_SHARED | MAP_POPULATE, ring, offset);
    mapped.push(at);
    return new DataView(koffi.view(at, RING_BYTES));
  };
  try {
    const [submissions, completions] = [map(OFFSETS.submissions), map(OFFSETS.completions)];
    const entry = map(OFFSETS.entries);
    // struct io_uring_sqe: opcode, flags, fd, the length of the address, its place
    entry.setUint8(0, IORING_OP_CONNECT);
    entry.setUint8(1, onWorker ? IOSQE_ASYNC : 0);
    entry.setInt32(4, fd, true);
    entry.setBigUint64(8, BigInt(address.length), true);
    entry.setBigUint64(16, BigInt(koffi.address(address)), true);
    // struct io_sqring_offsets at 40: tail is its second number, array its seventh
    const [tail, array] = [parameters.getUint32(44, true), parameters.getUint32(64, true)];
    submissions.setUint32(array, 0, true);
    submissions.setUint32(tail, 1, true);
    if (Number(enter(ENTER, ring, 1, 1, IORING_ENTER_GETEVENTS, 0)) < 0)
      throw new Error('io_uring_enter failed');
    // struct io_cqring_offsets at 80: cqes is its sixth number; the result follows the 8 bytes of user data
    return completions.getInt32(parameters.getUint32(100, true) + 8, true);
  } finally {
    for (const at of mapped) munmap(at, RING_BYTES);
    close(ring);
  }
}
