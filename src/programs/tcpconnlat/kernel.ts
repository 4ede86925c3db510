/**
 * The kernel's names for what the programs compare.
 */

/** include/linux/socket.h */
export const AF_INET = 2;
export const AF_INET6 = 10;
/** include/uapi/linux/in.h */
export const IPPROTO_TCP = 6;
/** include/net/tcp_states.h */
export const TCP_SYN_SENT = 2;
export const TCP_CLOSE = 7;
/** include/uapi/asm-generic/errno.h */
export const ECONNREFUSED = 111;
