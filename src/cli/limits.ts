/**
 * Bounds of what the kernel counts and names: options, records and recordings are held to them.
 */

/** `PID_MAX_LIMIT`, include/linux/threads.h. */
export const MOST_PID = 4_194_304;
export const MOST_PORT = 65_535;
/** `UINT_MAX`: user ids and the kernel's counters have 32 bits. */
export const MOST_U32 = 0xffff_ffff;
/** `__NEW_UTS_LEN`, include/uapi/linux/utsname.h: names of machines and releases. */
export const LONGEST_UTS_NAME = 64;
/** The kernel's clocks count ns in a signed number of 64 bits: 9,223,372,036 s, which is 292 years. */
export const MOST_SECONDS = 1e10;
/** A name of a machine (RFC 1035) or of a service, as one word of ASCII. */
export const NAME = /^[!-~]{1,253}$/;
