/** The kernel's error numbers (include/uapi/asm-generic/errno*.h; the same on x64 and arm64). */

const rows: readonly (readonly [number, string, string])[] = [
  [1, 'EPERM', 'operation not permitted'],
  [2, 'ENOENT', 'no such file or directory'],
  [3, 'ESRCH', 'no such process'],
  [4, 'EINTR', 'interrupted by a signal'],
  [5, 'EIO', 'input/output error'],
  [6, 'ENXIO', 'no such device or address'],
  [7, 'E2BIG', 'argument too large'],
  [9, 'EBADF', 'bad file descriptor'],
  [11, 'EAGAIN', 'try again'],
  [12, 'ENOMEM', 'out of memory'],
  [13, 'EACCES', 'permission denied'],
  [14, 'EFAULT', 'bad address'],
  [16, 'EBUSY', 'device or resource busy'],
  [17, 'EEXIST', 'already exists'],
  [19, 'ENODEV', 'no such device'],
  [20, 'ENOTDIR', 'not a directory'],
  [21, 'EISDIR', 'is a directory'],
  [22, 'EINVAL', 'invalid argument'],
  [23, 'ENFILE', 'too many open files in the system'],
  [24, 'EMFILE', 'too many open files'],
  [25, 'ENOTTY', 'inappropriate ioctl for device'],
  [27, 'EFBIG', 'file too large'],
  [28, 'ENOSPC', 'no space left'],
  [30, 'EROFS', 'read-only file system'],
  [34, 'ERANGE', 'result out of range'],
  [35, 'EDEADLK', 'resource deadlock avoided'],
  [37, 'ENOLCK', 'no locks available'],
  [38, 'ENOSYS', 'function not implemented'],
  [40, 'ELOOP', 'too many levels of symbolic links'],
  [64, 'ENONET', 'machine is not on the network'],
  [71, 'EPROTO', 'protocol error'],
  [75, 'EOVERFLOW', 'value too large'],
  [84, 'EILSEQ', 'invalid sequence'],
  [88, 'ENOTSOCK', 'not a socket'],
  [90, 'EMSGSIZE', 'message too long'],
  [92, 'ENOPROTOOPT', 'protocol not available'],
  [95, 'EOPNOTSUPP', 'operation not supported'],
  [97, 'EAFNOSUPPORT', 'address family not supported'],
  [98, 'EADDRINUSE', 'address in use'],
  [99, 'EADDRNOTAVAIL', 'address not available'],
  [100, 'ENETDOWN', 'network is down'],
  [101, 'ENETUNREACH', 'network unreachable'],
  [103, 'ECONNABORTED', 'connection aborted'],
  [104, 'ECONNRESET', 'connection reset'],
  [105, 'ENOBUFS', 'no buffer space'],
  [110, 'ETIMEDOUT', 'timed out'],
  [111, 'ECONNREFUSED', 'connection refused'],
  [112, 'EHOSTDOWN', 'host is down'],
  [113, 'EHOSTUNREACH', 'no route to host'],
  [122, 'EDQUOT', 'quota exceeded'],
  [129, 'EKEYREJECTED', 'key rejected'],
  [524, 'ENOTSUPP', 'not supported'],
];

/** Error numbers by name. */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  ERANGE: 34,
  EDEADLK: 35,
  ENOSYS: 38,
  EILSEQ: 84,
  ENOTSOCK: 88,
  EOPNOTSUPP: 95,
  EADDRNOTAVAIL: 99,
  ENOTSUPP: 524,
} as const;

const names = new Map(rows.map(([number, name, text]) => [number, { name, text }]));

/** The name of an errno: `ENOENT` for 2, and `errno 4095` for an unknown number. */
export function errnoName(errno: number): string {
  return names.get(errno)?.name ?? `errno ${errno}`;
}

/** The meaning of an errno in a few words, or its name if it is unknown. */
function errnoText(errno: number): string {
  return names.get(errno)?.text ?? errnoName(errno);
}

/** An errno in a message: `ENOENT (no such file or directory)`. */
export function describeErrno(errno: number): string {
  return `${errnoName(errno)} (${errnoText(errno)})`;
}
