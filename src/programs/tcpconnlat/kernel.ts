/**
 * The kernel's names for what the programs compare.
 */

/** include/linux/socket.h */
export const AF_INET = 2;
export const AF_INET6 = 10;
/** include/uapi/linux/in.h */
export const IPPROTO_TCP = 6;
/** include/net/tcp_states.h */
export const TCP_ESTABLISHED = 1;
export const TCP_SYN_SENT = 2;
export const TCP_SYN_RECV = 3;
export const TCP_CLOSE = 7;
/** enum socket_state, include/uapi/linux/net.h: before the first connect, and after one that has failed. */
export const SS_UNCONNECTED = 1;
/** include/linux/sched.h: the task is on its way out. */
export const PF_EXITING = 4;
/** Of a task's exit_code: the signal that ended it, if one did (man 2 wait, WTERMSIG). */
export const EXIT_SIGNAL = 0x7f;
/** include/uapi/asm-generic/errno-base.h */
export const EEXIST = 17;
/** include/uapi/asm-generic/errno.h */
export const EADDRNOTAVAIL = 99;
export const ENETUNREACH = 101;
export const ECONNABORTED = 103;
export const ETIMEDOUT = 110;
export const ECONNREFUSED = 111;
export const EHOSTUNREACH = 113;
