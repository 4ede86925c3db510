/**
 * Limits of the kernel that options, records and recordings are checked against.
 */

/** `PID_MAX_LIMIT`, include/linux/threads.h. */
export const MAX_PID = 4_194_304;
export const MAX_PORT = 65_535;
/** `UINT_MAX`: user ids and kernel counters have 32 bits. */
export const MAX_U32 = 0xffff_ffff;
/** `__NEW_UTS_LEN`, include/uapi/linux/utsname.h: the length of host names and kernel releases. */
export const MAX_UTS_NAME = 64;
/**
 * An upper limit for times: kernel clocks count ns in a signed 64-bit number, 9,223,372,036 s or 292 years.
 */
export const MAX_SECONDS = 1e10;
/** The name of a systemd unit that has a cgroup and is no slice (man 5 systemd.unit). */
export const UNIT = /^(?=.{1,255}$)[A-Za-z0-9:_.\\@-]+\.(?:service|scope|socket|mount|swap)$/;
/** A name that Kubernetes, Docker or Podman accepts for a container, a pod or a namespace. */
export const WORKLOAD_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,252}$/;
/** The longest command line that is read, in bytes. */
export const MAX_CMDLINE_BYTES = 4096;
/** The longest path (`PATH_MAX`) with the kernel's ` (deleted)`, in bytes. */
export const MAX_EXE_BYTES = 4096 + 10;
/** The longest name of a thread in /proc, in bytes: that of a kernel thread can have more than 15. */
export const MAX_PARENT_BYTES = 63;
/** A host name (RFC 1035) or service name that is one word of ASCII. */
export const NAME = /^[!-~]{1,253}$/;
