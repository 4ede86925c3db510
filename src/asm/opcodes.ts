/**
 * Opcodes that are looked for one by one: those that lead elsewhere, and that of two slots. All others are rows of the table.
 *
 * Source: RFC 9669, section 4.3; for `gotox` kernel/bpf/verifier.c (Linux 6.19).
 */

/** `goto`, by the offset. */
export const JA = 0x05;
/** `gotol`, by the immediate. */
export const GOTOL = 0x06;
/** To an address in a register, which comes of a jump table. */
export const GOTOX = 0x0d;
/** `call`: a helper, a subprogram or a function of the kernel. */
export const CALL = 0x85;
export const EXIT = 0x95;
/** `BPF_LD | BPF_IMM | BPF_DW`, the one that takes two slots. */
export const LDDW = 0x18;
